"""The event parser: any cut of the bytes gives the same events."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import EndpointResponseError
from rag.gateway.sse import SseEvent, SseParser


def events_of(*chunks: bytes) -> list[SseEvent]:
    parser = SseParser()
    found = [event for chunk in chunks for event in parser.feed(chunk)]
    return found + parser.finish()


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"data: a\n\n", [b"a"]),
        (b"data:a\n\ndata:  b\n\n", [b"a", b" b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b": keep-alive\n\n:\ndata: a\n\n", [b"a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"id: 7\nretry: 10\nwhatever\ndata: a\n\n", [b"a"]),
        (b"data: cut off", [b"cut off"]),
        (b'{"error": "bare"}\n', [b'{"error": "bare"}']),
        (b"data\n\n", [b""]),
        (b"\n\n\nevent: lonely\n\n", []),
        (b"", []),
    ],
)
def test_what_providers_send_is_understood(stream, data):
    assert [event.data for event in events_of(stream)] == data


def test_the_name_belongs_to_one_event_only():
    first, second = events_of(b"event: error\ndata: 1\n\ndata: 2\n\n")
    assert (first.name, second.name) == ("error", "message")


line = st.sampled_from(
    ["data: 你好", "data:x", ": hi", "event: e", "", "", "id: 1", "data", '{"a": 1}', "data: \U0001f600"]
)
newline = st.sampled_from(["\n", "\r\n", "\r"])


@given(st.lists(st.tuples(line, newline), max_size=12), st.booleans(), st.lists(st.integers(0, 200), max_size=8))
def test_any_cut_of_the_bytes_gives_the_same_events(lines, bom, cuts):
    # subtle: a line end is one kind within a stream's CR + LF neighbours, or CR LF would arise from two lines.
    text = "".join(line + (ending if ending != "\r" else "\r\n") for line, ending in lines)
    stream = (b"\xef\xbb\xbf" if bom else b"") + text.encode()
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]
    assert events_of(*pieces) == events_of(stream) == events_of(*(bytes([byte]) for byte in stream))


@given(st.lists(line, max_size=12))
def test_the_kind_of_line_end_makes_no_difference(lines):
    kinds = [events_of("".join(line + ending for line in lines).encode()) for ending in ("\n", "\r\n", "\r")]
    assert kinds[0] == kinds[1] == kinds[2]


@pytest.mark.parametrize("chunk", [b"x" * 60, b"data: " + b"x" * 60, b"data: 12345678901234567890\n"], ids=len)
def test_an_endless_event_is_refused(chunk):
    parser = SseParser(max_event_bytes=100)
    with pytest.raises(EndpointResponseError, match="longer than 100 bytes"):
        [parser.feed(chunk) for _ in range(10)]
