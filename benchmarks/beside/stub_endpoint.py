"""An embeddings endpoint that answers at once, for measuring those who call it. Prints its port.

    python stub_endpoint.py [--dimensions 1536]

Replies are put together from ready-made rows. Texts get one of 64 vectors by their place in the request.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import socket
import struct

import orjson


class Rows:
    """The rows of a reply, as they stand in it."""

    def __init__(self, dimensions: int) -> None:
        rng = random.Random(7)
        vectors = [[rng.gauss(0, 1) for _ in range(dimensions)] for _ in range(64)]
        self._base64 = [base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode() for vector in vectors]
        self._floats = [json.dumps([round(value, 8) for value in vector]) for vector in vectors]

    def reply(self, body: bytes) -> bytes:
        asked = orjson.loads(body)
        texts = asked["input"]
        n = 1 if isinstance(texts, str) else len(texts)
        if asked.get("encoding_format") == "base64":
            rows = [f'"{self._base64[place % 64]}"' for place in range(n)]
        else:
            rows = [self._floats[place % 64] for place in range(n)]
        data = ",".join(f'{{"object":"embedding","index":{place},"embedding":{row}}}' for place, row in enumerate(rows))
        usage = f'"usage":{{"prompt_tokens":{n * 400},"total_tokens":{n * 400}}}'
        return f'{{"object":"list","data":[{data}],"model":"stub",{usage}}}'.encode()


async def serve(dimensions: int) -> None:
    rows = Rows(dimensions)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.lower().split(b"\r\n")
                length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
                reply = rows.reply(await reader.readexactly(length))
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(reply)
                )
                writer.write(reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has closed the connection
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=2**26)
    for listening in server.sockets:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimensions", type=int, default=1536)
    asyncio.run(serve(parser.parse_args().dimensions))
