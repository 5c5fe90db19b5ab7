"""What is asked of the documents, and what is answered."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from api.ask_options import AskOptions, QueryWishes
from api.schemas.base import Collections, Hits, Request, Text, WhichCollection
from rag.settings import AnswerOptions
from rag.types import GenerationSettings, Turn

__all__ = [
    "AskRequest",
    "HistoryTurn",
    "SearchRequest",
]

MAX_TURN_CHARACTERS = 200_000
MAX_TURNS = 200


class HistoryTurn(Request):
    """One earlier message of the conversation."""

    role: Literal["user", "assistant"]
    text: Annotated[str, Field(max_length=MAX_TURN_CHARACTERS)]


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Filtering = Annotated[
    str | dict[str, Any] | None,
    Field(
        description="only documents that match: OpenAI's shape, or a text such as `year >= 2020 and lang = en`",
        examples=[{"type": "gte", "key": "year", "value": 2020}],
    ),
]


MinScore = Annotated[float | None, Field(ge=0, le=1, description="how relevant a passage must be to be found")]


class _OfCollections(Request):
    """What is asked of one collection, or of several."""

    collection: WhichCollection = None
    collections: Collections = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        if self.collection is not None and self.collections:
            raise PydanticCustomError("collections", "name one `collection` or several `collections`, not both")
        return self


class QueryChoice(Request):
    """What a chat model writes to search with; what is left out is as the service's settings say."""

    rewrite: Literal["auto", "off", "always"] | None = None
    alternatives: Annotated[int | None, Field(ge=0, le=5, description="other wordings that are searched too")] = None
    hyde: Literal["off", "on"] | None = None
    translate: Literal["auto", "off"] | None = None

    def wishes(self) -> QueryWishes:
        """Return what was said of it."""
        return cast(QueryWishes, self.model_dump(exclude_none=True))


class AskRequest(_OfCollections):
    """A question. The sampling parameters are those of a chat completion; left out, the service's settings hold."""

    question: Annotated[Text, Field(examples=["When did the first crewed landing on the Moon take place?"])]
    history: list[HistoryTurn] = Field(default_factory=list, max_length=MAX_TURNS, description="oldest first")
    thread: Annotated[
        str | None, Field(max_length=100, description="id of a stored conversation, which takes the place of `history`")
    ] = None
    k: Annotated[Hits | None, Field(description="hits the answer is written from")] = None
    filter: Filtering = None
    min_score: MinScore = None
    query: Annotated[QueryChoice | None, Field(description="which queries a chat model writes for the search")] = None
    stream: Annotated[bool, Field(description="send server-sent events as the answer is written")] = False
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    top_p: Annotated[float | None, Field(ge=0, le=1)] = None
    max_tokens: Annotated[int | None, Field(ge=1, le=10_000_000)] = None
    frequency_penalty: Annotated[float | None, Field(ge=-2, le=2)] = None
    presence_penalty: Annotated[float | None, Field(ge=-2, le=2)] = None
    seed: Annotated[int | None, Field(ge=-(2**63), lt=2**63)] = None
    stop: Annotated[
        Annotated[list[str], Field(max_length=4)] | None, BeforeValidator(_listed), Field(description="or one string")
    ] = None
    response_format: Annotated[dict[str, Any] | None, Field(description="as in a chat completion")] = None
    unsupported: Annotated[
        Literal["flag", "remove", "regenerate"] | None,
        Field(description="what is done about statements that their sources do not bear out; null: as is set"),
    ] = None

    def options(self, defaults: AnswerOptions) -> AskOptions:
        """Return what ``Footnote.ask`` is to be told with the question; ``defaults`` are the service's settings."""
        return AskOptions(
            collection=self.collection,
            collections=self.collections,
            history=tuple(Turn(turn.role, turn.text) for turn in self.history),
            thread=self.thread,
            k=self.k,
            generation=self._generation(defaults),
            filter=self.filter,
            min_score=self.min_score,
            unsupported=self.unsupported,
            query=self.query.wishes() if self.query else QueryWishes(),
        )

    def _generation(self, defaults: AnswerOptions) -> GenerationSettings | None:
        """Return the sampling parameters, the service's own where the request is silent; None if it names none."""
        given = {name: value for name in _SAMPLING if (value := getattr(self, name)) is not None}
        if not given:
            return None
        if self.stop is not None:
            given["stop"] = tuple(self.stop)
        usual = {name: getattr(defaults, name) for name in _SAMPLING if hasattr(defaults, name)}
        return GenerationSettings(**{**usual, **given})


_SAMPLING = tuple(field.name for field in dataclasses.fields(GenerationSettings))


class SearchRequest(_OfCollections):
    query: Annotated[Text, Field(examples=["moon landing date"])]
    k: Hits | None = None
    filter: Filtering = None
    min_score: MinScore = None
