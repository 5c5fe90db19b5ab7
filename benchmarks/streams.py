"""Measures many streams at once: Footnote beside a bare relay of twenty lines, over an endpoint of steady pace.

    .venv/bin/python -m benchmarks.streams [--streams 1000] [--tokens 300] [--rate 50] [--cited] [--only footnote]

Every stream must be complete to the letter. Time to first token is that of the client; "added" is against asking the
endpoint itself. CPU is that of the process measured, a token's share counted from when all streams have begun, so that
finding the sources is not in it; memory is its growth by the time all have begun. Compare figures of one run only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from api.footnote import Footnote
from benchmarks.stream_stub import tokens_of

TICKS = os.sysconf("SC_CLK_TCK")
DOCUMENT = "# The tower\n\nThe tower is 330 metres high and stands in Paris. It was built in 1889.\n"
ASK = {"question": "How high is the tower?", "stream": True}


@dataclass
class Stream(asyncio.Protocol):
    """One client: sends its request, keeps all that comes, and when the first token came."""

    request: bytes
    sign: bytes
    began: float = 0.0
    first: float = 0.0
    at_start: int = 0
    got: bytearray = field(default_factory=bytearray)
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.began = time.perf_counter()
        transport.write(self.request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.got += data
        if not self.first and self.sign in self.got:
            self.first = time.perf_counter()
        if data.endswith(b"0\r\n\r\n"):
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def body_of(got: bytes) -> bytes:
    """Return the body of a chunked reply, as far as it came."""
    head, _, rest = got.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        return b""
    body = bytearray()
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size or b"0", 16)
        body += rest[:length]
        rest = rest[length + 2 :]
    return bytes(body)


def text_of(body: bytes) -> str:
    """Return the text of a stream of chat completions (or of several, where a relay passed frames on) or of answers."""
    found = re.findall(rb'"content":("(?:[^"\\]|\\.)*")|"type":"delta","text":("(?:[^"\\]|\\.)*")', body)
    return "".join(json.loads(one or other) for one, other in found)


@dataclass(frozen=True)
class Process:
    """CPU seconds and resident bytes of a process."""

    pid: int

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rss(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def run(url: str, path: str, body: bytes, sign: bytes, process: Process, options: argparse.Namespace) -> str:
    """Run all streams; return a line of figures."""
    host, port = url.removeprefix("http://").split("/")[0].split(":")
    request = (
        f"POST {path} HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    ).encode() + body
    loop = asyncio.get_running_loop()
    warm = Stream(request, sign)
    await loop.create_connection(lambda: warm, host, int(port))
    await warm.done
    rss, cpu, began = process.rss(), process.cpu_s(), time.perf_counter()
    streams = []
    for number in range(options.streams):
        stream = Stream(request, sign)
        streams.append(stream)
        await loop.create_connection(lambda stream=stream: stream, host, int(port))  # type: ignore[misc]
        await asyncio.sleep(max(0.0, began + (number + 1) * options.ramp / options.streams - time.perf_counter()))
    while not all(stream.first or stream.done.done() for stream in streams):
        await asyncio.sleep(0.01)
    begun_cpu, begun_rss = process.cpu_s(), process.rss()
    for stream in streams:
        stream.at_start = len(stream.got)
    await asyncio.gather(*(stream.done for stream in streams))
    took, end_cpu = time.perf_counter() - began, process.cpu_s()
    wanted = "".join(tokens_of(options.tokens, cited=options.cited))
    texts = [text_of(body_of(bytes(stream.got))) for stream in streams]
    errors = sum(text != wanted for text in texts)
    n_before = sum(len(text_of(bytes(stream.got[: stream.at_start]))) for stream in streams)
    n_after = (sum(map(len, texts)) - n_before) * options.tokens / len(wanted)
    firsts = sorted(stream.first - stream.began for stream in streams)
    n_events = sum(stream.got.count(b"data: ") for stream in streams)
    figures = (
        f"errors {errors}",
        f"first token p50 {statistics.median(firsts) * 1000:.1f} ms",
        f"p99 {firsts[int(len(firsts) * 0.99)] * 1000:.1f} ms",
        f"CPU a token {(end_cpu - begun_cpu) / max(n_after, 1) * 1e6:.1f} us",
        f"an answer {(end_cpu - cpu) / len(streams) * 1000:.1f} ms",
        f"memory a stream {(begun_rss - rss) / len(streams) / 1024:.1f} KB",
        f"events a stream {n_events / len(streams):.0f}",
        f"{took:.1f} s",
    )
    return "   ".join(figures)


def started(stack: ExitStack, *words: str, environ: dict[str, str] | None = None) -> tuple[str, Process]:
    """Start a process that says where it listens; return its address and the process."""
    child = stack.enter_context(
        subprocess.Popen(
            [sys.executable, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(environ or {})},
        )
    )
    stack.callback(child.kill)
    assert child.stdout is not None
    for line in child.stdout:
        if found := re.search(r"http://[\d.:]+\S*", line):
            return found[0].rstrip(")"), Process(child.pid)
    raise RuntimeError(f"{words} did not start")


async def ingest(folder: Path) -> None:
    (folder / "docs").mkdir()
    (folder / "docs" / "tower.md").write_text(DOCUMENT, encoding="utf-8")
    async with Footnote.open(folder / "library", environ={}) as footnote:
        await footnote.ingest(folder / "docs")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--streams", type=int, default=1000)
    options.add_argument("--tokens", type=int, default=300)
    options.add_argument("--rate", type=float, default=50.0)
    options.add_argument("--ramp", type=float, default=4.0, help="seconds over which the streams begin")
    options.add_argument("--cited", action="store_true", help="every sentence bears a marker")
    options.add_argument("--only", choices=("endpoint", "sockets", "relay", "footnote"))
    arguments = options.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    chat = json.dumps({"model": "stub", "stream": True, "messages": [{"role": "user", "content": "word " * 100}]})
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        asyncio.run(ingest(folder))
        words = ["stub", "--tokens", str(arguments.tokens), "--rate", str(arguments.rate)]
        words += ["--cited"] * arguments.cited
        base, stub = started(stack, "-m", "benchmarks.stream_stub", *words)
        environ = {
            "RAG_CHAT_BASE_URL": base,
            "RAG_CHAT_MODEL": "stub",
            "RAG_EMBEDDINGS_PROVIDER": "local",
            "RAG_SERVER_PORT": "0",
        }
        for kind in ("endpoint", "sockets", "relay", "footnote"):
            if arguments.only not in (None, kind):
                continue
            path, body, sign = "/v1/chat/completions", chat.encode(), b'"content":"'
            with ExitStack() as own:
                url, process = base, stub
                if kind == "footnote":
                    path, body, sign = "/ask", json.dumps(ASK).encode(), b"event: delta"
                    command = ("-m", "api.cli.main", "serve", "--library", str(folder / "library"))
                    url, process = started(own, *command, environ=environ)
                elif kind != "endpoint":
                    url, process = started(own, "-m", "benchmarks.stream_stub", kind, "--upstream", base)
                line = asyncio.run(run(url, path, body, sign, process, arguments))
                sys.stdout.write(f"{kind:<9} {line}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
