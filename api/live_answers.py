"""Answers that are being written for event streams: what each has sent so far, who reads it, and when it stops.

An answer is written by a task of its own into a log of encoded events, and clients read the log, each at its own pace.
So a client can come back and go on where it was, and what was written while it could not take it is sent in one piece.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import uuid
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal

from api.stream_events import done_event, error_event, started_event, stream_events
from rag.errors import AnswerEventsGoneError, AnswerNotFoundError, RagError
from rag.types import AnswerEvent

__all__ = ["WINDOW_BYTES", "LiveAnswer", "LiveAnswers", "Reader", "new_answer_id"]

logger = logging.getLogger("footnote.http")

WINDOW_BYTES = 256 * 1024
"""How far an answer runs ahead of its slowest reader: then it waits, and so does the model behind it."""

State = Literal["running", "ended"]


def new_answer_id() -> str:
    """Return an id that cannot be guessed: knowing it is what lets a client take an answer up again."""
    return f"answer-{uuid.uuid4().hex}"


class LiveAnswers:
    """The answers of one service that are being written, or ended less than ``resume_s`` seconds ago.

    With ``resume_s`` of 0 an answer ends with its last reader, and nothing is kept that was sent. Otherwise it is
    written on for as long without a reader, and kept for as long after its end. All that is kept has ``max_bytes``
    together: beyond it, the answers that ended first are forgotten, then the oldest events of those under way.
    """

    def __init__(self, *, resume_s: float = 0.0, max_bytes: int = 64 * 1024 * 1024, max_ended: int = 10_000) -> None:
        self.resume_s = resume_s
        self._max_bytes = max_bytes
        self._max_ended = max_ended
        self._answers: dict[str, LiveAnswer] = {}
        self._ended: deque[LiveAnswer] = deque()
        self.n_bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def n_running(self) -> int:
        return len(self._answers) - len(self._ended)

    def begin(self, answer_id: str, events: AsyncGenerator[AnswerEvent], *, owner: str = "") -> Reader:
        """Start writing an answer and return its first reader. ``owner``: what a client must show to find it again."""
        answer = LiveAnswer(answer_id, events, owner=owner, among=self)
        self._answers[answer_id] = answer
        reader = answer.reader()
        answer.begin()
        return reader

    def find(self, answer_id: str, *, owner: str = "") -> LiveAnswer:
        """Return an answer that is there. Raises AnswerNotFoundError, also for one of another owner."""
        answer = self._answers.get(answer_id)
        if answer is None or not hmac.compare_digest(answer.owner.encode(), owner.encode()):
            kept = f"for {self.resume_s:g} s after its end" if self.resume_s else "only while it is written"
            raise AnswerNotFoundError(
                f"no answer {answer_id!r} is under way; the events of an answer are kept {kept} (server.resume_s)"
            )
        return answer

    async def aclose(self) -> None:
        """Stop all answers and forget them."""
        for answer in list(self._answers.values()):
            await answer.stop()
            self.forget(answer)

    # --- for the answers themselves

    def note_size(self, answer: LiveAnswer, n_bytes: int) -> None:
        """Count bytes that came to (or, below 0, left) an answer's log, and make room where there are too many."""
        self.n_bytes += n_bytes
        while self.n_bytes > self._max_bytes and self._forget_oldest():
            pass
        if self.n_bytes > self._max_bytes and n_bytes > 0:
            answer.trim(self.n_bytes - self._max_bytes)

    def note_end(self, answer: LiveAnswer) -> None:
        if answer.id not in self._answers:
            return
        self._ended.append(answer)
        if len(self._ended) > self._max_ended:
            self._forget_oldest()

    def forget(self, answer: LiveAnswer) -> None:
        if self._answers.pop(answer.id, None) is not None:
            if answer in self._ended:
                self._ended.remove(answer)
            self.n_bytes -= answer.n_bytes
            answer.drop_timer()

    def _forget_oldest(self) -> bool:
        """Forget the answer that ended first, of those that nobody reads; return whether there was one."""
        oldest = next((answer for answer in self._ended if not answer.has_readers), None)
        if oldest is not None:
            self.forget(oldest)
        return oldest is not None


