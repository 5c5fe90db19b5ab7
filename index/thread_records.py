"""What is stored of a conversation, and in which form it goes in and comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rag.answering.numbering import Passage

__all__ = [
    "Begun",
    "EarlierTurn",
    "Finished",
    "OpenTurn",
    "StoredTurn",
    "Thread",
    "ThreadPage",
    "TurnState",
    "WholeThread",
]

TurnState = Literal["open", "answered", "failed", "cancelled", "interrupted"]


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation at a glance. Times are Unix seconds; no ``collections`` are the default one.

    ``n_turns`` counts the questions, whatever became of them.
    """

    id: str
    title: str
    collections: tuple[str, ...]
    metadata: Mapping[str, Any]
    created_at: float
    updated_at: float
    n_turns: int = 0


@dataclass(frozen=True, slots=True)
class ThreadPage:
    """Some threads, the one changed last first; ``next_after`` asks for those after them, None where there are none."""

    threads: tuple[Thread, ...]
    next_after: str | None


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """A question, and its answer where it has one. ``turn`` counts from 1.

    ``state``: open (being answered now), answered, failed (``reason`` says why), cancelled (whoever asked went away) or
    interrupted (the process that answered died). ``record`` is the whole answer as JSON values.
    """

    turn: int
    question: str
    asked_at: float
    state: TurnState
    reason: str = ""
    answer_id: str | None = None
    answer: str | None = None
    refusal: str | None = None
    unknown_markers: tuple[int, ...] = ()
    record: Mapping[str, Any] | None = None
    answered_at: float | None = None


@dataclass(frozen=True, slots=True)
class EarlierTurn:
    """What an answered turn is to those after it."""

    question: str
    answer: str
    refusal: str | None
    unknown_markers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """The right to answer the question of a turn; ended by ``ThreadStore.finish`` or ``ThreadStore.fail``."""

    thread_id: str
    turn: int


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn that was begun, and what the conversation knew before: the answered turns, in order."""

    turn: OpenTurn
    thread: Thread
    earlier: tuple[EarlierTurn, ...]
    passages: tuple[Passage, ...]
    taken: frozenset[int]


@dataclass(frozen=True, slots=True)
class Finished:
    """An answer as it is stored: the numbers it gave or used, with all that was ever cited under them, beside it."""

    answer_id: str
    answer: str
    refusal: str | None
    unknown_markers: tuple[int, ...]
    record: Mapping[str, Any]
    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class WholeThread:
    """A conversation with everything that belongs to it, as it is exported and imported."""

    thread: Thread
    turns: tuple[StoredTurn, ...]
    passages: tuple[Passage, ...] = ()
    taken: frozenset[int] = field(default_factory=frozenset)
