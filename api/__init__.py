"""The ways in: command line, HTTP, wiring."""
