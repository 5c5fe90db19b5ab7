"""Archives from one run to the next: what changes is read, what stays is not, and nothing is paid for twice."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from api.footnote import Footnote
from ingest.archives.member import Member
from ingest.cost import Spending
from ingest.isolation import IsolatedReaders, ToRead
from ingest.rehearsal import Rehearsal
from ingest.report import IngestReport
from ingest.roots import scope_of
from ingest.sources import WalkRules
from ingest.survey import Survey
from ingest.tally import Tally
from rag.errors import DocumentReadError
from tests.ingest.archive_bytes import PACK, tar_of, zip_of
from tests.ingest.test_run import ingest, n_sent, prose, states
from tests.upstream import Upstream


@pytest.fixture
async def footnote(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Footnote]:
    environ = {"OPENAI_BASE_URL": upstream.base_url, "RAG_CHUNKING_TOKENS": "64", "RAG_CHUNKING_OVERLAP": "0"}
    async with Footnote.open(tmp_path / "library", environ=environ) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    return folder


def texts(*numbers: int, under: str = "") -> dict[str, bytes]:
    return {f"{under}doc{i}.md": f"# Document {i}\n\n{prose(i, 6)}\n".encode() for i in numbers}


def held(footnote: Footnote) -> set[str]:
    return {info.id for info in footnote.documents()}


@pytest.mark.parametrize("ending", PACK)
async def test_every_file_of_an_archive_is_a_document_and_is_found(
    footnote: Footnote, folder: Path, ending: str
) -> None:
    (folder / f"box{ending}").write_bytes(PACK[ending](texts(1, 2, under="sub/")))
    report = await ingest(footnote, folder)
    assert states(report) == {f"box{ending}/sub/doc1.md": "new", f"box{ending}/sub/doc2.md": "new"}
    hit = (await footnote.search("text 2 tells of", k=1)).hits[0]
    assert hit.chunk.document_id == f"box{ending}/sub/doc2.md"
    again = await ingest(footnote, folder)
    assert set(states(again).values()) == {"unchanged"}
    assert footnote.check() == []


async def test_only_what_is_new_in_a_changed_archive_is_read_and_paid(
    footnote: Footnote, folder: Path, upstream: Upstream
) -> None:
    (folder / "box.zip").write_bytes(zip_of(texts(1, 2, 3)))
    await ingest(footnote, folder)
    before = n_sent(upstream)
    changed = texts(1, 2) | {"doc2.md": texts(2)["doc2.md"] + b"\n\nThe zeppelin lands at noon.\n"} | texts(4)
    (folder / "box.zip").write_bytes(zip_of(changed))
    report = await ingest(footnote, folder)
    assert states(report) == {"box.zip/doc1.md": "unchanged", "box.zip/doc2.md": "changed", "box.zip/doc4.md": "new"}
    assert report.removed == ("box.zip/doc3.md",)
    assert n_sent(upstream) - before <= 3
    assert held(footnote) == {f"box.zip/doc{i}.md" for i in (1, 2, 4)}


async def test_files_that_move_in_and_out_of_archives_are_renamed(
    footnote: Footnote, folder: Path, upstream: Upstream
) -> None:
    (folder / "box.zip").write_bytes(zip_of(texts(1, 2)))
    (folder / "doc3.md").write_bytes(texts(3)["doc3.md"])
    await ingest(footnote, folder)
    before = n_sent(upstream)
    (folder / "box.zip").write_bytes(zip_of(texts(1, under="new/") | texts(3)))
    (folder / "doc3.md").unlink()
    (folder / "doc2.md").write_bytes(texts(2)["doc2.md"])
    report = await ingest(footnote, folder)
    renamed = {file.path: file.renamed_from for file in report.files}
    assert renamed == {
        "box.zip/new/doc1.md": "box.zip/doc1.md",
        "box.zip/doc3.md": "doc3.md",
        "doc2.md": "box.zip/doc2.md",
    }
    assert (report.removed, n_sent(upstream)) == ((), before)
    assert held(footnote) == set(renamed)


async def test_a_folder_and_an_archive_of_one_name_take_turns_at_no_cost(
    footnote: Footnote, folder: Path, upstream: Upstream
) -> None:
    path = folder / "box.zip"
    path.write_bytes(zip_of(texts(1, 2)))
    await ingest(footnote, folder)
    before = n_sent(upstream)
    path.unlink()
    path.mkdir()
    for name, data in texts(1, 2).items():
        (path / name).write_bytes(data)
    assert set(states(await ingest(footnote, folder)).values()) == {"unchanged"}
    for file in path.iterdir():
        file.unlink()
    path.rmdir()
    path.write_bytes(zip_of(texts(1, 2)))
    assert set(states(await ingest(footnote, folder)).values()) == {"unchanged"}
    assert n_sent(upstream) == before


async def test_an_archive_that_cannot_be_opened_keeps_its_documents(footnote: Footnote, folder: Path) -> None:
    whole = tar_of(texts(1, 2), mode="w:gz")
    (folder / "box.tar.gz").write_bytes(whole)
    await ingest(footnote, folder)
    (folder / "box.tar.gz").write_bytes(whole[: len(whole) // 2])
    report = await ingest(footnote, folder)
    assert (states(report), report.removed, report.exit_code) == ({"box.tar.gz": "failed"}, (), 1)
    assert "damaged or cut off" in report.files[0].reason
    assert held(footnote) == {"box.tar.gz/doc1.md", "box.tar.gz/doc2.md"}
    (folder / "box.tar.gz").write_bytes(whole)
    assert set(states(await ingest(footnote, folder)).values()) == {"unchanged"}
    assert "box.tar.gz" not in footnote.ledger()


async def test_a_damaged_file_in_an_archive_keeps_its_document(footnote: Footnote, folder: Path) -> None:
    stored = zip_of(texts(1, 2), method=0)
    (folder / "box.zip").write_bytes(stored)
    await ingest(footnote, folder)
    (folder / "box.zip").write_bytes(stored.replace(b"# Document 1", b"# Document 7"))
    report = await ingest(footnote, folder)
    assert states(report) == {"box.zip/doc1.md": "failed", "box.zip/doc2.md": "unchanged"}
    assert report.removed == ()
    assert held(footnote) == {"box.zip/doc1.md", "box.zip/doc2.md"}


@pytest.mark.parametrize(
    ("data", "state"), [(zip_of({}), "empty"), (b"no archive", "failed"), (tar_of({"a/": b""}), "failed")]
)
async def test_an_archive_that_is_not_entered_has_a_state_of_its_own(
    footnote: Footnote, folder: Path, data: bytes, state: str
) -> None:
    (folder / "box.zip").write_bytes(data)
    (folder / "doc1.md").write_bytes(texts(1)["doc1.md"])
    for _ in range(2):
        report = await ingest(footnote, folder)
        assert {file.path: file.state for file in report.files if file.path != "doc1.md"} == {"box.zip": state}
        assert footnote.ledger()["box.zip"].reason


async def test_an_archive_that_is_gone_takes_its_documents_with_it(footnote: Footnote, folder: Path) -> None:
    (folder / "box.zip").write_bytes(zip_of(texts(1)))
    (folder / "doc2.md").write_bytes(texts(2)["doc2.md"])
    await ingest(footnote, folder)
    (folder / "box.zip").unlink()
    report = await ingest(footnote, folder)
    assert report.removed == ("box.zip/doc1.md",)
    assert set(footnote.ledger()) == {"doc2.md"}


async def test_one_archive_of_a_folder_is_brought_up_to_date_alone(footnote: Footnote, folder: Path) -> None:
    for name in ("box.zip", "other.zip"):
        (folder / name).write_bytes(zip_of(texts(1, 2, under=name[0])))
    await ingest(footnote, folder)
    (folder / "box.zip").write_bytes(zip_of(texts(1, under="b")))
    (folder / "other.zip").write_bytes(zip_of(texts(1, under="o")))
    report = await ingest(footnote, folder / "box.zip")
    assert states(report) == {"box.zip/bdoc1.md": "unchanged"}
    assert report.removed == ("box.zip/bdoc2.md",)
    assert "other.zip/odoc2.md" in held(footnote)


async def test_an_archive_can_be_ingested_by_itself(footnote: Footnote, folder: Path) -> None:
    (folder / "box.zip").write_bytes(zip_of(texts(1)))
    assert states(await ingest(footnote, folder / "box.zip")) == {"box.zip/doc1.md": "new"}


async def test_a_path_inside_an_archive_is_refused_with_what_to_run(footnote: Footnote, folder: Path) -> None:
    (folder / "box.zip").write_bytes(zip_of(texts(1, under="sub/")))
    await ingest(footnote, folder)
    with pytest.raises(DocumentReadError, match=r"is a file, and is read whole; run: rag ingest .*box\.zip"):
        await footnote.ingest(folder / "box.zip" / "sub")
    assert held(footnote) == {"box.zip/sub/doc1.md"}


async def test_a_second_folder_puts_its_name_before_its_archives(footnote: Footnote, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "box.zip").write_bytes(zip_of(texts(1)))
        (tmp_path / name / "bad.zip").write_bytes(b"PK\x03\x04")
        report = await ingest(footnote, tmp_path / name)
    assert states(report) == {"second/bad.zip": "failed", "second/box.zip/doc1.md": "new"}
    assert "'second/bad.zip'" in report.files[0].reason
    os.utime(tmp_path / "second/box.zip")
    assert states(await ingest(footnote, tmp_path / "second"))["second/box.zip/doc1.md"] == "unchanged"


async def test_a_dry_run_and_a_rebuild_see_what_a_run_sees(
    footnote: Footnote, folder: Path, upstream: Upstream
) -> None:
    (folder / "box.tgz").write_bytes(tar_of(texts(1, 2), mode="w:gz"))
    (folder / "bad.zip").write_bytes(b"PK")
    (planned,) = await footnote.plan_ingest(folder)
    report = await ingest(footnote, folder)
    assert seen(planned.report) == seen(report)
    before = n_sent(upstream)
    (rebuilt,) = await footnote.ingest(folder, rebuild=True)
    assert seen(rebuilt) == seen(report)
    assert n_sent(upstream) == before


def seen(report: IngestReport) -> Mapping[str, tuple[str, str, int]]:
    return {file.path: (file.state, file.reason, file.n_chunks) for file in report.files}


class Watched(IsolatedReaders):
    """Remembers how archives were looked at: "box.zip" for their directory, "box.zip, hashed" for their bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: list[str] = []

    def members(self, archive: ToRead, *, hashed: bool, max_bytes: int) -> tuple[Member, ...]:
        self.looks.append(f"{archive.document_id}, hashed" if hashed else archive.document_id)
        return super().members(archive, hashed=hashed, max_bytes=max_bytes)


