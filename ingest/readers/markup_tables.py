"""The tables of reStructuredText, AsciiDoc, Org and LaTeX, found in their source."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from ingest.readers.table import is_header
from rag.types import Table

__all__ = ["asciidoc_tables", "latex_tables", "org_tables", "rst_tables"]

_GRID = re.compile(r"^[ \t]*(?P<border>\+(?:-+\+)+)(?:\n[ \t]*[|+][^\n]*)+", re.MULTILINE)
_GRID_HEADER = re.compile(r"\n(?P<rows>(?:[ \t]*\|[^\n]*\n)+)[ \t]*\+(?:=+\+)+(?=\n)")
_SIMPLE_BORDER = re.compile(r"^[ \t]*(?P<border>=+(?:[ ]+=+)+)$", re.MULTILINE)
_DIRECTIVE = re.compile(
    r"^(?P<indent>[ \t]*)(?P<directive>\.\. (?P<kind>list|flat|csv)-table::[^\n]*)"
    r"(?P<options>(?:\n(?P=indent)[ \t]+:[\w-]+:[^\n]*)*)(?P<body>(?:\n(?:[ \t]*(?=\n)|(?P=indent)[ \t]+[^\n]+))*)",
    re.MULTILINE,
)
_N_HEADER = re.compile(r":header-rows:[ \t]*(\d)")
_CSV_HEADER = re.compile(r":header:[ \t]*(?P<names>\S[^\n]*)")
_LIST_ROW = re.compile(r"^[ \t]*(?=\* +- )", re.MULTILINE)
_PRINTED_LINE = re.compile(r"^[ \t]*(?=\S)", re.MULTILINE)

_ASCIIDOC = re.compile(
    r"^(?P<start>(?:(?P<title>\.[^\s.][^\n]{0,159})\n|\[(?P<options>[^\n]*)\]\n){0,3})"
    r"(?P<fence>\|={3,})\n(?P<body>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
_HEADER_OPTION = re.compile(r"(?<!no)header")

_ORG = re.compile(r"^[ \t]*(?P<caption>#\+caption:[^\n]{0,159}\n)?(?P<rows>(?:[ \t]*\|[^\n]*(?:\n|\Z))+)", re.M | re.I)
_ORG_RULE = re.compile(r"^[ \t]*\|-[-+|]*[ \t]*$", re.MULTILINE)

_BRACES = r"\{(?:[^{}\n]|\{(?:[^{}\n]|\{[^{}\n]{0,99}\}){0,99}\}){0,300}\}"
_LATEX = re.compile(
    rf"\\begin\{{(?P<kind>tabular\*?|tabularx|tabulary|longtable|tabu)\}}(?:\[[^\]\n]{{0,99}}\]|{_BRACES}){{0,4}}"
)
_LATEX_RULES = re.compile(
    r"(?:\s|%[^\n]*\n|\\(?:toprule|hline|midrule|(?:cline|cmidrule)(?:\([^)\n]*\))?\{[^}\n]*\}))*"
)
_LATEX_HEAD_END = re.compile(r"\\(?:midrule|endfirsthead|endhead)\b")
_LATEX_ROW_END = re.compile(r"\\\\(?:\[[^\]]*\])?")
_COMMAND = re.compile(r"\\[A-Za-z]+\*?|[{}]")
_MAX_HEAD_ROWS = 4


def rst_tables(text: str) -> tuple[Table, ...]:
    """Return grid tables, simple tables, and the directives ``list-table`` and ``csv-table``."""
    return _apart([*_grids(text), *_simple(text), *_directives(text)])


def _apart(tables: list[Table]) -> tuple[Table, ...]:
    found: list[Table] = []
    for table in sorted(tables, key=lambda table: (table.start, -table.end)):
        if not found or table.start >= found[-1].end:
            found.append(table)
    return tuple(found)


def _table(text: str, start: int, end: int, header: tuple[int, int] | None) -> Table:
    """Return a table without the blanks around it and around its header."""
    low, high = _stripped(text, start, end)
    first, last = _stripped(text, *header) if header else (low, low)
    return Table(low, high, first, last) if first < last else Table(low, high, low, low)


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _grids(text: str) -> Iterator[Table]:
    for match in _GRID.finditer(text) if "+-" in text else ():
        header = _GRID_HEADER.match(text, match.end("border"), match.end())
        yield _table(text, match.start(), match.end(), header.span("rows") if header else None)


def _simple(text: str) -> Iterator[Table]:
    """Yield the tables between lines of equals signs: what follows the second one at once is the body."""
    borders = [(match.start("border"), match.end()) for match in _SIMPLE_BORDER.finditer(text)]
    place = 0
    while place + 1 < len(borders):
        (start, _), (middle, middle_end) = borders[place], borders[place + 1]
        header = (borders[place][1], middle)
        if "\n\n" in text[slice(*header)]:  # not a header: a table without one, or two lines that frame something else
            place += 1
            continue
        is_header_above = text[middle_end + 1 : middle_end + 2] not in ("", "\n")
        if is_header_above and place + 2 < len(borders):
            yield _table(text, start, borders[place + 2][1], header)
            place += 3
        else:
            yield _table(text, start, middle_end, None)
            place += 2


def _directives(text: str) -> Iterator[Table]:
    for match in _DIRECTIVE.finditer(text) if "-table::" in text else ():
        options, body, end = match.start("options"), match.start("body"), match.end()
        wanted = _N_HEADER.search(text, options, body)
        named = _CSV_HEADER.search(text, options, body) if match["kind"] == "csv" else None
        header = named.span("names") if named else None
        if wanted and int(wanted[1]):
            rows = _PRINTED_LINE if match["kind"] == "csv" else _LIST_ROW
            starts = [row.end() for row in rows.finditer(text, body, end)]
            if len(starts) > int(wanted[1]):
                header = (starts[0], starts[int(wanted[1])])
        yield _table(text, match.start("directive"), end, header)


def asciidoc_tables(text: str) -> tuple[Table, ...]:
    """Return the tables between ``|===`` lines, with the lines above them that give a title or options.

    A header is asked for in the options, or is a first line that an empty one follows. A title right above the table
    belongs to it.
    """
    return tuple(_asciidoc(text)) if "|===" in text else ()


def _asciidoc(text: str) -> Iterator[Table]:
    for match in _ASCIIDOC.finditer(text):
        start, end = match.span("body")
        first, _, rest = match["body"].partition("\n")
        options = match["options"] or ""
        is_wanted = _HEADER_OPTION.search(options)
        is_implied = first.strip() and rest.startswith("\n") and "noheader" not in options
        header = None
        if is_wanted and first.count("|") < 2:  # a cell a line
            start, _ = _stripped(text, start, end)
            header = (start, text.find("\n\n", start, end))
        elif is_wanted or is_implied:
            header = (start, start + len(first))
        if header and header[1] > header[0] and 0 < match.end("title") == match.start("fence") - 1:
            header = (match.start("title"), header[1])
        yield _table(text, match.start(), match.end(), header)


def org_tables(text: str) -> tuple[Table, ...]:
    """Return the runs of lines that begin with a bar; the header stands above the first rule that is not the top one.

    The caption right above belongs to it.
    """
    return tuple(_org(text)) if "|" in text else ()


def _org(text: str) -> Iterator[Table]:
    for match in _ORG.finditer(text):
        start, end = match.span("rows")
        rules = [rule.span() for rule in _ORG_RULE.finditer(text, start, end)]
        top = rules.pop(0)[1] if rules and not text[start : rules[0][0]].strip() else start
        header = None
        if rules and text[rules[0][1] : end].strip():
            header = (match.start("caption") if match["caption"] and top == start else top, rules[0][0])
        yield _table(text, match.start(), end, header)


def latex_tables(text: str) -> tuple[Table, ...]:
    """Return the ``tabular`` environments and their kin; the header ends at the first ``\\midrule`` or ``\\endhead``.

    Without those it is the first row, if that reads as names.
    """
    return tuple(_latex(text))


def _latex(text: str) -> Iterator[Table]:
    done = 0
    for match in _LATEX.finditer(text):
        closing = f"\\end{{{match['kind']}}}"
        if match.start() < done:
            continue
        end = text.find(closing, match.end())
        if end < 0:
            return
        done = end + len(closing)
        yield _table(text, match.start(), done, _latex_header(text, match.end(), end))


def _latex_header(text: str, start: int, end: int) -> tuple[int, int] | None:
    rules = _LATEX_RULES.match(text, start, end)
    first = rules.end() if rules else start
    head_end = _LATEX_HEAD_END.search(text, first, end)
    if head_end and len(_LATEX_ROW_END.findall(text, first, head_end.start())) <= _MAX_HEAD_ROWS:
        return first, head_end.start()
    edges = [first, *(row.end() for row in _LATEX_ROW_END.finditer(text, first, end))][:3]
    rows = [_latex_cells(text[low:high]) for low, high in pairwise(edges)]
    return (first, edges[1]) if is_header(rows) else None


def _latex_cells(row: str) -> list[str]:
    plain = _COMMAND.sub(" ", _LATEX_ROW_END.sub("", row))
    return [" ".join(cell.split()) for cell in plain.split("&")]
