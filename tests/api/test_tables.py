"""A table from end to end: a row far below its header is found by both, answered from, and quoted alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.cli.output import hit_lines, source_lines
from api.events import answer_json, retrieval_json
from api.footnote import Footnote

HEADER = ("Lighthouse", "Range in nautical miles", "Year of construction", "Building material")
FIRST = ("Bel", "Kor", "Mal", "Tir", "Vos", "Zan", "Hul", "Dra", "Fen", "Gor", "Lim", "Nor", "Pel", "Ris", "Sol", "Tam")
LAST = ("mont", "dale", "ford", "burg", "stead", "wick", "haven", "port", "bridge", "field", "ton", "mere", "cliff",
        "wood", "shire", "gate", "ham", "ley", "worth", "combe")  # fmt: skip
ROWS = [
    (f"{first}{last}", str(5 + (7 * n) % 31), str(1801 + n % 150), ("granite", "timber", "steel")[n % 3])
    for n, (first, last) in enumerate((first, last) for first in FIRST for last in LAST)
]
FAR = ROWS[300]


def written(name: str, rows_of: list[tuple[str, str, str, str]] = ROWS) -> str:
    if name.endswith(".md"):
        rows = "".join(f"| {' | '.join(row)} |\n" for row in rows_of)
        return f"# Register of lighthouses\n\n| {' | '.join(HEADER)} |\n|---|---|---|---|\n{rows}"
    cells = "".join("<tr>" + "".join(f"<td>{cell}" for cell in row) for row in rows_of)
    return f"<h1>Register of lighthouses</h1><table><tr>{''.join(f'<th>{cell}' for cell in HEADER)}{cells}</table>"


@pytest.mark.parametrize("name", ["register.md", "register.html"])
async def test_a_row_300_below_its_header_is_found_by_words_of_both_and_quoted_alone(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / name).write_text(written(name), encoding="utf-8")
    (folder / "other.md").write_text("# Harbours\n\nShips leave in the morning. Tea is served at noon.\n", "utf-8")
    row = " | ".join(FAR)
    async with Footnote.open(tmp_path / "library", environ={}) as footnote:
        (report,) = await footnote.ingest(folder)
        assert report.exit_code == 0
        assert footnote.check() == []

        retrieval = await footnote.search(f"building material of the lighthouse {FAR[0]}", k=3)
        best = next(hit for hit in retrieval.hits if row in hit.chunk.text)
        assert best.chunk.context.strip("| ") == " | ".join(HEADER)
        assert best.vector_score is not None
        assert best.keyword_score is not None
        places = [hit.chunk.id for hit in retrieval.hits]
        shown = next(hit for hit in retrieval_json("q", retrieval, places)["hits"] if hit["chunk_id"] == best.chunk.id)
        document = footnote.document(name)
        assert document.text.startswith(shown["context"], shown["context_start"])
        assert "Building material" in " ".join("\n".join(hit_lines([best], ["here"])).split())

        without_row = await footnote.search("Range in nautical miles, year of construction, building material", k=20)
        in_table = [hit for hit in without_row.hits if hit.chunk.document_id == name]
        assert len(in_table) > 10
        assert all(hit.keyword_score for hit in in_table), "the header's words are in each chunk of the table"

        answer = await footnote.ask(f"What is the building material of the lighthouse {FAR[0]}?")
        assert [citation.quote.strip("| ") for citation in answer.citations] == [row]
        (citation,) = answer.citations
        assert document.text[citation.start : citation.end] == citation.quote
        assert citation.place.endswith(f"line {document.text.count(chr(10), 0, citation.start) + 1}")
        assert answer_json(answer)["sources"][0]["context"].strip("| ") == " | ".join(HEADER)
        assert "Building material" in " ".join("\n".join(source_lines(answer.sources)).split())
        assert not (await footnote.ask("What is the building material of the lighthouse Foobarton?")).answered


async def test_a_header_that_changes_changes_the_chunks_of_its_rows_and_no_others(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    path = folder / "register.md"
    path.write_text(
        f"{written(path.name, ROWS[:60])}\n\n## Notes\n\n{'Lamps are lit at dusk. ' * 100}", encoding="utf-8"
    )
    async with Footnote.open(tmp_path / "library", environ={}) as footnote:
        (first,) = await footnote.ingest(folder)
        path.write_text(path.read_text("utf-8").replace("Building material", "Made of what"), encoding="utf-8")
        (second,) = await footnote.ingest(folder)
        chunks = footnote.collection(None).document_chunks("register.md")
        n_rows = sum("| Lighthouse |" in chunk.embedded_text for chunk in chunks)
        assert n_rows <= second.n_texts_embedded < first.n_texts_embedded
        assert second.n_texts_reused
        assert {chunk.context for chunk in chunks if chunk.context} == {
            "| Lighthouse | Range in nautical miles | Year of construction | Made of what |"
        }
