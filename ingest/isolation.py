"""Reads strangers' files in child processes, so that a hang, a crash or a bomb costs that file and nothing else.

A child (``ingest.child``) reads file after file: a request is a path, a reply is a document. One starts in a third of a
second, in the background and not before the first file; a small file costs it less than to be asked for, so several are
sent together. Every file goes there, small ones too, and no format has to be trusted. More processes are started only
where one is waited for. Chunking stays with the caller, for it is our own code on text of known length, and a child
that chunks needs a vocabulary of its own (100 MB, 0.2 s).
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal

from ingest.archives.member import Member
from ingest.child import Reply, Request
from ingest.readers import is_light
from ingest.readers.marked import MarkedPage, Marking
from ingest.readers.media import ServedKind, Want
from ingest.reading_process import Asked, ReadingProcess, ending_of
from rag.errors import DocumentReadError, RagError, UnsupportedFormatError
from rag.types import Document, PlacedText

__all__ = ["IsolatedReaders", "ReadingLimits", "ToRead", "Wanted"]

_MB = 1024 * 1024
_GIVEN_UP = {-getattr(signal, name) for name in ("SIGABRT", "SIGTRAP", "SIGILL") if hasattr(signal, name)}
"""How libraries in C end when memory does not suffice."""
_MAX_AHEAD = 4
_MAX_BYTES_AHEAD = 32 * _MB
_LIGHT_BYTES = 100_000
_SENT_TOGETHER = 32
_BYTES_SENT_TOGETHER = 500_000
_MESSAGES_OPEN = 2
"""What a process has before it: what it reads, and what it goes on with at once."""
_WAITED_S = 0.25
"""Waiting for so long, in all, is worth one more process."""


@dataclass(frozen=True, slots=True)
class ToRead:
    """A file to read, of about ``size`` bytes.

    The ending of ``name`` says what it is ("": that of the document id). ``member`` is where in the file the document
    is, for one inside an archive: its path there, one for each archive inside another; ``archive_size`` is then the
    size of the file that is opened. ``known`` are texts of its media that are there already; ``given_up`` is why no
    others are to be asked for ("" while they are). ``spent_s`` is what making media has taken so far.
    """

    path: Path
    document_id: str
    size: int
    name: str = ""
    member: tuple[str, ...] = ()
    archive_size: int = 0
    known: tuple[PlacedText, ...] = ()
    given_up: str = ""
    spent_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Media of a file whose texts are wanted before it can be read: ask for it again with these among ``known``.

    They are numbered by ``reader``; ``sha256`` is of the bytes that were read, and ``seconds`` is what this took.
    """

    wants: tuple[Want, ...]
    reader: str
    sha256: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ReadingLimits:
    """What reading one file may take. Time and memory grow with its size.

    ``timeout_s`` seconds, and as many again for each 20 MB; ``memory_mb`` megabytes beyond what a reader takes anyway
    (looked after on Linux only), and 20 more for each of the file; ``chars`` characters of text, and 20 more for each
    byte of the file.
    """

    timeout_s: float = 60.0
    memory_mb: int = 1024
    chars: int = 20_000_000

    def request(self, file: ToRead) -> Request:
        """Return the request to read a file within these limits."""
        return Request(
            path=str(file.path),
            document_id=file.document_id,
            name=file.name or file.document_id,
            member=file.member,
            timeout_s=self.timeout_s * (1 + (file.size + file.archive_size) / (20 * _MB)),
            max_bytes=self.memory_mb * _MB + 20 * file.size,
            max_chars=self.chars + 20 * file.size,
            known=file.known,
            given_up=file.given_up,
        )


