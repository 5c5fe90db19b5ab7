"""OpenAI-compatible endpoints over one HTTP client."""
