"""The stored conversations of a library, and the answering of a question in one of them.

A turn is begun before anything is asked of a model, and ends in one of three ways: answered (committed before the
answer is handed on, so that who has seen it will find it again), failed, or cancelled.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from api.ask_options import AskOptions
from api.thread_files import export_text, imported
from api.thread_views import Message, VersionState, finished, messages_of
from index.collection import Collection
from index.library import check_collection_name
from index.thread_records import Begun, OpenTurn, Thread, ThreadPage, TurnState
from index.threads import ThreadStore
from rag.answering.numbering import Numbering, Version, without_numbers
from rag.answering.question import checked_question
from rag.errors import (
    CollectionNotFoundError,
    DocumentNotFoundError,
    QuestionError,
    RagError,
    ThreadError,
    ThreadNotFoundError,
)
from rag.types import Answer, AnswerEvent, Source, Turn

__all__ = ["MAX_METADATA_CHARACTERS", "MAX_TITLE_CHARACTERS", "MessagePage", "Threads", "history_of"]

MAX_TITLE_CHARACTERS = 200
MAX_METADATA_CHARACTERS = 16_000
_TITLE_CHARACTERS = 80
"""What is taken of the first question for the title of a conversation that was given none."""


class _Writes(Protocol):
    """Writes an answer outside of any conversation, but under the numbers it is given."""

    def __call__(
        self, question: str, options: AskOptions, *, numbering: Numbering | None = None
    ) -> AsyncGenerator[AnswerEvent]: ...


_Searched = Callable[[str | None, Sequence[str]], list[Collection]]


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Some messages of a conversation, oldest first; ``next_after`` asks for those after them, None at the end."""

    messages: tuple[Message, ...]
    next_after: int | None


