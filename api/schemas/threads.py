"""Stored conversations and their messages."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from api.conversing import MAX_TITLE_CHARACTERS
from api.schemas.base import CollectionName, Reply, Request

__all__ = ["Message", "MessageList", "NewThread", "Thread", "ThreadChange", "ThreadList"]

_Title = Annotated[str, Field(max_length=MAX_TITLE_CHARACTERS, examples=["Warranty questions"])]
_Asked = Annotated[
    list[CollectionName], Field(max_length=50, description="what its questions are asked of; none is the default one")
]
_Metadata = Annotated[dict[str, Any], Field(description="anything of yours, kept as it is", examples=[{"customer": 7}])]


class NewThread(Request):
    """A conversation to be. Without a title it gets the beginning of its first question."""

    title: _Title = ""
    collections: _Asked = Field(default_factory=list)
    metadata: _Metadata = Field(default_factory=dict)


class ThreadChange(Request):
    """What is left out stays; `metadata` takes the place of all there was."""

    title: _Title | None = None
    collections: _Asked | None = None
    metadata: _Metadata | None = None


class Thread(Reply):
    """A conversation at a glance; times are in Unix seconds, `n_turns` counts its questions."""

    id: str
    title: str
    collections: list[str]
    metadata: dict[str, Any]
    created_at: float
    updated_at: float
    n_turns: int


class ThreadList(Reply):
    threads: list[Thread]
    next_after: Annotated[str | None, Field(description="what `after` asks for the next page; null at the end")]


class Message(Reply):
    """A question, or the answer to the question before it."""

    position: Annotated[int, Field(description="from 1; an answer that was never given leaves its number out")]
    turn: Annotated[int, Field(description="counts the questions")]
    role: Literal["user", "assistant"]
    text: str
    state: Annotated[
        Literal["open", "answered", "failed", "cancelled", "interrupted"],
        Field(description="what became of the question"),
    ]
    reason: Annotated[str, Field(description="why it failed")]
    at: Annotated[float, Field(description="in Unix seconds")]
    answer: Annotated[
        dict[str, Any] | None,
        Field(
            description="the answer as `POST /ask` gave it, sources without their text; each source and citation with "
            "a `version`: collection, document, sha256, and now: unchanged, changed or gone. null for a question"
        ),
    ]


class MessageList(Reply):
    messages: list[Message]
    next_after: Annotated[int | None, Field(description="what `after` asks for the next page; null at the end")]