class IsolatedReaders:
    """Processes that read files; started when a file needs one, ended by ``close``. For use from any thread.

    ``reader`` names the function they call: ``ingest.readers:read`` or one with its signature. Announced files are read
    before they are asked for, by up to ``n_ahead`` more processes than the first. ``served`` are the kinds of media
    that somebody reads.
    """

    def __init__(
        self,
        limits: ReadingLimits | None = None,
        *,
        reader: str = "ingest.readers:read",
        n_ahead: int | None = None,
        served: Sequence[ServedKind] = (),
    ) -> None:
        self._limits = limits or ReadingLimits()
        self._served = tuple(served)
        self._reader = reader
        self._n_ahead = max(1, min(_MAX_AHEAD, _n_processors() - 1)) if n_ahead is None else n_ahead
        self._announced: Iterator[ToRead] = iter(())
        self._held_back: Request | None = None
        self._ahead: dict[Request, Asked] = {}
        self._all: set[ReadingProcess] = set()
        self._waited_s = 0.0
        self._changing = threading.RLock()
        self._closed = False

    def __enter__(self) -> IsolatedReaders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all processes, also those that are reading: their files are failed."""
        with self._changing:
            self._closed = True
            processes, self._all = self._all, set()
            self._ahead.clear()
        with contextlib.ExitStack() as stack:  # one that cannot be ended keeps no other from it
            for process in processes:
                stack.callback(process.end)

    def announce(self, files: Iterable[ToRead]) -> None:
        """Say which files will be asked for, in this order, so that they can be read ahead.

        A file of more than 32 MB is not: documents that wait are held in memory.
        """
        with self._changing:
            self._announced = (file for file in files if file.size <= _MAX_BYTES_AHEAD)
            self._held_back = None

    def read(self, file: ToRead) -> Document | Wanted:
        """Read a file, or say what is wanted first. Waits for it, one file for each thread that asks.

        A file whose media break a limit or the reader is read without them. Raises UnsupportedFormatError and
        DocumentReadError as the reader does, DocumentReadError where the file breaks a limit or the reader, RagError
        where no process can be started.
        """
        request = self._request(file)
        began = time.monotonic()
        with self._changing:
            self._read_ahead()
            asked = self._ahead.pop(_without_texts(request), None) or self._sent(request)
            self._read_ahead()
        asked, reply = self._answer(asked)
        if (reply is None or reply.outcome == "memory") and asked.is_making and not self._closed:
            return self.read(replace(file, given_up=_why_given_up(asked, reply)))
        if reply is None:
            raise self._broken(asked)
        if reply.outcome == "media":
            return Wanted(reply.wants, reply.reader, reply.sha256, time.monotonic() - began)
        if reply.document is None:
            raise _refusal(reply, request)
        return reply.document

    def members(self, archive: ToRead, *, hashed: bool, max_bytes: int) -> tuple[Member, ...]:
        """Return the files in an archive; ``hashed`` with the hashes of those of up to ``max_bytes``.

        Waits and raises as ``read`` does, where the archive as a whole cannot be read.
        """
        request = replace(
            self._limits.request(archive), task="list hashed" if hashed else "list", max_file_bytes=max_bytes
        )
        with self._changing:
            asked = self._sent(request)
        asked, reply = self._answer(asked)
        if reply is None:
            raise self._broken(asked)
        if reply.outcome != "members":
            raise _refusal(reply, request)
        return reply.members

    def draw(self, file: ToRead, marking: Marking) -> MarkedPage:
        """Return a page of a PDF with words marked. Waits and raises as ``read`` does."""
        request = replace(self._limits.request(file), task="draw", marking=marking)
        with self._changing:
            asked = self._sent(request)
        asked, reply = self._answer(asked)
        if reply is None:
            raise self._broken(asked)
        if reply.drawn is None:
            raise _refusal(reply, request)
        return reply.drawn

    def _answer(self, asked: Asked) -> tuple[Asked, Reply | None]:
        """Return what a process says to the request, and what it answers: asked again where others may be to blame."""
        reply = self._reply(asked)
        while not self._closed and (reply is None or reply.outcome == "memory"):
            process = asked.process
            if not asked.is_shared and (process.n_asked == 1 or process.timed_out):
                break
            # Files beside this one or before it may have broken the process: only a fresh one can tell.
            with self._changing:
                asked = self._sent(asked.request, fresh=not asked.is_shared)
            reply = self._reply(asked)
        return asked, reply

    def again(self, file: ToRead, wanted: Wanted, texts: Iterable[PlacedText]) -> ToRead:
        """Return a file to be read once more, with texts that were wanted.

        Nothing more is asked for where making media takes longer on average than a tenth of what a file may take.
        """
        known, spent_s = (*file.known, *texts), file.spent_s + wanted.seconds
        allowed_s = self._limits.request(file).timeout_s * (1 + len(known) / 10)
        why = f"preparing {len(known):,} of them has taken {spent_s:.0f} s (ingest.parse_timeout_s)"
        return replace(file, known=known, spent_s=spent_s, given_up=why if spent_s > allowed_s else "")

    def _request(self, file: ToRead) -> Request:
        return replace(self._limits.request(file), served=self._served)

    def _read_ahead(self) -> None:
        """Send announced files to the processes that have room for them, and start one where that helps."""
        while not self._closed and (process := self._roomy()) is not None:
            requests = self._next_together()
            if not requests:
                return
            if process == "new":
                process = self._started()
            self._ahead.update(zip(map(_without_texts, requests), process.ask(requests), strict=True))

    def _roomy(self) -> ReadingProcess | Literal["new"] | None:
        """Return the process to send files to, "new" where one is to be started; None where all are busy."""
        usable = [process for process in self._all if process.is_usable]
        least = min(usable, key=lambda process: process.n_messages, default=None)
        if least is not None and not least.n_messages:
            return least
        if len(usable) < 1 + min(self._n_ahead, int(self._waited_s / _WAITED_S)):
            return "new"
        return least if least is not None and least.n_messages < _MESSAGES_OPEN else None

    def _next_together(self) -> list[Request]:
        """Return the next announced files that go in one message: some light ones, or one that is not."""
        requests: list[Request] = []
        n_bytes = 0
        if self._held_back is not None:
            requests, self._held_back = [self._held_back], None
            return requests
        for file in self._announced:
            request = self._request(file)
            if _without_texts(request) in self._ahead:
                continue
            light = not file.member and file.size <= _LIGHT_BYTES and is_light(file.name or file.document_id)
            if not light and requests:
                self._held_back = request
                break
            requests.append(request)
            n_bytes += file.size
            if not light or len(requests) == _SENT_TOGETHER or n_bytes >= _BYTES_SENT_TOGETHER:
                break
        return requests

    def _started(self) -> ReadingProcess:
        process = ReadingProcess(self._reader)
        self._all.add(process)
        return process

    def _sent(self, request: Request, *, fresh: bool = False) -> Asked:
        """Give the request to a process that has nothing else before it, a new one if need be."""
        if self._closed:
            raise DocumentReadError("the run was stopped before the file was read; run it again", retriable=True)
        free = [] if fresh else [process for process in self._all if process.is_usable and not process.n_messages]
        process = free[0] if free else self._started()
        (asked,) = process.ask([request])
        return asked

    def _reply(self, asked: Asked) -> Reply | None:
        process = asked.process
        began = time.monotonic()
        is_late = process.is_ready and not asked.is_answered
        reply = process.receive(asked)
        if reply is None or reply.outcome == "memory":
            process.end()
        with self._changing:
            if reply is None or reply.outcome == "memory":
                self._all.discard(process)
            if is_late:
                self._waited_s += time.monotonic() - began
            if not self._closed:
                self._read_ahead()
        return reply

    def _broken(self, asked: Asked) -> DocumentReadError:
        """Return what to say of a file whose process did not answer."""
        request, process = asked.request, asked.process
        failed = f"cannot read {request.document_id!r}"
        if process.timed_out:
            return DocumentReadError(
                f"{failed}: it was not read within {request.timeout_s:.0f} s; convert it to a simpler format, or give "
                "it more time (ingest.parse_timeout_s)",
                retriable=True,
            )
        if self._closed:
            return DocumentReadError(f"{failed}: the run was stopped; run it again", retriable=True)
        if process.exit_code == -getattr(signal, "SIGKILL", 9):
            return DocumentReadError(
                f"{failed}: the reading process was killed from outside, for want of memory as a rule; "
                "close other programs and run it again",
                retriable=True,
            )
        if process.exit_code in _GIVEN_UP:
            return DocumentReadError(
                f"{failed}: the reader gave up ({ending_of(process.exit_code)}), because the file is damaged or needs "
                f"more than {request.max_bytes // _MB:,} MB of memory; save it again, or allow more "
                "(ingest.parse_memory_mb)",
                retriable=True,
            )
        return DocumentReadError(
            f"{failed}: the reader crashed ({ending_of(process.exit_code)}); the file is probably damaged, open it and "
            "save it again"
        )


def _without_texts(request: Request) -> Request:
    """Return what a file is known by that was sent ahead: another may have brought more texts of it since."""
    return replace(request, known=())


def _why_given_up(asked: Asked, reply: Reply | None) -> str:
    """Return why a file is read without its media: making them broke what reads it."""
    if reply is not None:
        return (
            f"preparing them takes more than {asked.request.max_bytes // _MB:,} MB of memory (ingest.parse_memory_mb)"
        )
    if asked.process.timed_out:
        return f"one was not ready within {asked.request.timeout_s:.0f} s (ingest.parse_timeout_s)"
    return f"preparing them ended the reader ({ending_of(asked.process.exit_code)})"


def _refusal(reply: Reply, request: Request) -> RagError:
    """Return what to say of a file whose process answered, but not with what was asked for."""
    failed = f"cannot read {request.document_id!r}"
    if reply.outcome == "unsupported":
        return UnsupportedFormatError(reply.message)
    if reply.outcome == "memory":
        return DocumentReadError(
            f"{failed}: it needs more than {request.max_bytes // _MB:,} MB of memory to read; split it or convert it, "
            "or allow more (ingest.parse_memory_mb)",
            retriable=True,
        )
    if reply.outcome == "too long":
        return DocumentReadError(
            f"{failed}: it unfolds to {reply.n_chars:,} characters, more than the {request.max_chars:,} that a file "
            "of its size may hold; it is made to overwhelm its reader, or must be split"
        )
    if reply.outcome == "wrong":
        return RagError(reply.message)
    return DocumentReadError(reply.message, retriable=reply.retriable)


def _n_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
