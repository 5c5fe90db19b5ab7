"""What a notebook shows of a collection: how its files fared, how long its chunks are, where they lie, who finds them.

Only the numbers: drawing is left to the notebooks, so that no plotting library is needed here.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index.collection import Collection
from ingest.report import IngestReport
from rag.types import Chunk, FloatArray, Hit

__all__ = [
    "Agreement",
    "Contents",
    "Legs",
    "Plane",
    "agreement",
    "contents",
    "document_labels",
    "fit_plane",
    "report_table",
    "search_legs",
    "token_lengths",
]


# --- what became of the files ----------------------------------------------------------------------------------------


def report_table(report: IngestReport) -> str:
    """Return what became of each file of a run, and what the run cost, in Markdown. It does not name the folder."""
    lines = ["| file | state | why | chunks | tokens | embedded now |", "|---|---|---|--:|--:|--:|"]
    for file in report.files:
        why = file.reason or (f"renamed from {file.renamed_from}" if file.renamed_from else file.change or "")
        cells = (file.path, f"**{file.state}**", why, f"{file.n_chunks:,}", f"{file.n_tokens:,}")
        lines.append(_row(*cells, f"{file.n_tokens_embedded:,}"))
    lines += [_row(path, "**removed**", "no longer in the folder", "", "", "") for path in report.removed]
    cost = f"{report.n_texts_embedded:,} chunks ({report.n_tokens_embedded:,} tokens) were embedded in this run."
    return "\n".join([*lines, "", cost])


def _row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


# --- what a collection holds -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Contents:
    """The chunks of a collection, document by document, with their vectors: (n, dimensions), rows of unit length.

    ``readable[i]`` is False where the embedding model could not read chunk i; its row is all zeros.
    """

    chunks: tuple[Chunk, ...]
    vectors: FloatArray
    readable: NDArray[np.bool_]

    def cosines(self, query_vector: FloatArray) -> NDArray[np.float32]:
        """Return the cosine of each chunk with a query of unit length, (n,); NaN for chunks without a vector."""
        if query_vector.shape != self.vectors.shape[1:]:
            raise ValueError(f"query vector must be {self.vectors.shape[1:]}, got {query_vector.shape}")
        cosines: NDArray[np.float32] = np.where(self.readable, self.vectors @ query_vector, np.float32(np.nan))
        return cosines


def contents(collection: Collection) -> Contents:
    """Return everything a collection holds, in memory: for collections to look at, not for a million chunks."""
    chunks: list[Chunk] = []
    rows: list[FloatArray | None] = []
    for _, chunk, vector in collection.iter_chunks():
        chunks.append(chunk)
        rows.append(vector)
    vectors = np.zeros((len(chunks), collection.config.dimensions), np.float32)
    for place, row in enumerate(rows):
        if row is not None:
            vectors[place] = row
    return Contents(tuple(chunks), vectors, np.array([row is not None for row in rows], np.bool_))


def token_lengths(chunks: Iterable[Chunk], *, group: Callable[[Chunk], str]) -> dict[str, NDArray[np.int64]]:
    """Return the lengths of chunks in tokens, by group; the group with most chunks first, equal ones by name."""
    lengths: defaultdict[str, list[int]] = defaultdict(list)
    for chunk in chunks:
        lengths[group(chunk)].append(chunk.n_tokens)
    order = sorted(lengths, key=lambda name: (-len(lengths[name]), name))
    return {name: np.array(lengths[name], np.int64) for name in order}


def document_labels(document_ids: Iterable[str], *, ascii_only: bool) -> dict[str, str]:
    """Return a short label for each document: its file name, with its folder where two documents share the name.

    ``ascii_only`` is for fonts without other characters: each run of them becomes "~". Labels are still unique.

    >>> document_labels(["a/faq.md", "b/faq.md", "b/元朝.txt"], ascii_only=True)
    {'a/faq.md': 'a/faq.md', 'b/faq.md': 'b/faq.md', 'b/元朝.txt': '~.txt'}
    """
    ids = sorted(set(document_ids))
    names = [path.rstrip("/").rpartition("/")[2] for path in ids]
    labels = [name if names.count(name) == 1 else path for path, name in zip(ids, names, strict=True)]
    if ascii_only:
        labels = [_ascii(label) for label in labels]
    taken: set[str] = set()
    for place, label in enumerate(labels):
        numbered = (label if number == 1 else f"{label} ({number})" for number in itertools.count(1))
        labels[place] = next(name for name in numbered if name not in taken)
        taken.add(labels[place])
    return dict(zip(ids, labels, strict=True))


def _ascii(text: str) -> str:
    return "".join(
        letter if letter.isascii() else "~"
        for place, letter in enumerate(text)
        if letter.isascii() or place == 0 or text[place - 1].isascii()
    )


# --- a map of it -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plane:
    """The plane in which vectors differ most: ``origin`` (dim,) and two ``axes`` (2, dim) at right angles.

    ``explained`` is the share of the vectors' variance along each axis: what a map in this plane shows, and what not.
    """

    origin: NDArray[np.float64]
    axes: NDArray[np.float64]
    explained: tuple[float, float]

    def place(self, vectors: FloatArray) -> NDArray[np.float64]:
        """Return the points (n, 2) at which vectors (n, dim) lie; any vector of the space may be placed."""
        points: NDArray[np.float64] = (np.asarray(vectors, np.float64) - self.origin) @ self.axes.T
        return points


def fit_plane(vectors: FloatArray) -> Plane:
    """Return the plane of the first two principal components of vectors (n, dim); n and dim are at least 2.

    The sign of an axis means nothing: its greatest coordinate is made positive, so that maps repeat.
    """
    n, dimensions = vectors.shape
    if n < 2 or dimensions < 2:
        raise ValueError(f"a plane needs at least 2 vectors of 2 dimensions, got {n} of {dimensions}")
    origin = vectors.mean(axis=0, dtype=np.float64)
    centred = np.asarray(vectors, np.float64) - origin
    variances, components = np.linalg.eigh(centred.T @ centred)  # ascending; dim x dim, whatever n is
    axes = components[:, [-1, -2]].T
    greatest = axes[[0, 1], np.abs(axes).argmax(axis=1)]
    axes = axes * np.where(greatest < 0, -1.0, 1.0)[:, np.newaxis]
    total = float(variances.sum())
    shares = variances[[-1, -2]].clip(min=0) / total if total > 0 else np.zeros(2)
    return Plane(origin, np.ascontiguousarray(axes), (float(shares[0]), float(shares[1])))


# --- what each leg of a search says ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Legs:
    """The scores of one query before they are fused, by chunk id, best first: cosines and BM25.

    A leg is empty where it has no vote: the model cannot read the query, or no chunk shares a word with it.
    """

    vectors: Mapping[str, float]
    keywords: Mapping[str, float]

    def bm25(self, chunks: Sequence[Chunk]) -> NDArray[np.float64]:
        """Return the BM25 score of each chunk, (n,): 0 where the keywords did not name it."""
        return np.array([self.keywords.get(chunk.id, 0.0) for chunk in chunks], np.float64)

    def overlap(self, *, k: int) -> NDArray[np.float64]:
        """Return, for each depth from 1 to ``k``, the share of the legs' best that both name: (k,), in [0, 1].

        A leg that names fewer chunks than the depth does not agree about the rest.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        by_vector, by_keyword = list(self.vectors)[:k], list(self.keywords)[:k]
        shared = [len({*by_vector[:depth]} & {*by_keyword[:depth]}) for depth in range(1, k + 1)]
        return np.array(shared, np.float64) / np.arange(1, k + 1)


