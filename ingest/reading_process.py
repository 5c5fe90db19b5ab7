"""The near side of ``ingest.child``: a process that reads strangers' files, and what was asked of it.

Requests are sent ahead, so that the process need not wait for whoever takes its replies, and several small files in one
message: to wake each other for each of them would cost more than to read it. Replies come in the order of the requests.
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
from collections import deque
from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import Any, get_args

from ingest.archives.member import Member
from ingest.child import LENGTH, Reply, Request
from ingest.readers.marked import MarkedPage
from ingest.readers.media import Want
from rag.errors import RagError
from rag.types import MediaKind, Medium

__all__ = ["MEDIA_TYPES", "Asked", "ReadingProcess", "ending_of"]

_START_TIMEOUT_S = 60.0
_DYING_S = 5.0
_REPLY_OVERHEAD_BYTES = 64 * 1024 * 1024
_SHARED_TIMEOUT_S = 5.0
"""How long nothing may come of files that were sent together; each is then asked for alone, with all of its time."""
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


class Asked:
    """A request that was sent to a process, in a message with others: any of these may be what breaks it."""

    __slots__ = ("_replies", "is_making", "message", "process", "request")

    def __init__(self, request: Request, process: ReadingProcess, message: Sequence[Request]) -> None:
        self.request = request
        self.process = process
        self.message = message
        self.is_making = False
        self._replies: queue.SimpleQueue[Reply | None] = queue.SimpleQueue()

    def answer(self, reply: Reply | None) -> None:
        self._replies.put(reply)

    def reply(self, timeout_s: float) -> Reply | None:
        """Wait for the reply; None where there will be none. Raises ``queue.Empty``."""
        return self._replies.get(timeout=max(timeout_s, 0))

    @property
    def is_shared(self) -> bool:
        return len(self.message) > 1

    @property
    def is_answered(self) -> bool:
        return not self._replies.empty()


class ReadingProcess:
    """One process. ``ask`` and ``receive`` are for one thread at a time each; ``end`` is for any."""

    def __init__(self, reader: str) -> None:
        self.n_asked = 0
        self.timed_out = False
        self.exit_code: int | None = None
        self._ready = False
        self._is_spent = False
        self._sent_junk = False
        self._moved_at = 0.0
        self._changing = threading.Lock()
        self._open: deque[Asked] = deque()
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
        self._started: queue.SimpleQueue[Reply | None] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, name="footnote-reader", daemon=True)
        self._listener.start()

    @property
    def is_ready(self) -> bool:
        """Whether it has told that it runs."""
        return self._ready

    @property
    def n_messages(self) -> int:
        """How many messages it has not answered whole; 0 for one that is free."""
        return len({id(asked.message) for asked in list(self._open)})

    @property
    def is_usable(self) -> bool:
        """Whether more may be asked of it: it lives, as far as is known, and has the memory."""
        return not self._is_spent

    def ask(self, requests: Sequence[Request]) -> list[Asked]:
        """Send files to read, in one message; it may still be starting."""
        asked = [Asked(request, self, requests) for request in requests]
        with self._changing:
            self.n_asked += len(asked)
            if not self._open:
                self._moved_at = time.monotonic()
            self._open.extend(asked)
            is_lost = self._is_spent
            if is_lost:
                self._lose()
        if not is_lost:
            message = pickle.dumps(list(requests))
            assert self._process.stdin is not None
            with contextlib.suppress(OSError, ValueError):  # it died since: that is what the reply says
                self._process.stdin.write(LENGTH.pack(len(message)) + message)
                self._process.stdin.flush()
        return asked

    def receive(self, asked: Asked) -> Reply | None:
        """Wait for the reply; None for a process that died or takes too long, counted from its last reply."""
        if not self._ready:
            self._await_start()
        patience_s = asked.request.timeout_s
        if asked.is_shared:
            patience_s = min(patience_s, _SHARED_TIMEOUT_S)
        while True:
            try:
                reply = asked.reply(self._moved_at + patience_s - time.monotonic())
                break
            except queue.Empty:
                if self._moved_at + patience_s <= time.monotonic():
                    self.timed_out = True
                    return None
        if reply is None and not self.timed_out and not self._sent_junk:
            with contextlib.suppress(subprocess.TimeoutExpired):  # it is dying, and how is worth knowing
                self.exit_code = self._process.wait(_DYING_S)
            self.timed_out = self.exit_code == -getattr(signal, "SIGALRM", 0) != 0
        return reply

    def _await_start(self) -> None:
        try:
            reply = self._started.get(timeout=_START_TIMEOUT_S)
        except queue.Empty:
            reply = None
        if reply is None:
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip().splitlines()
            self.exit_code = self._process.poll()
            self.end()
            raise RagError(
                f"cannot start a process to read files: {said[-1] if said else ending_of(self.exit_code)}; "
                "check that Footnote is installed whole"
            )
        self._ready = True

    def end(self) -> None:
        """Kill the process and all that it started; wait until it is gone. Whoever waits for a reply gets None."""
        with self._ending:
            if self._errors.closed:
                return
            self._is_spent = True
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

    # --- listening, in a thread

    def _listen(self) -> None:
        """Hand the replies to the requests in their order; None to those that get no more."""
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            started = self._next_reply(stream)
            self._moved_at = time.monotonic()
            self._started.put(started)
            while started is not None and (reply := self._next_reply(stream)) is not None:
                self._moved_at = time.monotonic()
                self._hand_on(reply)
        with self._changing:
            self._is_spent = True
            self._lose()

    def _hand_on(self, reply: Reply) -> None:
        with self._changing:
            if not self._open:  # nobody asked
                return
            if reply.outcome == "making":
                self._open[0].is_making = True
                return
            if reply.outcome == "memory":
                self._is_spent = True
            self._open.popleft().answer(reply)

    def _lose(self) -> None:
        """Answer all that is open with None. The caller holds the lock."""
        while self._open:
            self._open.popleft().answer(None)

    def _next_reply(self, stream: Any) -> Reply | None:
        header = stream.read(LENGTH.size)
        if len(header) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack(header)
        with self._changing:
            most = _REPLY_OVERHEAD_BYTES + (4 * self._open[0].request.max_chars if self._open else 0)
        message = stream.read(length) if length <= most else b""
        if len(message) < length <= most:
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


def ending_of(exit_code: int | None) -> str:
    if exit_code is None:
        return "it sent something else than a document"
    if exit_code >= 0:
        return f"it ended with exit code {exit_code}"
    try:
        return f"signal {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"signal {-exit_code}"
