"""Cut a document into chunks: never over the token limit, at the best boundaries, with exact offsets.

The text is tokenized once. From each start the tokens say how far a chunk can reach; the boundaries near that place say
where it ends; the exact count of that one slice is checked. The next chunk begins a little earlier, at a sentence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from ingest.blocks import fenced_code
from ingest.boundaries import Boundaries
from ingest.ruler import Origin, TokenRuler
from ingest.tables import TableRows, tables_of
from rag.contracts import Tokenizer
from rag.errors import ConfigError
from rag.types import Chunk, ChunkingSettings, Document, EmbedderProfile, Heading, Table, chunk_id, in_context

__all__ = ["chunk", "default_settings", "headless_tables"]

_TOKENS = 512
_STEP = 16
_HEADER_SHARE = 3
"""A header that takes more than a third of a chunk is not repeated: a chunk should hold more that is new."""


def default_settings(profile: EmbedderProfile) -> ChunkingSettings:
    """Return 512 tokens, or the greatest multiple of 16 that the model takes, and an eighth of it as overlap.

    The embedded model takes 254: 240 and 30. Raises ConfigError for a model that takes less than 16 tokens.
    """
    window = profile.limits.max_input_tokens
    if window < _STEP:
        raise ConfigError(
            f"the embedding model {profile.model!r} takes at most {window} tokens a text; chunks need {_STEP}. "
            "Correct max_input_tokens in the settings, or choose another model"
        )
    tokens = min(_TOKENS, window // _STEP * _STEP)
    return ChunkingSettings(tokens=tokens, overlap=tokens // 8)


def chunk(document: Document, tokenizer: Tokenizer, settings: ChunkingSettings) -> list[Chunk]:
    """Return the chunks of a document, in order; none for a document without a printed character.

    - Each has at most ``settings.tokens`` tokens, and ``n_tokens`` is exactly what the tokenizer counts in what is
      embedded of it: its text below its context.
    - Every character that is not white space lies in some chunk; no chunk lies within another.
    - Ends are at a heading, paragraph, sentence or list item, line, clause, word or character, in this order of liking.
    - About ``settings.overlap`` tokens at the start are the end of the chunk before, from the start of a sentence;
      nothing of a section before the last heading is repeated.
    - Fenced code and tables that fit are not cut; a heading is not parted from what follows it.
    - A table that does not fit is cut between its rows, none of which is repeated. Each chunk that begins below its
      header has that as context, unless it is longer than a third of a chunk (see ``headless_tables``).
    """
    chunks = []
    paths = _HeadingPaths(document.headings)
    cutter = _Cutter(document, tokenizer, settings)
    for start, end, n_tokens in cutter.spans():
        text = document.text[start:end]
        context_start, context_end = cutter.context_at(start)
        chunks.append(
            Chunk(
                id=chunk_id(document.id, start, text),
                document_id=document.id,
                start=start,
                end=end,
                text=text,
                n_tokens=n_tokens,
                page=document.page_at(start) if document.pages else None,
                headings=paths.at(start),
                context=document.text[context_start:context_end],
                context_start=context_start,
            )
        )
    return chunks


def headless_tables(document: Document, chunks: Sequence[Chunk]) -> tuple[str, ...]:
    """Return a warning for each table whose header is too long to be repeated, if some of its chunks lack it."""
    if all(made.context for made in chunks):
        return ()
    rows = TableRows(document.text, tables_of(document, apart_from=fenced_code(document.text)))
    found = dict.fromkeys(table for made in chunks if not made.context and (table := rows.header_at(made.start)))
    return tuple(
        f"the header of the table in {document.place_at(table.start)} is too long to be repeated in each of its chunks"
        for table in found
    )


class _Cutter:
    """Finds the spans of the chunks of one document."""

    def __init__(self, document: Document, tokenizer: Tokenizer, settings: ChunkingSettings) -> None:
        self._text = document.text
        self._limit = settings.tokens
        self._overlap = settings.overlap
        self._ruler = TokenRuler(document.text, tokenizer)
        self._tokenizer = tokenizer
        code = fenced_code(document.text)
        tables = tables_of(document, apart_from=code)
        self._rows = TableRows(document.text, tables)
        self._headers: dict[Table, bool] = {}  # whether the header of a table is short enough to be repeated
        blocks = sorted([*code, *((table.start, table.end) for table in tables)])
        whole = [(start, end) for start, end in blocks if self._ruler.between(start, end) <= self._limit]
        self._boundaries = Boundaries(document.text, document.headings, document.pages, whole)

    def spans(self) -> Iterator[tuple[int, int, int]]:
        """Yield start, end and number of tokens of each chunk."""
        last = self._boundaries.trimmed(len(self._text))
        start, done = self._boundaries.next_printed(0), 0
        while done < last:
            end, n_tokens = self._cut(start, done, last)
            if not end:  # the overlap left no room
                start = self._boundaries.next_printed(done)
                end, n_tokens = self._cut(start, start, last)
            yield start, end, n_tokens
            start, done = self._restart(start, end), end

    def context_at(self, start: int) -> tuple[int, int]:
        """Return the span that a chunk from ``start`` is read with; 0, 0 for none."""
        table = self._rows.header_at(start)
        if table is None:
            return 0, 0
        if table not in self._headers:
            n_tokens = self._tokenizer.count(in_context("", self._text[table.header_start : table.header_end]))
            self._headers[table] = n_tokens <= self._limit // _HEADER_SHARE
        return (table.header_start, table.header_end) if self._headers[table] else (0, 0)

    def _cut(self, start: int, floor: int, last: int) -> tuple[int, int]:
        """Return where a chunk from ``start`` ends, beyond ``floor``, and its tokens; 0, 0 if it cannot."""
        context_start, context_end = self.context_at(start)
        before = in_context("", self._text[context_start:context_end])
        origin = self._ruler.origin(start, within=self._limit, before=before)
        budget = self._limit
        remaining = self._ruler.remaining(origin)
        if remaining <= self._limit and (n_tokens := self._ruler.count(origin, last)) <= self._limit:
            return last, n_tokens
        # Near the end: leave at least a quarter of a chunk for the last one.
        budget = max(min(budget, remaining - self._limit // 4), self._limit // 2)
        high = self._high(origin, budget, floor)
        while high > floor:
            end = self._end(start, floor, high)
            if not end:
                return 0, 0
            n_tokens = self._ruler.count(origin, end)
            if n_tokens <= self._limit:
                return end, n_tokens
            # Rare: cut apart, the words at the ends take more tokens than they did in the whole.
            budget -= n_tokens - self._limit
            high = min(end - 1, self._ruler.reach(origin, max(budget, 1)))
        return 0, 0

    def _high(self, origin: Origin, budget: int, floor: int) -> int:
        """How far a chunk may go: as the tokens allow; to the full in a block or row begun before."""
        high = self._ruler.reach(origin, budget)
        block = self._boundaries.block_at(high)
        begins = [block[0]] if block else self._rows.rows_at(high)[-1:]
        if begins and self._boundaries.trimmed(begins[0]) <= max(floor, origin.start):
            high = self._ruler.reach(origin, self._limit)
        return max(high, origin.start + 1)

    def _end(self, start: int, floor: int, high: int) -> int:
        block = self._boundaries.block_at(high)
        if block:
            before = self._boundaries.trimmed(block[0])
            # Not for a scrap of text: an eighth of a chunk, or the block is cut.
            if before > max(floor, start + (high - start) // 8):
                return before
        for row in self._rows.rows_at(self._boundaries.next_printed(high)):
            before = self._boundaries.trimmed(self._boundaries.with_heading(row))
            if before > floor:
                return before
        return self._boundaries.best_end(start, floor, high)

    def _restart(self, start: int, end: int) -> int:
        """Return where the chunk after [start, end) begins: some sentences before ``end``, or right after it."""
        boundaries = self._boundaries
        following = boundaries.next_printed(end)
        is_parted = following == len(self._text) or boundaries.is_section(following) or self._rows.table_at(following)
        if not self._overlap or is_parted:
            return following
        wanted = self._ruler.back(end, self._overlap)
        low = max(wanted - (end - wanted) // 2, start + 1)
        again = boundaries.best_start(low, wanted, end)
        if not start < again < end or self._rows.table_at(again):
            return following
        block = boundaries.block_at(following + 1)
        if block and self._ruler.between(again, block[1]) > self._limit:
            return following
        return again


class _HeadingPaths:
    """The titles above an offset, for offsets in no falling order: each heading is looked at once."""

    def __init__(self, headings: tuple[Heading, ...]) -> None:
        self._ahead = deque(headings)
        self._path: list[Heading] = []
        self._titles: tuple[str, ...] = ()

    def at(self, offset: int) -> tuple[str, ...]:
        if not self._ahead or self._ahead[0].start > offset:
            return self._titles
        while self._ahead and self._ahead[0].start <= offset:
            heading = self._ahead.popleft()
            while self._path and self._path[-1].level >= heading.level:
                self._path.pop()
            self._path.append(heading)
        self._titles = tuple([heading.title for heading in self._path])  # a list first: twice as fast
        return self._titles
