"""Reads strangers' files in child processes, so that a hang, a crash or a bomb costs that file and nothing else.

A child (``ingest.child``) reads file after file: a request is a path, a reply is a document. Measured: 0.13 s to start
one, in the background and not before the first file; 15 microseconds to ask it. So every file goes there, small ones
too, and no format has to be trusted. Chunking stays with the caller, for it is our own code on text of known length,
and a child that chunks needs a vocabulary of its own (100 MB, 0.2 s).
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

from ingest.archives.member import Member
from ingest.child import LENGTH, Reply, Request
from ingest.readers.marked import MarkedPage, Marking
from ingest.readers.media import ServedKind, Want
from rag.errors import DocumentReadError, RagError, UnsupportedFormatError
from rag.types import Document, MediaKind, Medium, PlacedText

__all__ = ["IsolatedReaders", "ReadingLimits", "ToRead", "Wanted"]

_MB = 1024 * 1024
_START_TIMEOUT_S = 60.0
_DYING_S = 5.0
_REPLY_OVERHEAD_BYTES = 64 * _MB
_GIVEN_UP = {-getattr(signal, name) for name in ("SIGABRT", "SIGTRAP", "SIGILL") if hasattr(signal, name)}
"""How libraries in C end when memory does not suffice."""
_MAX_AHEAD = 4
_MAX_BYTES_AHEAD = 32 * _MB
MEDIA_TYPES = frozenset(
    {"image/png", "image/jpeg", "audio/wav", "audio/flac", "audio/mpeg", "audio/mp4", "audio/ogg", "audio/webm"}
)
"""What media are handed on as: a reader makes one of these of whatever it finds."""
# -P: the folder we stand in may be a stranger's, and must not be where modules are looked for.
# One thread for arrays, said before they are imported: each thread would reserve memory.
_BOOT = (
    "import os, sys; os.environ['OPENBLAS_NUM_THREADS'] = os.environ['OMP_NUM_THREADS'] = '1'; "
    "sys.path[:] = {path!r}; from ingest.child import main; main({reader!r})"
)


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

    ``reader`` names the function they call: ``ingest.readers:read`` or one with its signature. ``n_ahead`` announced
    files are read before they are asked for. ``served`` are the kinds of media that somebody reads.
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
        self._announced: Iterator[Request] = iter(())
        self._ahead: dict[Request, _Child] = {}
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()
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
            children, self._all = self._all, set()
            self._idle.clear()
            self._ahead.clear()
        with contextlib.ExitStack() as stack:  # one that cannot be ended keeps no other from it
            for child in children:
                stack.callback(child.end)

    def announce(self, files: Iterable[ToRead]) -> None:
        """Say which files will be asked for, in this order, so that they can be read ahead.

        A file of more than 32 MB is not: documents that wait are held in memory.
        """
        with self._changing:
            small = (file for file in files if file.size <= _MAX_BYTES_AHEAD)
            self._announced = (self._request(file) for file in small)

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
            child = self._ahead.pop(_without_texts(request), None) or self._sent(request)
            self._read_ahead()
        child, reply = self._answer(child, request)
        if (reply is None or reply.outcome == "memory") and child.is_making and not self._closed:
            return self.read(replace(file, given_up=_why_given_up(child, reply, request)))
        if reply is None:
            raise self._broken(child, request)
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
            child = self._sent(request)
        child, reply = self._answer(child, request)
        if reply is None:
            raise self._broken(child, request)
        if reply.outcome != "members":
            raise _refusal(reply, request)
        return reply.members

    def draw(self, file: ToRead, marking: Marking) -> MarkedPage:
        """Return a page of a PDF with words marked. Waits and raises as ``read`` does."""
        request = replace(self._limits.request(file), task="draw", marking=marking)
        with self._changing:
            child = self._sent(request)
        child, reply = self._answer(child, request)
        if reply is None:
            raise self._broken(child, request)
        if reply.drawn is None:
            raise _refusal(reply, request)
        return reply.drawn

    def _answer(self, child: _Child, request: Request) -> tuple[_Child, Reply | None]:
        """Return what a process says to the request, and which: another one where the first breaks."""
        reply = self._reply(child)
        if child.n_read > 1 and (reply is None or reply.outcome == "memory") and not child.timed_out:
            # Files before this one may have left the process damaged or full: only a fresh one can tell.
            with self._changing:
                child = self._sent(request, fresh=True)
            reply = self._reply(child)
        return child, reply

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
        while len(self._ahead) < self._n_ahead and (request := next(self._announced, None)) is not None:
            key = _without_texts(request)
            if key not in self._ahead:
                self._ahead[key] = self._sent(request)

    def _sent(self, request: Request, *, fresh: bool = False) -> _Child:
        """Return a process that was given the request."""
        if self._closed:
            raise DocumentReadError("the run was stopped before the file was read; run it again", retriable=True)
        if self._idle and not fresh:
            child = self._idle.pop()
        else:
            child = _Child(self._reader)
            self._all.add(child)
        child.send(request)
        return child

    def _reply(self, child: _Child) -> Reply | None:
        reply = child.receive()
        if reply is None or reply.outcome == "memory":
            child.end()
            with self._changing:
                self._all.discard(child)
        else:
            with self._changing:
                self._idle.append(child)
                if not self._closed:
                    self._read_ahead()
        return reply

    def _broken(self, child: _Child, request: Request) -> DocumentReadError:
        """Return what to say of a file whose process did not answer."""
        failed = f"cannot read {request.document_id!r}"
        if child.timed_out:
            return DocumentReadError(
                f"{failed}: it was not read within {request.timeout_s:.0f} s; convert it to a simpler format, or give "
                "it more time (ingest.parse_timeout_s)",
                retriable=True,
            )
        if self._closed:
            return DocumentReadError(f"{failed}: the run was stopped; run it again", retriable=True)
        if child.exit_code == -getattr(signal, "SIGKILL", 9):
            return DocumentReadError(
                f"{failed}: the reading process was killed from outside, for want of memory as a rule; "
                "close other programs and run it again",
                retriable=True,
            )
        if child.exit_code in _GIVEN_UP:
            return DocumentReadError(
                f"{failed}: the reader gave up ({_ending(child.exit_code)}), because the file is damaged or needs more "
                f"than {request.max_bytes // _MB:,} MB of memory; save it again, or allow more "
                "(ingest.parse_memory_mb)",
                retriable=True,
            )
        return DocumentReadError(
            f"{failed}: the reader crashed ({_ending(child.exit_code)}); the file is probably damaged, open it and "
            "save it again"
        )


def _without_texts(request: Request) -> Request:
    """Return what a file is known by that was sent ahead: another may have brought more texts of it since."""
    return replace(request, known=())


def _why_given_up(child: _Child, reply: Reply | None, request: Request) -> str:
    """Return why a file is read without its media: making them broke what reads it."""
    if reply is not None:
        return f"preparing them takes more than {request.max_bytes // _MB:,} MB of memory (ingest.parse_memory_mb)"
    if child.timed_out:
        return f"one was not ready within {request.timeout_s:.0f} s (ingest.parse_timeout_s)"
    return f"preparing them ended the reader ({_ending(child.exit_code)})"


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


class _Child:
    """One process. ``send`` and ``receive`` take turns; ``end`` is for any thread."""

    def __init__(self, reader: str) -> None:
        self.n_read = 0
        self.timed_out = False
        self.is_making = False
        self.exit_code: int | None = None
        self._ready = False
        self._sent_junk = False
        self._sent_at = self._timeout_s = 0.0
        self._ending = threading.Lock()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by ``end``
        boot = _BOOT.format(path=sys.path, reader=reader)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", boot],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                process_group=0,  # so that Ctrl-C is not for it, and all that it starts ends with it
            )
        except OSError as error:
            self._errors.close()
            raise RagError(f"cannot start a process to read files: {error.strerror or error}") from error
        self._replies: queue.SimpleQueue[Reply | None] = queue.SimpleQueue()
        self._max_reply_bytes = _REPLY_OVERHEAD_BYTES
        self._listener = threading.Thread(target=self._listen, name="footnote-reader", daemon=True)
        self._listener.start()

    def send(self, request: Request) -> None:
        """Give it a file to read; it may still be starting."""
        self.n_read += 1
        self.is_making = False
        self._sent_at = time.monotonic()
        self._timeout_s = request.timeout_s
        self._max_reply_bytes = 4 * request.max_chars + _REPLY_OVERHEAD_BYTES
        message = pickle.dumps(request)
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it died since: that is what the reply says
            self._process.stdin.write(LENGTH.pack(len(message)) + message)
            self._process.stdin.flush()

    def receive(self) -> Reply | None:
        """Wait for the reply; None for a process that died or takes too long."""
        if not self._ready:
            self._await_start()
            self._sent_at = time.monotonic()
        reply = self._next()
        if reply is not None and reply.outcome == "making":
            self.is_making = True
            reply = self._next()
        if reply is None and not self.timed_out and not self._sent_junk:
            with contextlib.suppress(subprocess.TimeoutExpired):  # it is dying, and how is worth knowing
                self.exit_code = self._process.wait(_DYING_S)
            self.timed_out = self.exit_code == -getattr(signal, "SIGALRM", 0) != 0
        return reply

    def _next(self) -> Reply | None:
        try:
            return self._replies.get(timeout=max(self._sent_at + self._timeout_s - time.monotonic(), 0))
        except queue.Empty:
            self.timed_out = True
            return None

    def _await_start(self) -> None:
        try:
            reply = self._replies.get(timeout=_START_TIMEOUT_S)
        except queue.Empty:
            reply = None
        if reply is None:
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip().splitlines()
            self.exit_code = self._process.poll()
            self.end()
            raise RagError(
                f"cannot start a process to read files: {said[-1] if said else _ending(self.exit_code)}; "
                "check that Footnote is installed whole"
            )
        self._ready = True

    def end(self) -> None:
        """Kill the process and all that it started; wait until it is gone. Whoever waits for a reply gets None."""
        with self._ending:
            if self._errors.closed:
                return
            if self._process.poll() is None:
                self._kill()
            self._process.wait()
            self._listener.join()
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):  # what it did not read any more
                self._process.stdin.close()
            self._errors.close()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def _listen(self) -> None:
        """Put replies where ``receive`` finds them, then None."""
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            while (reply := self._next_reply(stream)) is not None:
                self._replies.put(reply)
        self._replies.put(None)

    def _next_reply(self, stream: Any) -> Reply | None:
        header = stream.read(LENGTH.size)
        if len(header) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack(header)
        message = stream.read(length) if length <= self._max_reply_bytes else b""
        if len(message) < length <= self._max_reply_bytes:
            return None
        reply = _load(message)
        self._sent_junk = reply is None
        return reply


class _ReplyUnpickler(pickle.Unpickler):
    """Makes replies and the dataclasses of documents and nothing else: a parser taken over cannot send code here."""

    def find_class(self, module: str, name: str) -> Any:
        ours = (
            "rag.types.documents",
            "rag.types.media",
            "ingest.child",
            "ingest.readers.media",
            "ingest.readers.marked",
            "ingest.archives.member",
        )
        if module in ours and name.isidentifier():
            found = super().find_class(module, name)
            if isinstance(found, type) and found.__module__ == module and is_dataclass(found):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a document")


def _load(message: bytes) -> Reply | None:
    """Return a reply, None for what is none: the process is then treated as crashed."""
    try:
        reply = _ReplyUnpickler(io.BytesIO(message)).load()
    except Exception:  # a process that was taken over may send anything
        return None
    if not isinstance(reply, Reply):
        return None
    # subtle: unpickling looks at no field, and a member's path becomes an id
    are_members = all(isinstance(member, Member) and member.is_sound() for member in reply.members)
    is_drawn = reply.drawn is None or (isinstance(reply.drawn, MarkedPage) and isinstance(reply.drawn.png, bytes))
    return reply if are_members and is_drawn and all(map(_is_sound, reply.wants)) else None


def _is_sound(want: object) -> bool:
    """Tell whether a want is what its type says: unpickling does not look."""
    if not isinstance(want, Want) or want.kind not in get_args(MediaKind) or not isinstance(want.place, int):
        return False
    medium = want.medium
    return medium is None or (
        isinstance(medium, Medium)
        and medium.kind == want.kind
        and isinstance(medium.data, bytes)
        and medium.media_type in MEDIA_TYPES
        and isinstance(medium.seconds, float)
    )


def _ending(exit_code: int | None) -> str:
    if exit_code is None:
        return "it sent something else than a document"
    if exit_code >= 0:
        return f"it ended with exit code {exit_code}"
    try:
        return f"signal {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"signal {-exit_code}"


def _n_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
