"""Server-sent events, parsed as the bytes arrive.

Follows https://html.spec.whatwg.org/multipage/server-sent-events.html and bends where providers do: an event that the
end of the stream cuts off before its blank line still counts, and so does a line of bare JSON.
"""

from __future__ import annotations

from typing import NamedTuple

from rag.errors import EndpointResponseError

__all__ = ["MAX_EVENT_BYTES", "SseEvent", "SseParser"]

MAX_EVENT_BYTES = 16 * 2**20
"""The longest event that is accepted: an image in base64 fits, an endless line does not."""

_BOM = b"\xef\xbb\xbf"


class SseEvent(NamedTuple):  # not a dataclass: made for every word of every stream, and a tuple is thrice as fast
    """One event: its name ("message" where none was sent) and its data, the lines joined by LF, still UTF-8."""

    data: bytes
    name: str = "message"


class SseParser:
    """Turns bytes, cut anywhere, into events. One parser per stream.

    >>> parser = SseParser()
    >>> parser.feed(b"data: a\\n\\nda"), parser.feed(b"ta:b"), parser.finish()
    ([SseEvent(data=b'a', name='message')], [], [SseEvent(data=b'b', name='message')])
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_event_bytes
        self._tail: list[bytes] = []  # pieces of the line that has not ended yet
        self._tail_bytes = 0
        self._ended_in_cr = False
        self._at_start = True
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._name = ""

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Return the events that this chunk completes. Raises EndpointResponseError when one grows too long."""
        if self._ended_in_cr and chunk:
            # subtle: a CR already ended its line; an LF right after it belongs to the same line end.
            chunk = chunk.removeprefix(b"\n")
            self._ended_in_cr = False
        if not chunk:
            return []
        lines = chunk.splitlines()  # of bytes: at LF, CR and CRLF only
        self._ended_in_cr = chunk.endswith(b"\r")
        unfinished = b"" if chunk.endswith((b"\n", b"\r")) else lines.pop()
        if lines and self._tail:
            lines[0] = b"".join((*self._tail, lines[0]))
            self._tail, self._tail_bytes = [], 0
        events: list[SseEvent] = []
        for line in lines:
            self._take(line, events)
        if unfinished:
            self._tail.append(unfinished)
            self._tail_bytes += len(unfinished)
            self._check_size()
        return events

    def finish(self) -> list[SseEvent]:
        """Return the event that the end of the stream leaves unterminated, if any."""
        events: list[SseEvent] = []
        if self._tail:
            self._take(b"".join(self._tail), events)
            self._tail = []
        self._take(b"", events)
        return events

    def _take(self, line: bytes, events: list[SseEvent]) -> None:
        if self._at_start:
            line = line.removeprefix(_BOM)
            self._at_start = False
        if line.startswith(b"data:"):
            data = line[6:] if line[5:6] == b" " else line[5:]
            self._data.append(data)
            self._data_bytes += len(data)
        elif not line:
            if self._data:
                data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                events.append(SseEvent(data, self._name or "message"))
                self._data, self._data_bytes = [], 0
            self._name = ""
        elif line.startswith(b"event:"):
            self._name = line[6:].decode("utf-8", "replace").removeprefix(" ")
        elif line.startswith(b"{"):
            self._data.append(line)
            self._data_bytes += len(line)
        elif line == b"data":
            self._data.append(b"")
        # else: a comment (":"), an id, a retry time or a field nobody knows: nothing for us
        if self._data_bytes > self._max:
            self._check_size()

    def _check_size(self) -> None:
        size = self._data_bytes + self._tail_bytes
        if size > self._max:
            raise EndpointResponseError(
                f"reading an event stream: one event is longer than {self._max} bytes; "
                "check that the base URL is that of a model endpoint"
            )
