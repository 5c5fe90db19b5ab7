"""How a place in a recording or a film is called: by its time."""

from __future__ import annotations

__all__ = ["clock"]


def clock(seconds: float) -> str:
    """Return a time as hours, minutes and whole seconds that have passed.

    >>> clock(725.9)
    '00:12:05'
    """
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}"
