"""How much of an endpoint's rate an ingest uses: 200 ms a request, 8 at once, 429 beyond, in a process of its own.

    python benchmarks/embedding_endpoint.py [--requests 800] [--inputs 4]

A folder is ingested whole (walked, read, cut, embedded, stored) without telling the ingest how much the endpoint bears;
it has to find out. The endpoint notes when its first request came and its last reply went. Beside it the same with one
request at a time, and eight bare connections that do nothing but send again what they have sent: what the endpoint
gives on this machine at this time, which on a busy one is less than it promises. The rate that it promises is 8 / 0.2 s
= 40 requests a second, full ones. Exits with 1 below 0.95 of what the bare connections got.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import math
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from api.footnote import Footnote

LATENCY_S = 0.2
CONCURRENCY = 8
DIMENSIONS = 384
TOKENS = 128
WORDS = ("water", "bridge", "paper", "engine", "winter", "letter", "garden", "market", "river", "window", "mountain")

# --- the endpoint ----------------------------------------------------------------------------------------------------


@dataclass
class Endpoint:
    """Counts; ``n_texts`` are those it gave vectors for."""

    n_served: int = 0
    n_refused: int = 0
    n_texts: int = 0
    first_at: float = math.inf
    last_at: float = 0.0
    busy: int = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after the other."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
                )
                body = await reader.readexactly(length)
                status, reply = self.stats() if head.startswith(b"GET /stats") else await self.answer(body)
                told = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(reply)}\r\n\r\n"
                writer.write(told.encode() + reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has closed the connection
        finally:
            writer.close()

    def stats(self) -> tuple[str, bytes]:
        """Return what was counted, and begin anew."""
        reply = json.dumps({name: getattr(self, name) for name in ("n_served", "n_refused", "n_texts")})
        seconds = max(0.0, self.last_at - self.first_at)
        self.__init__()  # type: ignore[misc]
        return "200 OK", (reply[:-1] + f', "seconds": {seconds}}}').encode()

    async def answer(self, body: bytes) -> tuple[str, bytes]:
        if self.busy >= CONCURRENCY:
            self.n_refused += 1
            return (
                "429 Too Many Requests",
                b'{"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}}',
            )
        self.first_at = min(self.first_at, time.monotonic())
        self.busy += 1
        await asyncio.sleep(LATENCY_S)
        self.busy -= 1
        n = len(json.loads(body)["input"])
        self.n_served += 1
        self.n_texts += n
        self.last_at = time.monotonic()
        rows = ",".join(f'{{"index":{place},"embedding":"{VECTOR}"}}' for place in range(n))
        return "200 OK", f'{{"data":[{rows}],"usage":{{"prompt_tokens":{n * TOKENS}}}}}'.encode()


VECTOR = base64.b64encode(np.full(DIMENSIONS, 1 / math.sqrt(DIMENSIONS), "<f4").tobytes()).decode()


async def serve() -> None:
    server = await asyncio.start_server(Endpoint().connected, "127.0.0.1", 0, limit=2**24)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def bare(port: int, n_requests: int, n_inputs: int) -> None:
    """Have ``n_requests`` answered over as many connections as the endpoint bears, with no work between two."""
    body = json.dumps({"input": ["word " * TOKENS] * n_inputs, "encoding_format": "base64"}).encode()
    request = b"POST /v1/embeddings HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    left = iter(range(n_requests))

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
        for _ in left:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.rpartition(b"content-length: ")[2]))
        writer.close()

    await asyncio.gather(*(one() for _ in range(CONCURRENCY)))


# --- the ingest ------------------------------------------------------------------------------------------------------


def write_documents(folder: Path, n_texts: int, salt: int) -> None:
    """Write files that make about ``n_texts`` chunks of up to 128 tokens, no two alike."""
    rng = np.random.default_rng(salt)
    for i in range(0, n_texts, 50):
        paragraphs = [" ".join([f"Paragraph {salt} {i + j}.", *rng.choice(WORDS, 110)]) + "." for j in range(50)]
        (folder / f"text{i:05}.txt").write_text("\n\n".join(paragraphs), encoding="utf-8")


async def ingest(port: int, n_texts: int, n_inputs: int, concurrency: int | None) -> float:
    """Ingest a new folder into a new library; return the seconds of the whole."""
    environ = {
        "RAG_EMBEDDINGS_BASE_URL": f"http://127.0.0.1:{port}/v1",
        "RAG_EMBEDDINGS_MODEL": "stub",
        "RAG_EMBEDDINGS_MAX_INPUTS": str(n_inputs),
        "RAG_CHUNKING_TOKENS": str(TOKENS),
        "RAG_CHUNKING_OVERLAP": "0",
    }
    if concurrency is not None:
        environ["RAG_EMBEDDINGS_CONCURRENCY"] = str(concurrency)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "docs"
        folder.mkdir()
        write_documents(folder, n_texts, salt=n_texts)
        async with Footnote.open(Path(place) / "library", environ=environ) as footnote:
            await footnote.wiring.new_config()  # asks how long the vectors are
            stats(port)
            start = time.perf_counter()
            (report,) = await footnote.ingest(folder)
            assert report.exit_code == 0, report
            return time.perf_counter() - start


def stats(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats") as reply:
        found: dict[str, float] = json.loads(reply.read())
    return found


def share_of(port: int, name: str, n_inputs: int, whole_s: float) -> float:
    """Print and return the share of the promised rate that was reached since the endpoint was last asked."""
    found = stats(port)
    fewest_s = found["n_texts"] / n_inputs * LATENCY_S / CONCURRENCY
    share = fewest_s / found["seconds"]
    print(
        f"{name:22} {found['n_texts']:6.0f} texts, {found['n_served']:4.0f} requests, {found['n_refused']:.0f} refused,"
        f" {found['seconds']:6.1f} s (the whole {whole_s:6.1f} s): {share:5.1%} of the rate",
        flush=True,
    )
    return share


def measure(port: int, name: str, n_texts: int, n_inputs: int, concurrency: int | None) -> float:
    """Ingest; print and return the share of the promised rate."""
    whole_s = asyncio.run(ingest(port, n_texts, n_inputs, concurrency))
    return share_of(port, name, n_inputs, whole_s)


def measure_bare(port: int, n_requests: int, n_inputs: int) -> float:
    stats(port)
    start = time.perf_counter()
    asyncio.run(bare(port, n_requests, n_inputs))
    return share_of(port, "bare connections", n_inputs, time.perf_counter() - start)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=800, help="how many full requests the folder makes, about")
    parser.add_argument("--inputs", type=int, default=4, help="texts a request; more ask more of this machine")
    parser.add_argument("--serve", action="store_true", help="be the endpoint")
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve())
    n_texts, n_inputs = arguments.requests * arguments.inputs, arguments.inputs
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        alone = measure(port, "one at a time", n_texts // 16, n_inputs, 1)
        before = measure_bare(port, arguments.requests // 2, n_inputs)
        share = measure(port, "finding its own pace", n_texts, n_inputs, None)
        after = measure_bare(port, arguments.requests // 2, n_inputs)
    finally:
        server.kill()
        server.wait()
    of_bare = share / ((before + after) / 2)
    print(
        f"{share / alone:.1f} times as fast as one request at a time; {share:.1%} of the rate that is promised,"
        f" {of_bare:.1%} of what bare connections got"
    )
    return 0 if of_bare >= 0.95 else 1


if __name__ == "__main__":
    raise SystemExit(main())
