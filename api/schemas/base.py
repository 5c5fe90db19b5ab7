"""What all models of requests and replies share, and the reply of every error."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from index.library import check_collection_name
from rag.errors import CollectionError

__all__ = [
    "MAX_QUESTION_CHARACTERS",
    "CollectionName",
    "Collections",
    "Error",
    "ErrorDetail",
    "Hits",
    "Reply",
    "Request",
    "Text",
    "WhichCollection",
]

MAX_QUESTION_CHARACTERS = 32_000

Text = Annotated[str, Field(min_length=1, max_length=MAX_QUESTION_CHARACTERS, pattern=r"\S")]


def _name(value: str) -> str:
    try:
        check_collection_name(value)
    except CollectionError as error:
        raise PydanticCustomError("collection_name", "{reason}", {"reason": str(error)}) from error
    return value


CollectionName = Annotated[str, AfterValidator(_name)]
WhichCollection = Annotated[CollectionName | None, Field(description="without one, the service's default")]
Collections = Annotated[
    list[CollectionName],
    Field(max_length=50, description="several, searched as one; documents are then named `manuals/guide.md`"),
]
Hits = Annotated[int, Field(ge=1, le=1000)]


class Request(BaseModel):
    """Unknown fields are refused: a misspelt one would be a setting that silently does nothing."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Reply(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ErrorDetail(Reply):
    message: str
    type: str
    param: str | None
    code: str | None


class Error(Reply):
    """Every error, whatever its status: what failed, what was found, what to do."""

    error: ErrorDetail
