"""What is said of documents and of the files and pages that they come from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas.base import Reply, Request

__all__ = [
    "Deleted",
    "DeletedDocument",
    "DocumentAttributes",
    "DocumentEntry",
    "DocumentList",
    "DocumentText",
    "HeadingLine",
    "IngestUrlsRequest",
    "NewAttributes",
    "PageSpan",
    "SeenPage",
    "UploadReply",
    "UploadedFile",
    "UrlsReply",
]


class IngestUrlsRequest(Request):
    urls: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=2000)]],
        Field(min_length=1, max_length=100, description="addresses of pages or sitemaps"),
    ]


class NewAttributes(Request):
    attributes: Annotated[dict[str, Any], Field(examples=[{"year": 2024, "tags": ["hr", "board"]}])]


class Deleted(Reply):
    id: str
    deleted: Literal[True]


class DeletedDocument(Deleted):
    """``note`` says what would bring it back; "" where nothing does."""

    note: str


class DocumentAttributes(Reply):
    """All attributes of a document, of whatever source."""

    id: str
    attributes: dict[str, Any]


class DocumentEntry(Reply):
    id: str
    title: str
    sha256: str
    media_type: str
    reader: str
    n_characters: int
    n_pages: int
    n_chunks: int
    n_tokens: int
    metadata: dict[str, str]
    warnings: list[str]
    changed_at: float
    attributes: dict[str, Any]


class DocumentList(Reply):
    """One page, in order of id; ask for the next with ``after``."""

    documents: list[DocumentEntry]
    total: int
    has_more: bool
    next_after: str | None


class PageSpan(Reply):
    number: int
    start: int
    end: int
    label: Annotated[str, Field(description='what a person calls it, "slide 3" say; "" for "page N"')]


class HeadingLine(Reply):
    level: int
    title: str
    start: int


class DocumentText(Reply):
    """A document: pages and headings with their offsets, and the text from ``start`` to ``end`` where asked for."""

    id: str
    title: str
    sha256: str
    media_type: str
    reader: str
    n_characters: int
    pages: list[PageSpan]
    headings: list[HeadingLine]
    attributes: dict[str, Any]
    metadata: dict[str, str]
    warnings: list[str]
    start: int | None
    end: int | None
    text: str | None


class UploadedFile(Reply):
    """What became of one file; ``path`` is the id of its document. The files of an archive share its ``filename``."""

    filename: str
    path: str
    state: Literal["indexed", "unchanged", "empty", "failed", "unsupported", "skipped"]
    reason: str
    n_pages: int
    n_chunks: int
    n_tokens: int
    warnings: list[str]


class UploadReply(Reply):
    collection: str
    files: list[UploadedFile]


class SeenPage(Reply):
    """What became of one page; ``path`` is its address, and the id of its document."""

    path: str
    state: Literal["indexed", "unchanged", "empty", "failed", "unsupported", "skipped"]
    reason: str
    retriable: bool
    n_pages: int
    n_chunks: int
    n_tokens: int
    warnings: list[str]


class UrlsReply(Reply):
    """The pages in the order of their addresses; ``removed`` are all documents that went."""

    collection: str
    files: list[SeenPage]
    removed: list[str]
    notes: list[str]