class Threads:
    """``Footnote.threads``: the conversations in ``threads.db`` of the library.

    All methods but ``stream`` read or write the disk, for some milliseconds. They raise ThreadNotFoundError for an id
    that is not there, and ThreadError for what cannot be stored.
    """

    def __init__(self, folder: Path, *, searched: _Searched, writes: _Writes) -> None:
        """``searched`` returns the collections to search, by one name or several."""
        self._folder = folder
        self._searched = searched
        self._writes = writes
        self._opened: ThreadStore | None = None
        self._opening = threading.Lock()

    def create(
        self, title: str = "", *, collections: Sequence[str] = (), metadata: Mapping[str, Any] | None = None
    ) -> Thread:
        """Make a conversation. Without a title it gets the beginning of its first question.

        ``collections`` are those that its questions are asked of, unless they name others; none is the default one.
        """
        store = self._store(create=True)
        assert store is not None
        return store.create(
            title=_checked_title(title), collections=_checked_names(collections), metadata=_checked(metadata or {})
        )

    def list(self, *, limit: int = 50, after: str = "") -> ThreadPage:
        """Return ``limit`` conversations, the one changed last first; ``after`` is ``next_after`` of the last page."""
        store = self._store()
        return ThreadPage((), None) if store is None else store.page(limit=_checked_limit(limit), after=after)

    def get(self, thread_id: str) -> Thread:
        """Return a conversation at a glance."""
        return self._there(thread_id).get(thread_id)

    def find(self, words: str) -> Thread:
        """Return the conversation a person means: by its id, its beginning, or ``last`` for the one changed last."""
        store = self._there(words)
        if words == "last":
            ids = [thread.id for thread in store.page(limit=1).threads]
        else:
            ids = store.ids(words if words.startswith("thread-") else f"thread-{words}") if words else []
        if len(ids) > 1:
            raise ThreadError(
                f"several conversations begin with {words!r}: {', '.join(ids)}, ...; write more of the id"
            )
        return store.get(ids[0] if ids else words)

    def rename(self, thread_id: str, title: str) -> Thread:
        """Give a conversation another title, which need not be its own alone."""
        return self.change(thread_id, title=title)

    def change(
        self,
        thread_id: str,
        *,
        title: str | None = None,
        collections: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Thread:
        """Set what is given; ``metadata`` takes the place of all there was."""
        return self._there(thread_id).change(
            thread_id,
            title=None if title is None else _checked_title(title),
            collections=None if collections is None else _checked_names(collections),
            metadata=None if metadata is None else _checked(metadata),
        )

    def delete(self, thread_id: str) -> None:
        """Delete a conversation. Raises ThreadBusyError while a question of it is being answered."""
        self._there(thread_id).delete(thread_id)

    def messages(self, thread_id: str, *, limit: int = 100, after: int = 0) -> MessagePage:
        """Return ``limit`` messages after position ``after``, oldest first; each says which cited documents changed."""
        limit = _checked_limit(limit)
        turns = self._there(thread_id).turns(thread_id, limit=limit + 1, after=max(after - 1, 0) // 2)
        state_of = cache(self._state_of)
        shown = [message for turn in turns for message in messages_of(turn, state_of) if message.position > after]
        return MessagePage(tuple(shown[:limit]), shown[limit - 1].position if len(shown) > limit else None)

    def export(self, *thread_ids: str, format: str = "markdown") -> str:
        """Return whole conversations: as ``markdown`` to read, as ``json`` (one) or ``jsonl`` (a line each) to keep.

        An answer that is being written is left out: its question says so.
        """
        wholes = [self._there(thread_id).whole(thread_id) for thread_id in thread_ids]
        return export_text(wholes, format, cache(self._state_of))

    def import_(self, text: str) -> Sequence[Thread]:
        """Store the conversations of an exported text (JSON or JSON Lines), all or none, and return them.

        They keep their ids, unless one of that id is there: then they get another.
        """
        store = self._store(create=True)
        assert store is not None
        return store.put(imported(text))

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._opening:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    # --- asking

    async def stream(self, thread_id: str, question: str, options: AskOptions) -> AsyncGenerator[AnswerEvent]:
        """Yield an answer as ``Footnote.stream`` does, in a conversation, to which it is added when it is whole.

        The history is that of the conversation, without what moderation has stopped. Its sources go on under the
        numbers they have. Raises ThreadBusyError while another question of it is being answered.
        """
        if options.get("history"):
            raise QuestionError("a question goes with a thread or with a history, not with both; leave one out")
        question = checked_question(question)
        store = self._there(thread_id)
        begun = await _begun(store, thread_id, question)
        ended: TurnState | None = "cancelled"
        reason = ""
        try:
            asked = _within(begun.thread, options)
            collections = self._searched(asked.get("collection"), asked.get("collections", ()))
            numbering = Numbering(begun.passages, taken=begun.taken, version=_Versions(collections).of)
            asked["history"] = history_of(begun)
            async with aclosing(self._writes(question, asked, numbering=numbering)) as events:
                async for event in events:
                    if isinstance(event, Answer):
                        whole = finished(event, numbering.given)
                        await _to_the_end(store.finish, begun.turn, whole)
                        ended = None
                    yield event
        except Exception as error:
            if ended is not None:
                ended, reason = "failed", str(error) if isinstance(error, RagError) else "a mistake inside the service"
            raise
        finally:
            if ended is not None:
                await _to_the_end(store.fail, begun.turn, ended, reason)

    # --- how

    def _store(self, *, create: bool = False) -> ThreadStore | None:
        """Return the store; None where nothing was ever stored, unless it is to be made."""
        with self._opening:
            if self._opened is not None and not self._opened.is_in_place:
                self._opened.close()
                self._opened = None
            if self._opened is None and (create or (self._folder / "threads.db").exists()):
                self._opened = ThreadStore(self._folder)
            return self._opened

    def _there(self, thread_id: str) -> ThreadStore:
        if (store := self._store()) is None:
            raise ThreadNotFoundError(f"no conversation {thread_id!r}: none was ever stored in {self._folder}")
        return store

    def _state_of(self, version: Version) -> VersionState:
        try:
            sha256 = self._searched(version.collection, ())[0].sha256(version.document)
        except (CollectionNotFoundError, DocumentNotFoundError):
            return "gone"
        return "unchanged" if sha256 == version.sha256 else "changed"


class _Versions:
    """Says of which state of its document a source is."""

    def __init__(self, collections: Sequence[Collection]) -> None:
        self._collections = collections

    def of(self, source: Source) -> Version:
        collection, document_id = self._collections[0], source.document_id
        if len(self._collections) > 1:
            name, _, document_id = document_id.partition("/")
            collection = next((one for one in self._collections if one.name == name), collection)
        try:
            sha256 = collection.sha256(document_id)
            # the document may have changed since the source was read; if these words still stand there, they are its
            if collection.text(document_id, source.start, source.end) != source.text:
                sha256 = ""
        except DocumentNotFoundError:
            sha256 = ""
        return Version(collection.name, document_id, sha256)


def _within(thread: Thread, options: AskOptions) -> AskOptions:
    """Return the options of a question in a conversation: its collections, where the question names none."""
    asked = options.copy()
    asked["thread"] = None
    if asked.get("collection") is None and not asked.get("collections"):
        asked["collections"] = thread.collections
    return asked


def history_of(begun: Begun) -> tuple[Turn, ...]:
    """Return the turns a model may see, without the numbers in them that name nothing."""
    turns: list[Turn] = []
    for turn in begun.earlier:
        if turn.refusal != "moderation":
            answer = without_numbers(turn.answer or "", turn.unknown_markers)
            turns += [Turn("user", turn.question), Turn("assistant", answer)]
    return tuple(turns)


async def _begun(store: ThreadStore, thread_id: str, question: str) -> Begun:
    words = " ".join(question.split())
    title = words if len(words) <= _TITLE_CHARACTERS else f"{words[: _TITLE_CHARACTERS - 1].rstrip()}…"
    beginning = asyncio.ensure_future(asyncio.to_thread(store.begin, thread_id, question, title=title))
    try:
        return await asyncio.shield(beginning)
    except asyncio.CancelledError:
        # subtle: the thread that stores the question goes on all the same; what it begins must not stay open
        await asyncio.wait({beginning})
        if not beginning.cancelled() and beginning.exception() is None:
            await _to_the_end(store.fail, beginning.result().turn, "cancelled")
        raise


async def _to_the_end(function: Callable[..., None], turn: OpenTurn, *arguments: Any) -> None:
    """Run in a thread, and wait for the end of it also when this is cancelled meanwhile; what it did is done."""
    working = asyncio.ensure_future(asyncio.to_thread(function, turn, *arguments))
    cancelled: asyncio.CancelledError | None = None
    while not working.done():
        try:
            await asyncio.wait({working})
        except asyncio.CancelledError as error:
            cancelled = error
    working.result()
    if cancelled is not None:
        raise cancelled


def _checked_limit(limit: int) -> int:
    if not 1 <= limit <= 1000:
        raise ValueError(f"limit must be from 1 to 1000, got {limit}")
    return limit


def _checked_title(title: str) -> str:
    words = " ".join(title.split())
    if len(words) > MAX_TITLE_CHARACTERS:
        raise ThreadError(f"a title has {MAX_TITLE_CHARACTERS} characters at most, got {len(words)}; shorten it")
    return words


def _checked_names(names: Sequence[str]) -> list[str]:
    for name in names:
        check_collection_name(name)
    return list(dict.fromkeys(names))


def _checked(metadata: Mapping[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(dict(metadata), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ThreadError(f"the metadata of a conversation is JSON: {error}") from error
    if len(text) > MAX_METADATA_CHARACTERS:
        raise ThreadError(
            f"the metadata of a conversation has {MAX_METADATA_CHARACTERS:,} characters of JSON at most,"
            f" got {len(text):,}"
        )
    value: dict[str, Any] = json.loads(text)
    return value
