"""What an agent does on its way to an answer."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Step"]


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a tool. ``number`` counts the calls from 1; those of one ``turn`` of the model ran side by side.

    ``arguments`` is JSON as the model wrote it. ``summary`` says in words what came of it, ``markers`` name the sources
    that it showed, whose document and span stand in the answer's sources. ``tokens`` is what the model was given to
    read, counted here, ``took_ms`` how long the call ran. ``error`` is what the model was told instead of a result, ""
    for none. ``is_repeated``: the same call had been made, and was not made again. ``said`` is what the model wrote
    beside its first call of a turn; it is no part of the answer.
    """

    number: int
    turn: int
    tool: str
    arguments: str
    summary: str
    markers: tuple[int, ...] = ()
    tokens: int = 0
    took_ms: float = 0.0
    error: str = ""
    is_repeated: bool = False
    said: str = ""
