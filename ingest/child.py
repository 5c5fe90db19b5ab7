"""The other side of ``ingest.reading_process``: a process that reads strangers' files, one after the other.

It is started as a program, not forked: a fork of a process with threads may inherit a lock that nobody will release,
and ``multiprocessing`` would import the caller's main module anew. Requests come on standard input, replies go to
standard output; readers see neither, so nothing they print can get between. The process ends when its input does,
which is also what the death of its parent looks like.
"""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import select
import signal
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from ingest.archives.member import Member
from ingest.readers.marked import MarkedPage, Marking, draw_marked
from ingest.readers.media import Media, ServedKind, Want
from rag.errors import DocumentReadError, RagError, UnsupportedFormatError
from rag.types import Document, PlacedText

if TYPE_CHECKING:
    from ingest.archives.opened import OpenArchives

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ["LENGTH", "Outcome", "Reply", "Request", "main"]

LENGTH = struct.Struct("<Q")
"""What stands before every message: its length in bytes."""
ALARM_GRACE_S = 2.0
"""How much later than its parent the process stops itself: for a parent that died while C code held the interpreter."""

COLLECT_AFTER = 10_000, 20, 20
"""Objects made before the collector looks for circles, and how often it looks further: documents have none."""

REPLIES_BUFFERED = 256 * 1024
TOLD_EVERY_S = 0.1
"""Replies to what was asked in one message are held back for so long, or until they are so many bytes."""

MAX_MEDIA_BYTES = 32_000_000
"""Media in one reply: about so much, and one more."""

Outcome = Literal[
    "ready", "making", "media", "document", "members", "drawn", "failed", "unsupported", "wrong", "memory", "too long"
]
Task = Literal["read", "list", "list hashed", "draw"]
Read = Callable[..., Document]


