"""BM25 over terms with tantivy: its only importer. Persistent, incremental, and fast however common the words are.

Each chunk is a tantivy document: its row, and its terms. One more, the marker, holds the position in the collection's
history; it is written in the same commit as what it speaks of. k1 and b are tantivy's own (1.2 and 0.75).

Traps: deleting by the integer row deletes nothing, in silence, so a raw text field carries it again; ``limit=0`` is a
panic, which is no ``Exception``; tantivy checks its checksums only when told to, so they are checked here.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tantivy

from index.exact import RowArray
from index.filtering import AllowedRows
from index.records import Position
from index.snapshot import DamagedIndexError
from index.terms import IndexedTerms, characters, terms

__all__ = ["KeywordIndex", "telling"]

_FORMAT = 2  # raised whenever what is indexed of a text changes
_HEAP_BYTES = 64_000_000
_MARKER = "marker"
_FOOTER = struct.Struct("<II")  # bytes of tantivy's footer, its magic
_NAMED_ROWS = 2000  # rows that a query names; of more, hits are looked at until enough are allowed
_CHARACTER_WEIGHT = 0.4
"""Of a character of a run written without spaces, beside the pairs it is in, which weigh 1.

Pairs alone miss words of one character, and words that are shortened or written otherwise.
"""
_TELLING_FROM = 100_000  # chunks: from so many on, the commonest terms of a query have no say
_COMMON = 0.4  # share of the chunks that hold such a term


class KeywordIndex:
    """A tantivy index with its place in history. Searches may run in several threads; ``update`` in one process."""

    def __init__(self, index: tantivy.Index) -> None:
        self._index = index
        self._schema = index.schema
        index.register_tokenizer("terms", tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build())
        index.config_reader("Manual", 0)  # no thread that watches the folder: `reload` is called when needed
        self.position: Position | None = None
        self.reload()

    @classmethod
    def create(cls, folder: Path | None) -> KeywordIndex:
        """Make an empty index in a folder, or in memory."""
        with _translated():
            if folder is None:
                return cls(tantivy.Index(_schema()))
            folder.mkdir(parents=True)
            return cls(tantivy.Index(_schema(), path=str(folder), reuse=False))

    @classmethod
    def open(cls, folder: Path) -> KeywordIndex:
        """Open an index after checking every byte of it. Raises FileNotFoundError or DamagedIndexError."""
        if not (folder / "meta.json").exists():
            raise FileNotFoundError(folder / "meta.json")
        _verify(folder)
        with _translated():
            return cls(tantivy.Index.open(str(folder)))

    def __len__(self) -> int:
        return max(int(self._searcher.num_docs) - 1, 0)

    def reload(self) -> None:
        """See the last commit, of whichever process. Raises DamagedIndexError."""
        with _translated():
            self._index.reload()
            searcher = self._index.searcher()
            marker = tantivy.Query.term_query(self._schema, "id", _MARKER, "basic")
            found = searcher.search(marker, 1, count=False).hits
            said = searcher.doc(found[0][1]).to_dict()["note"][0] if found else None
        position = None
        if said is not None:
            note = json.loads(said)
            if note["format"] == _FORMAT:
                position = Position(note["seq"], note["mark"])
        # subtle: in this order, so that a search in another thread never sees less than the position promises.
        self._searcher = searcher
        self.position = position

    def search(
        self, query: str, *, k: int, allowed: AllowedRows | None = None, required: Sequence[str] = ()
    ) -> list[tuple[int, float]]:
        """Return at most ``k`` (row, BM25) with any of the query's terms, best first, ties by row.

        Of the ``allowed`` rows, where not all are, and of those with all ``required`` terms; a score is the same as
        without.

        The query is plain text: nothing in it is an operator. One without terms finds nothing.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        searcher = self._searcher
        with _translated():
            wanted = self._query(searcher, query)
            if wanted is None or (allowed is not None and not len(allowed)):
                return []
            if required:
                musts = [tantivy.Query.const_score_query(self._term(term), 0.0) for term in required]
                wanted = tantivy.Query.boolean_query([(tantivy.Occur.Must, one) for one in (wanted, *musts)])
            scored = self._scored(searcher, wanted, k) if allowed is None else self._among(searcher, wanted, k, allowed)
        return sorted(scored, key=lambda hit: (-hit[1], hit[0]))[:k]

    def _scored(self, searcher: tantivy.Searcher, wanted: tantivy.Query, k: int) -> list[tuple[int, float]]:
        hits = searcher.search(wanted, k, count=False).hits
        rows = searcher.fast_field_values("row", [address for _, address in hits])
        return [(int(row or 0), float(score)) for row, (score, _) in zip(rows, hits, strict=True)]

    def _among(
        self, searcher: tantivy.Searcher, wanted: tantivy.Query, k: int, allowed: AllowedRows
    ) -> list[tuple[int, float]]:
        """Return the best allowed rows, at least ``k`` where there are so many.

        A few rows are named in the query. Of many, the best hits are taken, and more of them until enough are allowed
        or there are no more: that is exact, whatever the rows have to do with the query.
        """
        if len(allowed) <= _NAMED_ROWS:
            names = tantivy.Query.term_set_query(self._schema, "id", [str(row) for row in allowed.rows])
            named = tantivy.Query.const_score_query(names, 0.0)
            return self._scored(
                searcher,
                tantivy.Query.boolean_query([(tantivy.Occur.Must, wanted), (tantivy.Occur.Must, named)]),
                k,
            )
        n = min(len(self), 2 * k * len(self) // len(allowed) + k)
        while True:
            scored = self._scored(searcher, wanted, max(n, 1))
            fits = allowed.holds(np.array([row for row, _ in scored], np.int64))
            if np.count_nonzero(fits) >= k or len(scored) < n or n >= len(self):
                return [hit for hit, fit in zip(scored, fits, strict=True) if fit]
            n = min(len(self), n * 8)

    def rows(self) -> RowArray:
        """Return the rows it holds, ascending."""
        searcher = self._searcher
        with _translated():
            hits = searcher.search(tantivy.Query.all_query(), max(int(searcher.num_docs), 1), count=False).hits
            rows = searcher.fast_field_values("row", [address for _, address in hits])
        return np.sort(np.array([row for row in rows if row is not None and row >= 0], np.int64))

    def update(self, *, remove: Sequence[int], add: Iterable[tuple[int, str]], position: Position) -> None:
        """Remove rows and add (row, text), and move to ``position``, in one commit.

        The caller holds the lock that keeps other processes from doing so too.
        """
        with _translated():
            writer = self._index.writer(_HEAP_BYTES, 1)
            for first in range(0, len(remove), 10_000):
                some = [str(row) for row in remove[first : first + 10_000]]
                writer.delete_documents_by_query(tantivy.Query.term_set_query(self._schema, "id", some))
            writer.delete_documents_by_query(tantivy.Query.term_query(self._schema, "id", _MARKER, "basic"))
        indexed = IndexedTerms()
        for row, text in add:
            with _translated():
                writer.add_document(_document(str(row), row, indexed(text)))
        note = {"format": _FORMAT, "seq": position.seq, "mark": position.mark}
        with _translated():
            writer.add_document(_document(_MARKER, -1, "", note=json.dumps(note)))
            writer.commit()
            writer.wait_merging_threads()
        self.reload()

    def worths(self, query: str) -> dict[str, float]:
        """Return what each term of a query is worth: its weight there times its rarity here, as in BM25."""
        searcher, n = self._searcher, len(self)
        weights = _weights(query)
        with _translated():
            held = {term: searcher.doc_freq("text", term) for term in weights}
        return {
            term: weight * math.log(1 + (max(n - held[term], 0) + 0.5) / (held[term] + 0.5))
            for term, weight in weights.items()
        }

    def _query(self, searcher: tantivy.Searcher, text: str) -> tantivy.Query | None:
        weights = _weights(text)
        n_chunks = int(searcher.num_docs)
        if n_chunks >= _TELLING_FROM:
            found_in = {term: int(searcher.doc_freq("text", term)) for term in weights}
            weights = {term: weights[term] for term in telling(found_in, n_chunks=n_chunks)}
        clauses = [
            self._term(term) if weight == 1 else tantivy.Query.boost_query(self._term(term), weight)
            for term, weight in weights.items()
        ]
        if not clauses:
            return None
        return tantivy.Query.boolean_query([(tantivy.Occur.Should, clause) for clause in clauses])

    def _term(self, term: str) -> tantivy.Query:
        return tantivy.Query.term_query(self._schema, "text", term, "freq")


def _weights(query: str) -> dict[str, float]:
    """Return how much each term of a query counts."""
    weights = {term: float(n) for term, n in Counter(terms(query)).items()}
    for character, n in Counter(characters(query)).items():
        weights[character] = weights.get(character, 0.0) + n * _CHARACTER_WEIGHT
    return weights


def telling(found_in: Mapping[str, int], *, n_chunks: int) -> list[str]:
    """Return the terms of a query that tell chunks apart, given how many chunks hold each; in their order.

    Those that more than ``_COMMON`` of the chunks hold are left out where two others are held by any: skipping has
    nothing to go by where nearly every chunk has half of the terms, and they cost two thirds of a search in a million
    chunks. Of eight question sets (``benchmarks/common_words.py``) none loses .003 nDCG@10 by it and the mean gains as
    much; leaving out what a tenth of the chunks hold costs one of them two points.

    >>> telling({"the": 90, "who": 50, "sepsi": 1, "zzz": 0}, n_chunks=100)
    ['the', 'who', 'sepsi', 'zzz']
    >>> telling({"the": 90, "mortal": 7, "sepsi": 1}, n_chunks=100)
    ['mortal', 'sepsi']
    """
    kept = [term for term, n in found_in.items() if n <= _COMMON * n_chunks]
    return kept if sum(found_in[term] > 0 for term in kept) > 1 else list(found_in)


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("id", tokenizer_name="raw", index_option="basic")
    builder.add_integer_field("row", fast=True)
    builder.add_text_field("text", tokenizer_name="terms", index_option="freq")
    builder.add_text_field("note", stored=True, tokenizer_name="raw", index_option="basic")
    return builder.build()


def _document(identity: str, row: int, text: str, *, note: str | None = None) -> tantivy.Document:
    document = tantivy.Document()
    document.add_text("id", identity)
    document.add_integer("row", row)
    if text:
        document.add_text("text", text)
    if note is not None:
        document.add_text("note", note)
    return document


def _verify(folder: Path) -> None:
    """Compare every file of the live segments with the CRC-32 in its footer. Raises DamagedIndexError."""
    try:
        meta = json.loads((folder / "meta.json").read_bytes())
        segments = {segment["segment_id"].replace("-", ""): segment for segment in meta["segments"]}
        present = {name: Path(folder, name) for name in os.listdir(folder)}
        for identity, segment in segments.items():
            deletes = segment.get("deletes")
            if deletes and f"{identity}.{deletes['opstamp']}.del" not in present:
                raise DamagedIndexError(f"{folder} lacks the deletes of segment {identity}")
        for name, path in present.items():
            if name.split(".", 1)[0] in segments:
                _verify_file(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise DamagedIndexError(f"{folder} cannot be read: {error}") from error


def _verify_file(path: Path) -> None:
    data = path.read_bytes()
    length, _ = _FOOTER.unpack_from(data, len(data) - _FOOTER.size)
    end = len(data) - _FOOTER.size - length
    footer = json.loads(data[max(end, 0) : end + length])
    if end < 0 or zlib.crc32(memoryview(data)[:end]) != footer["crc"]:
        raise DamagedIndexError(f"{path} is not as it was written")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        # subtle: a panic in Rust arrives as pyo3's PanicException, a BaseException that cannot be imported.
        if isinstance(error, ValueError | OSError) or type(error).__name__ == "PanicException":
            raise DamagedIndexError(f"tantivy: {error}") from error
        raise