def looks_of_a_run(footnote: Footnote, folder: Path) -> tuple[list[str], int]:
    """Return how the next run would look at archives, and how many files it would read."""
    collection = footnote.collection()
    rehearsal = Rehearsal(collection.name, collection.config, collection)
    scope = scope_of(folder, library=footnote.library.folder, known=collection.roots())
    with Watched() as readers:
        tally = Tally(Spending(None), lambda progress: None)
        plan = Survey(scope, rehearsal, rehearsal, tally, readers).plan(WalkRules())
    return readers.looks, len(plan.work)


async def test_an_unchanged_archive_is_listed_and_no_more(footnote: Footnote, folder: Path) -> None:
    (folder / "box.zip").write_bytes(zip_of(texts(1, 2)))
    stored = zip_of(texts(3, 4), method=0)
    (folder / "damaged.zip").write_bytes(stored.replace(b"# Document 3", b"# Document 7"))
    await ingest(footnote, folder)
    collection = footnote.collection()
    with collection.writer("a test, in which time passes") as writer:
        for entry in collection.ledger().values():
            writer.record(replace(entry, updated_at=entry.updated_at + 10), drop_document=False)
    assert looks_of_a_run(footnote, folder) == (["box.zip", "damaged.zip", "damaged.zip, hashed"], 0)
    (folder / "box.zip").write_bytes(zip_of(texts(1, 2)))
    assert looks_of_a_run(footnote, folder)[0][0] == "box.zip, hashed"