@dataclass(frozen=True, slots=True)
class Request:
    """A file to read, an archive to list, or a page to draw (``marking``); ``max_bytes`` of memory are beyond what the
    process takes anyway.

    ``served`` are the kinds of media whose texts may be asked for, unless ``given_up`` says why no more are; ``known``
    are the texts that are there. ``max_file_bytes`` is the size up to which files in an archive are hashed.
    """

    path: str
    document_id: str
    name: str
    member: tuple[str, ...]
    timeout_s: float
    max_bytes: int
    max_chars: int
    served: tuple[ServedKind, ...] = ()
    known: tuple[PlacedText, ...] = ()
    given_up: str = ""
    task: Task = "read"
    max_file_bytes: int = 0
    marking: Marking | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a request: a document, media whose texts are wanted first, the members of an archive, or words.

    "making" goes before the reply of a file whose media are being made. ``reader`` is who has numbered the media, and
    ``sha256`` that of the bytes that were read.
    """

    outcome: Outcome
    document: Document | None = None
    members: tuple[Member, ...] = ()
    wants: tuple[Want, ...] = ()
    reader: str = ""
    sha256: str = ""
    message: str = ""
    retriable: bool = False
    n_chars: int = 0
    drawn: MarkedPage | None = None


def main(reader: str) -> None:
    """Serve requests until there are no more. ``reader`` names a function: ``ingest.readers:read``."""
    from ingest.archives.opened import OpenArchives  # here, for the parent does without

    requests, replies = _take_over_streams()
    _leave_signals_to_parent()
    module, _, name = reader.partition(":")
    read: Read = getattr(importlib.import_module(module), name)
    _end_with_parent(requests.fileno())
    _silence_errors()
    archives = OpenArchives()
    gc.freeze()  # what was imported stays: it need not be looked through with every few documents
    gc.set_threshold(*COLLECT_AFTER)
    n_bytes_at_start = _address_space()
    _send(replies, Reply("ready"))
    while header := requests.read(LENGTH.size):
        message: list[Request] = pickle.loads(requests.read(*LENGTH.unpack(header)))
        told_at = time.monotonic()
        for request in message:
            _limit(request, n_bytes_at_start)
            media = Media(
                request.served,
                request.known,
                given_up=request.given_up,
                max_bytes=MAX_MEDIA_BYTES,
                max_seconds=request.timeout_s / 2,
                on_make=lambda: _send(replies, Reply("making")),
            )
            reply = _reply(read, request, media, archives)
            is_due = request is message[-1] or time.monotonic() - told_at > TOLD_EVERY_S
            _send(replies, reply, flush=is_due)
            if is_due:
                told_at = time.monotonic()
        _set_alarm(0)


def _reply(read: Read, request: Request, media: Media, archives: OpenArchives) -> Reply:
    try:
        if request.marking is not None:
            drawn = draw_marked(Path(request.path), request.marking, document_id=request.document_id)
            return Reply("drawn", drawn=drawn)
        if request.task != "read":
            return Reply("members", members=_members(request))
        data = _data(request, archives)
        document = read(Path(request.path), document_id=request.document_id, name=request.name, data=data, media=media)
    except UnsupportedFormatError as error:
        return Reply("unsupported", message=str(error))
    except DocumentReadError as error:
        if isinstance(error.__cause__, MemoryError):
            return Reply("memory")
        return Reply("failed", message=str(error), retriable=error.retriable)
    except RagError as error:
        return Reply("wrong", message=str(error))
    except MemoryError:
        return Reply("memory")
    if media.wants:
        return Reply("media", wants=tuple(media.wants), reader=media.reader, sha256=document.sha256)
    if len(document.text) > request.max_chars:
        return Reply("too long", n_chars=len(document.text))
    metadata: Mapping[str, Any] = dict(document.metadata)  # subtle: a read-only mapping cannot be pickled
    return Reply("document", replace(document, metadata=metadata))


def _members(request: Request) -> tuple[Member, ...]:
    from ingest.archives.opened import list_members

    return list_members(
        Path(request.path),
        request.document_id,
        hashed=request.task == "list hashed",
        max_bytes=request.max_file_bytes,
    )


def _data(request: Request, archives: OpenArchives) -> bytes | None:
    """Return the bytes of a file in an archive; None for one that the reader opens itself."""
    if request.member:
        return archives.read(Path(request.path), request.member, document_id=request.document_id)
    archives.close()  # its memory is for the next file
    return None


def _send(stream: IO[bytes], reply: Reply, *, flush: bool = True) -> None:
    try:
        message = pickle.dumps(reply, protocol=5)
    except MemoryError:
        message = pickle.dumps(Reply("memory"), protocol=5)
    stream.write(LENGTH.pack(len(message)))
    stream.write(message)
    if flush:
        stream.flush()


def _take_over_streams() -> tuple[IO[bytes], IO[bytes]]:
    """Return standard input and output for ourselves; what reads or prints from here on meets the null device."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", REPLIES_BUFFERED)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    return requests, replies


def _silence_errors() -> None:
    """Let standard error go nowhere: parsers remark on odd files in C. Until here it says why a start failed."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)


def _leave_signals_to_parent() -> None:
    """Ignore Ctrl-C, which is the parent's to answer; the alarm and a broken pipe end the process without a word."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("SIGALRM", "SIGPIPE"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)


def _end_with_parent(requests: int) -> None:
    """End, with all processes started from here, as soon as nobody holds the other end of the requests."""
    if not hasattr(select, "poll"):
        return
    poll = select.poll()
    poll.register(requests, 0)  # nothing but the hang-up, which is always told

    def watch() -> None:
        poll.poll()
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _limit(request: Request, n_bytes_at_start: int) -> None:
    _set_alarm(request.timeout_s + ALARM_GRACE_S)
    if resource is not None and n_bytes_at_start:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        wanted = n_bytes_at_start + request.max_bytes
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _set_alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _address_space() -> int:
    """Return the bytes of address space this process has taken, 0 where the system does not tell (not Linux)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
