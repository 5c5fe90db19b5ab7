"""A chat endpoint that sends tokens at a steady rate to thousands of connections, and two bare relays to it.

    .venv/bin/python -m benchmarks.stream_stub stub --tokens 300 --rate 50
    .venv/bin/python -m benchmarks.stream_stub relay --upstream http://127.0.0.1:9000/v1
    .venv/bin/python -m benchmarks.stream_stub sockets --upstream http://127.0.0.1:9000/v1

Each prints its address and serves until it is killed. What ``benchmarks.streams`` measures runs beside these.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import resource
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import httpx2
import uvicorn

from api.serving import listen

EVENT = (
    'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"stub",'
    '"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n'
)
LAST = (
    'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"stub",'
    '"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":9}}\n\n'
    "data: [DONE]\n\n"
)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
SENTENCE = ("The", " tower", " is", " 330", " metres", " high", " and", " stands", " in", " Paris", " [1]", ".", " ")


def tokens_of(n: int, *, cited: bool) -> list[str]:
    """Return the tokens of an answer: a sentence again and again, with a marker at its end or without one."""
    sentence = SENTENCE if cited else tuple(word for word in SENTENCE if word != " [1]")
    return [sentence[place % len(sentence)] for place in range(n)]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


# --- the endpoint


class Pace:
    """Writes to each connection what is due, from one loop: a timer for each token would cost more than the token."""

    def __init__(self, pieces: list[bytes], rate: float) -> None:
        self._pieces = pieces
        self._interval_s = 1 / rate
        self._due: list[tuple[float, int, Stub, int]] = []
        self._n = 0

    def add(self, stub: Stub) -> None:
        self._push(time.monotonic(), stub, 0)

    def _push(self, when: float, stub: Stub, place: int) -> None:
        self._n += 1
        heapq.heappush(self._due, (when, self._n, stub, place))

    async def run(self) -> None:
        while True:
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                when, _, stub, place = heapq.heappop(self._due)
                if stub.transport is None or stub.transport.is_closing():
                    continue
                stub.transport.write(self._pieces[place])
                if place + 1 < len(self._pieces):
                    self._push(when + self._interval_s, stub, place + 1)
            await asyncio.sleep(0.001)


class Stub(asyncio.Protocol):
    """One connection: any complete request is answered by the stream."""

    def __init__(self, pace: Pace) -> None:
        self.transport: asyncio.Transport | None = None
        self._pace = pace
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, found, body = self._got.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        if found and len(body) >= length:
            self._got = b""
            assert self.transport is not None
            self.transport.write(HEAD)
            self._pace.add(self)


async def serve_stub(tokens: list[str], rate: float) -> None:
    pieces = [chunk((EVENT % token).encode()) for token in tokens]
    pieces[-1] += chunk(LAST.encode()) + b"0\r\n\r\n"
    pace = Pace(pieces, rate)
    server = await asyncio.get_running_loop().create_server(lambda: Stub(pace), sock=listen("127.0.0.1", 0))
    announce(server.sockets[0].getsockname()[1])
    await pace.run()


# --- the relays


def relay(upstream: str) -> Any:
    """Return what most people write: the reply of one httpx2 client passed on. Twenty lines."""
    client = httpx2.AsyncClient(timeout=300, limits=httpx2.Limits(max_connections=None), trust_env=False)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        async with client.stream("POST", f"{upstream}/chat/completions", content=body) as reply:
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": reply.status_code, "headers": headers})
            async for data in reply.aiter_raw():
                await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


def sockets(upstream: str) -> Any:
    """Return a relay without an HTTP client: bytes from a socket. About the least that Python can do."""
    where = urlsplit(upstream)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await reader.readuntil(b"\r\n\r\n")
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while not (data := await reader.read(65536)).endswith(b"\r\n0\r\n\r\n"):
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": data, "more_body": False})
        writer.close()

    return app


def serve_relay(app: Any) -> None:
    listener = listen("127.0.0.1", 0)
    announce(listener.getsockname()[1])
    config = uvicorn.Config(app, loop="asyncio", ws="none", lifespan="off", log_level="critical", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


def announce(port: int) -> None:
    sys.stdout.write(f"http://127.0.0.1:{port}/v1\n")
    sys.stdout.flush()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("part", choices=("stub", "relay", "sockets"))
    options.add_argument("--upstream", default="")
    options.add_argument("--tokens", type=int, default=300)
    options.add_argument("--rate", type=float, default=50.0)
    options.add_argument("--cited", action="store_true")
    arguments = options.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if arguments.part == "stub":
        asyncio.run(serve_stub(tokens_of(arguments.tokens, cited=arguments.cited), arguments.rate))
    else:
        serve_relay({"relay": relay, "sockets": sockets}[arguments.part](arguments.upstream))


if __name__ == "__main__":
    main()
