"""The library of the service's tests, for agents to look around in."""

from tests.api.conftest import ingested, library

__all__ = ["ingested", "library"]
