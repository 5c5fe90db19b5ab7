"""What a folder costs at the least: read, encode, slice, embed, FAISS add, save. Nothing is kept but vectors and texts.

    python floor.py FOLDER BASE_URL OUT

No state, no errors, no second run, no keywords, no citation: what somebody writes in an hour.
"""

import asyncio
import base64
import json
import pickle
import sys
from pathlib import Path

import faiss
import httpx2
import numpy as np
import tiktoken

TOKENS, INPUTS, REQUEST_TOKENS, IN_FLIGHT = 512, 2048, 300_000, 4


def batches(folder: Path, tokenizer: tiktoken.Encoding):
    batch, n_tokens = [], 0
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        tokens = tokenizer.encode(path.read_text(encoding="utf-8"), disallowed_special=())
        for first in range(0, len(tokens), TOKENS):
            piece = tokens[first : first + TOKENS]
            if len(batch) == INPUTS or n_tokens + len(piece) > REQUEST_TOKENS:
                yield batch
                batch, n_tokens = [], 0
            batch.append((str(path), tokenizer.decode(piece)))
            n_tokens += len(piece)
    yield batch


async def main(folder: str, base_url: str, out: str) -> None:
    tokenizer = tiktoken.get_encoding("cl100k_base")
    index, texts, free = faiss.IndexFlatIP(1536), [], asyncio.Semaphore(IN_FLIGHT)

    async def embed(client: httpx2.AsyncClient, batch: list) -> None:
        body = {"model": "text-embedding-3-small", "input": [text for _, text in batch], "encoding_format": "base64"}
        reply = (await client.post(f"{base_url}/embeddings", json=body)).json()
        rows = sorted(reply["data"], key=lambda row: row["index"])
        vectors = np.stack([np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in rows])
        index.add(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        texts.extend(batch)
        free.release()

    async with httpx2.AsyncClient(timeout=60) as client, asyncio.TaskGroup() as group:
        for batch in batches(Path(folder), tokenizer):
            await free.acquire()
            group.create_task(embed(client, batch))
            await asyncio.sleep(0)
    faiss.write_index(index, f"{out}/floor.faiss")
    with open(f"{out}/floor.pickle", "wb") as file:
        pickle.dump(texts, file)
    print(json.dumps({"n_chunks": index.ntotal}))


asyncio.run(main(*sys.argv[1:]))
