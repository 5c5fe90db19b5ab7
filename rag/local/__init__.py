"""The embedded models: no key, no network."""