def search_legs(collection: Collection, query: str, query_vector: FloatArray | None, *, k: int) -> Legs:
    """Ask each leg for its ``k`` best; None as query vector (an unreadable query) leaves the vectors without a vote."""
    by_vector = [] if query_vector is None else collection.search_vectors(query_vector, k=k)
    by_keyword = collection.search_keywords(query, k=k)
    names = collection.chunk_ids([row for row, _ in (*by_vector, *by_keyword)])
    return Legs(
        vectors={names[row]: score for row, score in by_vector if row in names},
        keywords={names[row]: score for row, score in by_keyword if row in names},
    )


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many of some hits were among the best of both legs, of one alone, or of neither."""

    both: int
    vectors_only: int
    keywords_only: int
    neither: int


def agreement(hits: Sequence[Hit], legs: Legs, *, k: int) -> Agreement:
    """Return who named the first ``k`` hits among its own first ``k``.

    "Neither" is a hit that both legs found further down, and that the sum of their scores brought up.
    """
    by_vector, by_keyword = set(list(legs.vectors)[:k]), set(list(legs.keywords)[:k])
    votes = Counter((hit.chunk.id in by_vector, hit.chunk.id in by_keyword) for hit in hits[:k])
    return Agreement(votes[True, True], votes[True, False], votes[False, True], votes[False, False])
