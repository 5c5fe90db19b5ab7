"""What may be said with a question, whoever asks it: the library, the command, the service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict

from rag.answering.agent.tools import Tool
from rag.answering.delivery import Unsupported
from rag.filter_text import FilterLike
from rag.types import GenerationSettings, Turn

__all__ = ["AskOptions", "QueryWishes"]


class QueryWishes(TypedDict, total=False):
    """What is written to search with, in place of the settings ``query.*`` of the same names."""

    rewrite: Literal["auto", "off", "always"]
    alternatives: int
    hyde: Literal["off", "on"]
    translate: Literal["auto", "off"]


class AskOptions(TypedDict, total=False):
    """The keyword arguments of ``Footnote.ask`` and ``Footnote.stream``; what is left out is as the settings say.

    ``collection`` or several ``collections`` are searched, of which ``filter`` leaves some documents. ``history`` is
    the conversation so far, oldest turn first, or ``thread`` the id of a stored one, to which question and answer are
    added; a thread has collections of its own, which hold where none are named here. ``k`` hits are answered from, each
    of a relevance of at least ``min_score``. What ``generation`` says comes before the parameters that collection and
    settings name. ``instructions`` are added to the system's and to those of the settings; ``language`` is what to
    answer in, by name or code. ``unsupported`` says what is done about statements that their sources do not bear out.
    ``answer_id`` is the id of the answer, which otherwise is made. With ``agent`` the model looks for its sources
    itself, by tools, to which ``tools`` of the caller's own are added.
    """

    collection: str | None
    collections: Sequence[str]
    history: Sequence[Turn]
    thread: str | None
    k: int | None
    min_score: float | None
    generation: GenerationSettings | None
    instructions: str | None
    language: str | None
    filter: FilterLike | None
    answer_id: str
    unsupported: Unsupported | None
    query: QueryWishes
    agent: bool
    tools: Sequence[Tool]
