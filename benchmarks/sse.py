"""Measures event streams: the parser beside a naive one, and the pools of the transport beside a single pool.

    .venv/bin/python -m benchmarks.sse [--streams 200]

Compare figures of one run only. CPU is that of this process; the stub endpoint runs in another.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import orjson

from rag.gateway.endpoint import Endpoint, EndpointClient
from rag.gateway.http import HttpxTransport
from rag.gateway.providers import GENERIC
from rag.gateway.sse import SseParser

EVENT = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}\n\n'
)


def footnote(chunks: list[bytes]) -> int:
    """Parse with our parser; return the number of events."""
    parser = SseParser()
    return sum(len(parser.feed(chunk)) for chunk in chunks) + len(parser.finish())


def naive(chunks: list[bytes]) -> int:
    """Parse as most examples do: decode, collect lines in a string, look for "data: "."""
    n_events, buffer = 0, ""
    for chunk in chunks:
        buffer += chunk.decode()
        while "\n" in buffer:
            line, buffer = buffer.split("\n", 1)
            if line.startswith("data: "):
                n_events += bool(line[6:])
    return n_events


def cut(data: bytes, size: int) -> list[bytes]:
    """Return the bytes in pieces of ``size``."""
    return [data[start : start + size] for start in range(0, len(data), size)]


def best_of(n: int, run: Callable[[], int]) -> float:
    """Return the least CPU seconds of n runs."""

    def seconds() -> Iterator[float]:
        for _ in range(n):
            began = time.process_time()
            run()
            yield time.process_time() - began

    return min(seconds())


def parsers(n_events: int) -> None:
    """Print events per CPU second of both parsers, and of decoding the JSON alone, by size of the pieces."""
    data = EVENT * n_events
    decoding = best_of(3, lambda: sum(1 for _ in range(n_events) if orjson.loads(EVENT[6:])))
    sys.stdout.write(f"decoding the JSON alone: {n_events / decoding:,.0f} events/s\n")
    for size in (len(EVENT), 1_000, 65_536):
        chunks = cut(data, size)
        ours, theirs = best_of(3, lambda: footnote(chunks)), best_of(3, lambda: naive(chunks))  # noqa: B023
        figures = f"footnote {n_events / ours:>10,.0f} events/s   naive {n_events / theirs:>10,.0f} events/s"
        sys.stdout.write(f"pieces of {size:>6} bytes: {figures}\n")


async def streams(base_url: str, *, n_streams: int, n_pools: int) -> tuple[float, float]:
    """Run ``n_streams`` chat streams at once; return CPU milliseconds a stream and wall seconds."""
    transport = HttpxTransport(n_pools=n_pools, pool_connections=-(-n_streams // n_pools))
    client = EndpointClient(Endpoint(GENERIC, base_url, timeout_s=300), transport)
    payload = {"model": "m", "messages": [{"role": "user", "content": "[1] " + "word " * 100}], "stream": True}

    async def one() -> int:
        return sum([1 async for _ in client.stream_events("/chat/completions", payload)])

    await one()
    began, began_cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one() for _ in range(n_streams)))
    cpu_ms, wall_s = (time.process_time() - began_cpu) * 1000 / n_streams, time.perf_counter() - began
    await transport.aclose()
    return cpu_ms, wall_s


def pools(n_streams: int) -> None:
    """Print what many streams at once cost with one pool and with several."""
    command = [sys.executable, "-m", "tests.upstream", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stub:
        assert stub.stdout is not None
        base_url = stub.stdout.readline().strip()
        for n_pools in (1, 4, 16, 64):
            cpu_ms, wall_s = asyncio.run(streams(base_url, n_streams=n_streams, n_pools=n_pools))
            sys.stdout.write(
                f"{n_streams} streams, {n_pools:>2} pools: {cpu_ms:6.2f} CPU ms a stream, {wall_s:5.2f} s\n"
            )
        stub.kill()


def main() -> None:
    """Run both measurements."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=100_000)
    options.add_argument("--streams", type=int, default=200)
    arguments = options.parse_args()
    parsers(arguments.events)
    pools(arguments.streams)


if __name__ == "__main__":
    main()
