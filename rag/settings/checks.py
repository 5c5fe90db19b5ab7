"""What all settings are checked with."""

from __future__ import annotations

from typing import Any

from rag.errors import ConfigError

__all__ = ["require"]


def require(holds: bool, key: str, value: Any, form: str) -> None:
    """Raise ConfigError, which names key and value and the form that is wanted, unless it ``holds``."""
    if not holds:
        shown = "a secret" if key.lower().endswith("api_key") else repr(value)
        raise ConfigError(f"{key} must be {form}, got {shown}")