class LiveAnswer:
    """One answer: the task that writes it, and the events it has written that may still be asked for."""

    def __init__(self, id_: str, events: AsyncGenerator[AnswerEvent], *, owner: str, among: LiveAnswers) -> None:
        self.id = id_
        self.owner = owner
        self.state: State = "running"
        self.n_bytes = 0
        self.failure: Exception | None = None
        self._source = events
        self._among = among
        self._events: list[bytes] = []
        self._first = 0  # the number of the first event that is kept
        self._n_written = 0  # bytes of all events, the dropped ones included
        self._readers: set[Reader] = set()
        self._room: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def n_events(self) -> int:
        """How many events there have been; the next one has this number."""
        return self._first + len(self._events)

    @property
    def has_readers(self) -> bool:
        return bool(self._readers)

    def begin(self) -> None:
        self._task = asyncio.create_task(self._write())

    def reader(self, *, after: int = -1) -> Reader:
        """Return a reader of the events after number ``after``, those that are still to come included.

        Raises AnswerEventsGoneError where some of them are no longer kept, ValueError where there is no such number.
        """
        if after != -1 and not 0 <= after < self.n_events:
            raise ValueError(f"the last event of answer {self.id!r} is {self.n_events - 1}, got {after}")
        if after + 1 < self._first:
            raise AnswerEventsGoneError(
                f"the events of answer {self.id!r} are kept from {self._first} on, and {after + 1} was asked for; "
                "ask the question again, or raise server.resume_mb"
            )
        if self.state == "running":
            self.drop_timer()
        n_unread = sum(map(len, self.take(after + 1)))
        reader = Reader(self, after + 1, n_read=self._n_written - n_unread)
        self._readers.add(reader)
        return reader

    async def stop(self) -> bool:
        """Stop writing, and wait until all that was done for it has ended; return whether it was still under way."""
        task = self._task
        if task is None or self.state == "ended":
            return False
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return True

    async def leave(self, reader: Reader) -> None:
        """Take a reader away. The last one to go ends an answer that nobody can take up again."""
        self._readers.discard(reader)
        self._make_room()
        if self._readers:
            return
        if self.state == "ended":
            if not self._among.resume_s:
                self._among.forget(self)
        elif self._among.resume_s:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._among.resume_s, self._give_up)
        else:
            await self.stop()
            self._among.forget(self)

    def start(self) -> None:
        """Put the first event, where none came yet: from then on a failure is an event, too."""
        if not self.n_events:
            self._append(started_event(self.id, resume_s=self._among.resume_s))

    def take(self, position: int) -> list[bytes]:
        """Return the events from number ``position`` on."""
        return self._events[position - self._first :]

    def was_read(self) -> None:
        """Note that a reader went on: let the writing go on, and drop what nobody will ask for."""
        if not self._among.resume_s:
            self.trim(self.n_bytes)
        self._make_room()

    def trim(self, n_bytes: int) -> None:
        """Drop the oldest events that all readers have, until ``n_bytes`` are gone or none is left to drop."""
        limit = min((reader.position for reader in self._readers), default=self.n_events)
        n_events, dropped = 0, 0
        while dropped < n_bytes and self._first + n_events < limit:
            dropped += len(self._events[n_events])
            n_events += 1
        if dropped:
            del self._events[:n_events]
            self._first += n_events
            self.n_bytes -= dropped
            self._among.note_size(self, -dropped)

    def drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- writing

    async def _write(self) -> None:
        try:
            async with aclosing(self._source) as source:
                async for event in source:
                    self.start()
                    for data in stream_events(event, self.n_events):
                        self._append(data)
                    await self._wait_for_room()
        except asyncio.CancelledError:
            self.start()
            self._append(done_event(self.n_events, outcome="cancelled"))
        except Exception as error:
            self._fail(error)
        finally:
            self.state = "ended"
            self._among.note_end(self)
            self._settle()
            self._wake()

    def _fail(self, error: Exception) -> None:
        if not self.n_events and self._readers:
            self.failure = error  # the reply has no status yet: it gets that of the error
            return
        if not isinstance(error, RagError):
            logger.error("an answer failed in mid-stream", exc_info=error)
        self.start()
        self._append(error_event(self.n_events, error))

    def _settle(self) -> None:
        """Set when an answer that ended is forgotten."""
        self.drop_timer()
        if self._among.resume_s:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._among.resume_s, self._among.forget, self)
        elif not self._readers:
            self._among.forget(self)

    def _append(self, data: bytes) -> None:
        self._events.append(data)
        self.n_bytes += len(data)
        self._n_written += len(data)
        self._among.note_size(self, len(data))
        self._wake()

    def _wake(self) -> None:
        for reader in self._readers:
            reader.wake()

    async def _wait_for_room(self) -> None:
        while any(self._n_written - reader.n_read > WINDOW_BYTES for reader in self._readers):
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _give_up(self) -> None:
        """Nobody came back in time."""
        if self._task is not None and self.state == "running":
            self._task.cancel()


class Reader:
    """One client's place in an answer."""

    def __init__(self, answer: LiveAnswer, position: int, *, n_read: int) -> None:
        self.answer = answer
        self.position = position
        """the number of the next event it gets"""
        self.n_read = n_read
        """bytes of the events before that"""
        self.is_gone = False
        self._waiting: asyncio.Future[None] | None = None
        self._is_quiet = True
        self._is_due = False

    async def next(self, *, heartbeat: bytes) -> bytes | None:
        """Return all events that are there, as soon as there are any; None at the end, or when the client has gone.

        After ``beat``, and with nothing else to send, that is ``heartbeat``. Raises what failed before the first event.
        """
        answer = self.answer
        while not self.is_gone:
            if self.position < answer.n_events:
                events = answer.take(self.position)
                data = events[0] if len(events) == 1 else b"".join(events)
                self.position += len(events)
                self.n_read += len(data)
                self._is_quiet = self._is_due = False
                answer.was_read()
                return data
            if answer.state == "ended":
                if answer.failure is not None:
                    raise answer.failure
                return None
            if self._is_due:
                self._is_due = False
                if answer.n_events:
                    return heartbeat
                answer.start()
                continue
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
            self._waiting = None
        return None

    def wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def beat(self) -> None:
        """Ask for a heartbeat, if nothing was sent since the last call."""
        if self._is_quiet:
            self._is_due = True
            self.wake()
        self._is_quiet = True

    def go(self) -> None:
        """Note that the client is no longer there."""
        self.is_gone = True
        self.wake()

    async def leave(self) -> None:
        """Give the place up. With nobody left, and none who may come back, the answer has ended when this returns."""
        await self.answer.leave(self)
