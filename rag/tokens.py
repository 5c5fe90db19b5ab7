"""Tokenizers by name. The only importer of tiktoken, whose vocabularies ship with this package: nothing is downloaded.

A vocabulary file is what ``pack`` returns, under xz: the content of tiktoken's rank file in a quarter of its size and
without a hundred thousand lines to parse. ``scripts/build_vocabularies.py`` makes them and
``vocabularies/PROVENANCE.json`` says from what. Patterns and special tokens come from tiktoken's own constructors.
"""

from __future__ import annotations

import functools
import hashlib
import json
import lzma
import re
import types
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rag.contracts import Tokenizer
from rag.errors import ConfigError
from rag.seams import MAX_RUN, hard_cuts

if TYPE_CHECKING:
    import tiktoken

__all__ = [
    "BYTE_PAIR",
    "TOKENIZERS",
    "VOCABULARIES",
    "BytePairTokenizer",
    "pack",
    "pinned_source",
    "tokenizer",
    "unpack",
]

BYTE_PAIR = ("cl100k_base", "o200k_base")
"""OpenAI's vocabularies that ship with this package."""

TOKENIZERS = (*BYTE_PAIR, "minilm-wordpiece")
"""The names that ``tokenizer`` knows."""

VOCABULARIES = Path(__file__).parent / "vocabularies"

_SURROGATE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")

Ranks = dict[bytes, int]


@functools.cache
def tokenizer(name: str) -> Tokenizer:
    """Return the tokenizer of this name, made once per process. Raises ConfigError for an unknown name."""
    if name in BYTE_PAIR:
        return BytePairTokenizer(name)
    if name == "minilm-wordpiece":
        from rag.local.wordpiece import wordpiece  # late: only the embedded model needs it

        return wordpiece()
    raise ConfigError(f"there is no tokenizer {name!r}; set one of these: {', '.join(TOKENIZERS)}")


class BytePairTokenizer:
    """One of OpenAI's byte-level vocabularies. What looks like a special token is ordinary text.

    Very long runs are cut before they are encoded (see ``rag.seams.hard_cuts``). A lone surrogate counts as the
    replacement character.
    """

    def __init__(self, name: str, folder: Path = VOCABULARIES) -> None:
        """Load a vocabulary: 0.1 s (o200k: 0.2 s). Raises ConfigError where the file is missing or altered."""
        packed = _read_vocabulary(name, folder)
        self._name = name
        self._encoding = _encoding(name, unpack(packed))
        self._widths, self._inside = _token_tables(packed)

    @property
    def name(self) -> str:
        return self._name

    @property
    def encoding(self) -> tiktoken.Encoding:
        """tiktoken's own object, to compare with or to hand to another library."""
        return self._encoding

    def count(self, text: str) -> int:
        """Return the number of tokens."""
        if len(text) <= MAX_RUN:  # short texts are counted by the thousand
            return len(self._encoding.encode_ordinary(text))
        return sum(len(self._encoding.encode_ordinary(piece)) for piece in _pieces(text))

    def starts(self, text: str) -> NDArray[np.int64]:
        """Return n + 1 character offsets: where each token begins, then ``len(text)``; see the contract."""
        pieces = _pieces(text)
        if len(pieces) == 1:  # subtle: encoding smaller pieces, for the cache's sake, was measured to be slower
            return self._starts_of_piece(text)
        parts, begin = [], 0
        for piece in pieces:
            parts.append(self._starts_of_piece(piece)[:-1] + begin)
            begin += len(piece)
        return np.concatenate([*parts, np.array([begin])])

    def _starts_of_piece(self, text: str) -> NDArray[np.int64]:
        pairs: list[int] = []
        try:
            ids = self._encoding.encode_to_numpy(text, disallowed_special=())
        except UnicodeEncodeError:
            # As encode_ordinary, which ``count`` uses, reads them: a pair is one character, a lone one U+FFFD.
            pairs = [match.start() for match in _SURROGATE_PAIR.finditer(text)]
            readable = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            ids = self._encoding.encode_to_numpy(readable, disallowed_special=())
        starts = np.zeros(len(ids) + 1, dtype=np.int64)
        np.cumsum(self._widths.take(ids), dtype=np.int64, out=starts[1:])
        if not text.isascii():
            # A token that begins inside a character: that character was counted with the token before.
            starts[:-1] -= self._inside.take(ids)
        if pairs:
            joined = np.array(pairs) - np.arange(len(pairs))  # where the pairs are in the readable text
            starts += np.searchsorted(joined, starts)
        return starts


