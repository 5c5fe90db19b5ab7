"""What is asked of the documents, and what is answered."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from api.ask_options import AskOptions, QueryWishes
from api.schemas.base import Collections, Hits, Request, Text, WhichCollection
from rag.types import GenerationSettings, ReasoningEffort, Turn, Verbosity

__all__ = [
    "AskRequest",
    "HistoryTurn",
    "SearchRequest",
]

MAX_TURN_CHARACTERS = 200_000
MAX_TURNS = 200
MAX_INSTRUCTIONS = 20_000


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
    """A question. The parameters are those of a chat completion; left out, the collection's settings hold, then
    the service's."""

    question: Annotated[Text, Field(examples=["When did the first crewed landing on the Moon take place?"])]
    history: list[HistoryTurn] = Field(default_factory=list, max_length=MAX_TURNS, description="oldest first")
    thread: Annotated[
        str | None, Field(max_length=100, description="id of a stored conversation, which takes the place of `history`")
    ] = None
    k: Annotated[Hits | None, Field(description="hits the answer is written from")] = None
    filter: Filtering = None
    min_score: MinScore = None
    query: Annotated[QueryChoice | None, Field(description="which queries a chat model writes for the search")] = None
    agent: Annotated[bool, Field(description="the model looks for its sources itself, by tools")] = False
    stream: Annotated[bool, Field(description="send server-sent events as the answer is written")] = False
    instructions: Annotated[
        str | None, Field(max_length=MAX_INSTRUCTIONS, description="wishes for this answer, added to the service's own")
    ] = None
    language: Annotated[
        str | None,
        Field(max_length=40, pattern=r"^[\p{L}\p{M} ()-]*$", description="to answer in: French, fr, 中文"),
    ] = None
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
    reasoning_effort: Annotated[ReasoningEffort | None, Field(description="for models that think")] = None
    verbosity: Verbosity | None = None
    logit_bias: Annotated[
        dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], Annotated[float, Field(ge=-100, le=100)]] | None,
        Field(max_length=1024, description="by token id"),
    ] = None
    service_tier: Annotated[str | None, Field(max_length=64)] = None
    user: Annotated[
        str | None, Field(min_length=1, max_length=64, description="who asks, as a name that tells nobody who it is")
    ] = None
    store: Annotated[bool | None, Field(description="whether the endpoint is to keep the answer")] = None
    metadata: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=64)], Annotated[str, Field(max_length=512)]] | None,
        Field(max_length=16, description="what stands beside an answer that the endpoint keeps"),
    ] = None

    def options(self) -> AskOptions:
        """Return what ``Footnote.ask`` is to be told with the question."""
        return AskOptions(
            collection=self.collection,
            collections=self.collections,
            history=tuple(Turn(turn.role, turn.text) for turn in self.history),
            thread=self.thread,
            k=self.k,
            generation=self._generation(),
            filter=self.filter,
            min_score=self.min_score,
            unsupported=self.unsupported,
            query=self.query.wishes() if self.query else QueryWishes(),
            instructions=self.instructions,
            language=self.language,
            agent=self.agent,
        )

    def _generation(self) -> GenerationSettings:
        """Return the parameters of the chat completion that the request names."""
        given = {name: getattr(self, name) for name in _SAMPLING}
        return GenerationSettings(**{**given, "stop": None if self.stop is None else tuple(self.stop)})


_SAMPLING = tuple(field.name for field in dataclasses.fields(GenerationSettings))


class SearchRequest(_OfCollections):
    query: Annotated[Text, Field(examples=["moon landing date"])]
    k: Hits | None = None
    filter: Filtering = None
    min_score: MinScore = None
