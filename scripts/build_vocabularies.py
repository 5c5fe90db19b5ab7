"""Make rag/vocabularies from the rank files of tiktoken.

    python scripts/build_vocabularies.py SOURCE

SOURCE is a folder that holds the files under the names of tiktoken's cache (the SHA-1 of their address), for example
the folder named by TIKTOKEN_CACHE_DIR, or a wheel that carries them, such as that of llama-index-core 0.14.25. Each
file must have the SHA-256 that tiktoken pins.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import lzma
import sys
import zipfile
from pathlib import Path

from rag.tokens import BYTE_PAIR, VOCABULARIES, pack, pinned_source, unpack

LICENCE = "MIT, Copyright (c) 2022 OpenAI, Shantanu Jain"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    source: Path = parser.parse_args().source
    files = {}
    for name in BYTE_PAIR:
        url, expected = pinned_source(name)
        raw = read_cached(source, hashlib.sha1(url.encode()).hexdigest())
        if hashlib.sha256(raw).hexdigest() != expected:
            sys.exit(f"{name}: the rank file in {source} does not have tiktoken's pinned SHA-256 {expected}")
        files[f"{name}.xz"] = write_vocabulary(name, raw) | {"made_from": url, "made_from_sha256": expected}
    provenance = {
        "what": "Byte-pair ranks of OpenAI's tokenizers, repacked by scripts/build_vocabularies.py",
        "found_in": source.name,
        "licence": LICENCE,
        "files": files,
    }
    (VOCABULARIES / "PROVENANCE.json").write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")
    return 0


def read_cached(source: Path, file_name: str) -> bytes:
    """Return the bytes of the file of this name, in a folder or anywhere in a wheel."""
    if source.is_dir():
        return (source / file_name).read_bytes()
    with zipfile.ZipFile(source) as wheel:
        members = [member for member in wheel.namelist() if member.rpartition("/")[2] == file_name]
        if not members:
            sys.exit(f"{source} holds no file named {file_name}")
        return wheel.read(members[0])


def write_vocabulary(name: str, raw: bytes) -> dict[str, str | int]:
    """Repack one rank file (lines of base64 token and rank, ranks from 0) and return its entry in the provenance."""
    lines = [line.split() for line in raw.splitlines()]
    if [int(rank) for _, rank in lines] != list(range(len(lines))):
        sys.exit(f"{name}: the ranks are not 0, 1, 2, ...; the packed form cannot hold them")
    tokens = [base64.b64decode(token) for token, _ in lines]
    packed = pack(tokens)
    if list(unpack(packed)) != tokens:
        sys.exit(f"{name}: unpacking does not give back the tokens")
    compressed = lzma.compress(packed, preset=9 | lzma.PRESET_EXTREME)
    VOCABULARIES.mkdir(exist_ok=True)
    (VOCABULARIES / f"{name}.xz").write_bytes(compressed)
    return {"n_tokens": len(tokens), "packed_sha256": hashlib.sha256(packed).hexdigest()}


if __name__ == "__main__":
    sys.exit(main())
