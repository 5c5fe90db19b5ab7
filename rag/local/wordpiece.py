"""The tokenizer of the embedded model. The only importer of tokenizers."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Encoding

__all__ = ["MINILM", "TokenIds", "WordPieceTokenizer", "wordpiece"]

MINILM = Path(__file__).parent / "data" / "minilm"
"""The folder of the embedded model and its tokenizer."""

_PIECE_CHARS = 4096
_SPACE = re.compile(r"\s")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class TokenIds:
    """A text as the model gets it: ``ids`` int64 (n,), without [CLS] and [SEP].

    ``n_words`` is how many of the tokens are made of letters, or unknown; ``n_foreign`` how many of those are unknown
    or of another script than Latin.
    """

    ids: NDArray[np.int64]
    n_words: int
    n_foreign: int


@functools.cache
def wordpiece(folder: Path = MINILM) -> WordPieceTokenizer:
    """Return the tokenizer of a model's folder, loaded once per process."""
    return WordPieceTokenizer(folder)


class WordPieceTokenizer:
    """WordPiece over BERT's uncased English vocabulary of 30,522 tokens; offsets are those of the original text.

    A word it cannot spell is one [UNK] to the model, however long, but counts one token per character here. Otherwise
    a page of Thai or base64 would count as a few tokens, and a cut inside it could cost more than the whole.
    What looks like a special token is ordinary text. A lone surrogate counts as the replacement character.
    """

    def __init__(self, folder: Path = MINILM) -> None:
        """Load the vocabulary: about 60 ms."""
        from tokenizers import Tokenizer  # late: 20 ms that most commands do not need

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()  # the file cuts and pads at 128
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # the library's name for: do not look for them in the text
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=False)
        self._unknown = vocabulary["[UNK]"]
        self._first, self._last = vocabulary["[CLS]"], vocabulary["[SEP]"]
        self._is_word, self._is_foreign = _word_tables(vocabulary)

    @property
    def name(self) -> str:
        return "minilm-wordpiece"

    @property
    def special_ids(self) -> tuple[int, int]:
        """The ids that open and close every text the model gets: [CLS] and [SEP]."""
        return self._first, self._last

    def count(self, text: str) -> int:
        """Return the number of tokens, without [CLS] and [SEP]."""
        return len(self.starts(text)) - 1

    def starts(self, text: str) -> NDArray[np.int64]:
        """Return n + 1 character offsets: where each token begins, then ``len(text)``; see the contract."""
        cuts = _cuts(text)
        pieces = [text[start:end] for start, end in itertools.pairwise(cuts)]
        starts = [
            self._starts_of_piece(encoding) + start
            for start, encoding in zip(cuts, self._encode(pieces), strict=False)  # cuts also holds the end
        ]
        return np.concatenate([*starts, np.array([len(text)], dtype=np.int64)])

    def encode(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return what the model gets of each text, uncut."""
        return [self._token_ids(encoding) for encoding in self._encode(texts)]

    def _encode(self, texts: Sequence[str]) -> list[Encoding]:
        clean = [_SURROGATE.sub("\ufffd", text) for text in texts]
        return self._tokenizer.encode_batch(clean, add_special_tokens=False)

    def _starts_of_piece(self, encoding: Encoding) -> NDArray[np.int64]:
        spans = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        unknown = np.array(encoding.ids, dtype=np.int64) == self._unknown
        lengths = np.where(unknown, np.maximum(spans[:, 1] - spans[:, 0], 1), 1)
        if not unknown.any():
            return spans[:, 0]
        firsts = np.cumsum(lengths) - lengths
        return np.repeat(spans[:, 0] - firsts, lengths) + np.arange(lengths.sum())

    def _token_ids(self, encoding: Encoding) -> TokenIds:
        ids = np.array(encoding.ids, dtype=np.int64)
        return TokenIds(ids, int(self._is_word[ids].sum()), int(self._is_foreign[ids].sum()))


def _cuts(text: str) -> list[int]:
    """Return offsets from 0 to ``len(text)``, at white space, about every 4096 characters.

    Words are spelled one by one, so cutting there changes no token. One long text takes three times as long as its
    pieces together.
    """
    cuts = [0]
    while cuts[-1] < len(text):
        space = _SPACE.search(text, cuts[-1] + _PIECE_CHARS)
        cuts.append(space.start() if space else len(text))
    return cuts


def _word_tables(vocabulary: dict[str, int]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return, by token id, whether it counts as a word, and whether as a foreign one; [UNK] is both."""
    is_word, is_foreign = (np.zeros(len(vocabulary), dtype=np.bool_) for _ in range(2))
    for token, place in vocabulary.items():
        if token.isascii():  # nine in ten; looking up the names of their letters would take most of the loading
            is_word[place] = any(map(str.isalpha, token))
            continue
        letters = [character for character in token.removeprefix("##") if character.isalpha()]
        is_word[place] = bool(letters)
        is_foreign[place] = any(not unicodedata.name(character, "").startswith("LATIN") for character in letters)
    is_foreign[vocabulary["[UNK]"]] = True
    return is_word, is_foreign