def pinned_source(name: str) -> tuple[str, str]:
    """Return the address from which tiktoken would download a rank file, and the SHA-256 it pins, in hex."""
    source: list[str] = []

    def note(url: str, expected_hash: str) -> Ranks:
        source.extend((url, expected_hash))
        return {}

    _constructor_arguments(name, note)
    return source[0], source[1]


def pack(tokens: list[bytes]) -> bytes:
    """Return the vocabulary file before compression: the number of tokens (4 bytes, little-endian), their lengths
    (one byte each), the tokens. ``[b"a", b"bc"]`` gives ``b"\\x02\\0\\0\\0\\x01\\x02abc"``.
    """
    if {len(token) for token in tokens} - set(range(1, 256)):
        raise ValueError("a token must have 1 to 255 bytes")
    return len(tokens).to_bytes(4, "little") + bytes(map(len, tokens)) + b"".join(tokens)


def unpack(packed: bytes) -> Ranks:
    """Return the tokens and their ranks: the inverse of ``pack``."""
    lengths, body = _split(packed)
    edges = [0, *np.cumsum(lengths, dtype=np.int64).tolist()]
    spans = map(slice, edges[:-1], edges[1:])
    return dict(zip(map(body.__getitem__, spans), range(len(lengths)), strict=True))


def _split(packed: bytes) -> tuple[NDArray[np.uint8], bytes]:
    n_tokens = int.from_bytes(packed[:4], "little")
    return np.frombuffer(packed, dtype=np.uint8, count=n_tokens, offset=4), packed[4 + n_tokens :]


def _token_tables(packed: bytes) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return, by rank, how many characters begin in a token, and whether it begins inside one."""
    lengths, body = _split(packed)
    continues = (np.frombuffer(body, dtype=np.uint8) & 0xC0) == 0x80  # UTF-8: 10xxxxxx is not a first byte
    firsts = np.cumsum(lengths, dtype=np.int64) - lengths
    widths = np.add.reduceat(~continues, firsts, dtype=np.uint8)  # subtle: small tables stay in the processor's cache
    return widths, continues[firsts]


def _pieces(text: str) -> list[str]:
    return [text[start:end] for start, end in pairwise([0, *hard_cuts(text), len(text)])]


def _read_vocabulary(name: str, folder: Path) -> bytes:
    path = folder / f"{name}.xz"
    try:
        expected = json.loads((folder / "PROVENANCE.json").read_text("utf-8"))["files"][path.name]["packed_sha256"]
        packed = lzma.decompress(path.read_bytes())
    except (OSError, ValueError, KeyError, lzma.LZMAError) as error:
        raise ConfigError(
            f"the vocabulary {name} cannot be read from {path}: {error}; install the package again"
        ) from error
    found = hashlib.sha256(packed).hexdigest()
    if found != expected:
        raise ConfigError(
            f"the vocabulary {path} was altered: its SHA-256 is {found[:12]}..., expected {expected[:12]}...; "
            "install the package again"
        )
    return packed


def _encoding(name: str, ranks: Ranks) -> tiktoken.Encoding:
    import tiktoken  # late: 20 ms that most commands do not need

    return tiktoken.Encoding(**_constructor_arguments(name, lambda url, expected_hash: ranks))


def _constructor_arguments(name: str, load: Callable[[str, str], Ranks]) -> dict[str, Any]:
    """Return what tiktoken passes to ``Encoding``: name, pattern, special tokens, and the ranks from ``load``.

    Its constructor functions download the ranks as they run. They are run here on a copy of their globals in which the
    loader is ours: nothing of tiktoken is changed, and no pattern has to be copied by hand.
    """
    from tiktoken_ext import openai_public  # type: ignore[import-untyped]  # late, as above

    constructor = openai_public.ENCODING_CONSTRUCTORS[name]
    names = {**constructor.__globals__, "load_tiktoken_bpe": load}
    arguments: dict[str, Any] = types.FunctionType(constructor.__code__, names)()
    return arguments
