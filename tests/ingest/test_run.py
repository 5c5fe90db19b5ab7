"""An ingest from end to end: real files, SQLite, FAISS and HTTP; the endpoint is the scripted one."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from api.footnote import Footnote
from ingest.report import IngestReport
from tests.ingest.one_path import ingest
from tests.ingest.prose import prose
from tests.upstream import Fault, Upstream


def states(report: IngestReport) -> Mapping[str, str]:
    return {file.path: file.change or file.state for file in report.files}


def n_sent(upstream: Upstream) -> int:
    """Texts embedded so far, the question about the length of the vectors left out."""
    return sum(n for text, n in upstream.embedded.items() if "your vectors" not in text)


async def test_every_file_is_indexed_and_found(footnote: Footnote, folder: Path) -> None:
    report = await ingest(footnote, folder)
    assert (report.exit_code, set(states(report).values())) == (0, {"new"})
    retrieval = await footnote.search("text 3 tells of", k=3)
    assert retrieval.hits[0].chunk.document_id == "doc3.md"
    assert footnote.check() == []


async def test_a_second_run_pays_nothing(footnote: Footnote, folder: Path, upstream: Upstream) -> None:
    await ingest(footnote, folder)
    n_calls = len(upstream.calls("embeddings"))
    report = await ingest(footnote, folder)
    assert set(states(report).values()) == {"unchanged"}
    assert (report.n_tokens_embedded, len(upstream.calls("embeddings"))) == (0, n_calls)


async def test_touched_files_are_unchanged(footnote: Footnote, folder: Path) -> None:
    await ingest(footnote, folder)
    for path in folder.iterdir():
        os.utime(path, (1, 1))
    assert set(states(await ingest(footnote, folder)).values()) == {"unchanged"}


async def test_a_changed_file_is_replaced_and_only_its_new_words_are_paid(
    footnote: Footnote, folder: Path, upstream: Upstream
) -> None:
    await ingest(footnote, folder)
    before = n_sent(upstream)
    path = folder / "doc2.md"
    path.write_text(path.read_text(encoding="utf-8") + "\n\nThe zeppelin lands at noon.\n", encoding="utf-8")
    report = await ingest(footnote, folder)
    assert states(report)["doc2.md"] == "changed"
    assert n_sent(upstream) - before <= 2
    hits = (await footnote.search("When does the zeppelin land?", k=3)).hits
    assert "zeppelin lands at noon" in hits[0].chunk.text


async def test_a_removed_file_is_gone_from_both_legs(footnote: Footnote, folder: Path) -> None:
    await ingest(footnote, folder)
    (folder / "doc3.md").unlink()
    report = await ingest(footnote, folder)
    assert report.removed == ("doc3.md",)
    hits = (await footnote.search("text 3 tells of", k=50)).hits
    assert hits
    assert all(hit.chunk.document_id != "doc3.md" for hit in hits)


async def test_a_renamed_file_costs_nothing(footnote: Footnote, folder: Path, upstream: Upstream) -> None:
    await ingest(footnote, folder)
    before = n_sent(upstream)
    (folder / "doc1.md").rename(folder / "moved.md")
    report = await ingest(footnote, folder)
    assert states(report)["moved.md"] == "renamed"
    assert (report.removed, n_sent(upstream)) == ((), before)
    assert {info.id for info in footnote.documents()} == {"moved.md", *(f"doc{i}.md" for i in (0, 2, 3, 4, 5))}


async def test_a_copy_of_a_file_costs_nothing(footnote: Footnote, folder: Path, upstream: Upstream) -> None:
    await ingest(footnote, folder)
    before = n_sent(upstream)
    (folder / "copy.md").write_bytes((folder / "doc1.md").read_bytes())
    await ingest(footnote, folder)
    assert n_sent(upstream) == before


async def test_bad_files_fail_alone_and_are_tried_again(footnote: Footnote, folder: Path) -> None:
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing more")
    (folder / "archive.md").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(200))
    (folder / "blank.txt").write_text("  \n\n ", encoding="utf-8")
    (folder / ".hidden.md").write_text("secret", encoding="utf-8")
    report = await ingest(footnote, folder)
    assert {path: file for path, file in states(report).items() if not path.startswith("doc")} == {
        "broken.pdf": "failed",
        "archive.md": "unsupported",
        "blank.txt": "empty",
        ".hidden.md": "skipped",
    }
    assert report.exit_code == 1
    assert sum(report.counts.values()) == len(report.files) == 10
    (folder / "broken.pdf").write_bytes(b"not a pdf at all, just text")
    assert (await ingest(footnote, folder)).exit_code in (0, 1)
    (folder / "broken.pdf").unlink()
    assert (await ingest(footnote, folder)).exit_code == 0


async def test_an_endpoint_that_refuses_the_key_stops_the_run_and_keeps_what_there_was(
    footnote: Footnote, folder: Path, upstream: Upstream
) -> None:
    await ingest(footnote, folder)
    (folder / "doc0.md").write_text(prose(77), encoding="utf-8")
    upstream.always("embeddings", Fault(status=401))
    report = await ingest(footnote, folder)
    assert states(report)["doc0.md"] == "failed"
    assert report.exit_code == 1
    assert report.stopped
    assert "text 0 tells" in footnote.document("doc0.md").text
    upstream.reset()
    report = await ingest(footnote, folder)
    assert (states(report)["doc0.md"], report.exit_code) == ("changed", 0)
    assert "text 77 tells" in footnote.document("doc0.md").text


async def test_a_burst_of_rate_limits_is_ridden_out(tmp_path: Path, folder: Path, upstream: Upstream) -> None:
    upstream.script("embeddings", None, *[Fault(status=429, headers={"retry-after-ms": "1"})] * 3)
    environ = {"OPENAI_BASE_URL": upstream.base_url, "RAG_CHUNKING_TOKENS": "64"}
    async with Footnote.open(tmp_path / "library", environ=environ) as footnote:
        report = await ingest(footnote, folder)
    assert report.exit_code == 0


async def test_a_night_of_faults_loses_nothing_and_pays_nothing_twice(
    footnote: Footnote, folder: Path, upstream: Upstream
) -> None:
    soon = {"retry-after-ms": "5"}
    faults = [Fault(status=429, headers=soon), Fault(status=503, headers=soon), None, Fault(status=500, headers=soon)]
    upstream.script("embeddings", None, *faults * 3)
    report = await ingest(footnote, folder)
    assert set(states(report).values()) == {"new"}
    assert max(upstream.embedded.values()) == 1
    assert report.exit_code == 0


async def test_an_endpoint_that_is_gone_is_said_to_be_and_its_files_are_listed(
    tmp_path: Path, folder: Path, upstream: Upstream
) -> None:
    environ = {"OPENAI_BASE_URL": upstream.base_url, "RAG_EMBEDDINGS_PATIENCE_S": "0.1"}
    async with Footnote.open(tmp_path / "library", environ=environ) as footnote:
        await footnote.wiring.new_config()
        upstream.always("embeddings", Fault(status=503, headers={"retry-after-ms": "20"}))
        report = await ingest(footnote, folder)
        assert (report.exit_code, set(states(report).values())) == (1, {"failed"})
        assert "no request has succeeded since" in report.stopped
        assert all(file.retriable for file in report.files)
        upstream.always("embeddings", Fault())
        assert (await ingest(footnote, folder)).exit_code == 0


async def test_the_vector_of_a_finished_request_is_never_paid_again(
    footnote: Footnote, folder: Path, upstream: Upstream
) -> None:
    upstream.script("embeddings", None, None, None, *[Fault(status=401)] * 50)
    assert (await ingest(footnote, folder)).exit_code == 1
    paid = n_sent(upstream)
    assert paid > 0
    upstream.reset()
    await ingest(footnote, folder)
    assert max(upstream.embedded.values()) == 1
    total = sum(len(footnote.collection().document_chunks(info.id)) for info in footnote.documents())
    assert paid + n_sent(upstream) == total


async def test_two_folders_share_a_collection_without_mixing_names(
    footnote: Footnote, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "manuals"
    other.mkdir()
    (other / "doc0.md").write_text("The pump runs at nine bar.", encoding="utf-8")
    await ingest(footnote, folder)
    await ingest(footnote, other)
    ids = {info.id for info in footnote.documents()}
    assert {"doc0.md", "manuals/doc0.md"} <= ids
    (other / "doc0.md").unlink()
    assert (await ingest(footnote, other)).removed == ("manuals/doc0.md",)
    assert {info.id for info in footnote.documents()} == ids - {"manuals/doc0.md"}


async def test_one_file_of_a_known_folder_is_brought_up_to_date_alone(footnote: Footnote, folder: Path) -> None:
    await ingest(footnote, folder)
    (folder / "doc4.md").write_text(prose(99), encoding="utf-8")
    (folder / "doc5.md").unlink()
    report = await ingest(footnote, folder / "doc4.md")
    assert (states(report), report.removed) == ({"doc4.md": "changed"}, ())
    assert len(footnote.documents()) == 6


async def test_progress_ends_where_the_report_does(footnote: Footnote, folder: Path) -> None:
    seen = []
    (report,) = await footnote.ingest(folder, on_progress=seen.append)
    last = seen[-1]
    assert (last.n_files, last.n_done) == (6, 6)
    assert last.n_tokens_embedded == report.n_tokens_embedded
    assert [item.n_done for item in seen] == sorted(item.n_done for item in seen)


async def test_cancelling_keeps_what_was_stored(footnote: Footnote, folder: Path, upstream: Upstream) -> None:
    upstream.always("embeddings", Fault(delay_s=0.05))
    task = asyncio.create_task(ingest(footnote, folder))
    await asyncio.to_thread(upstream.wait_until, lambda: len(upstream.calls("embeddings")) >= 4)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    upstream.always("embeddings", Fault())
    assert (await ingest(footnote, folder)).exit_code == 0
    assert footnote.check() == []


async def test_a_project_can_be_moved_as_a_whole(tmp_path: Path, upstream: Upstream) -> None:
    project = tmp_path / "project"
    (project / "docs").mkdir(parents=True)
    (project / "docs" / "a.md").write_text(prose(1), encoding="utf-8")
    environ = {"OPENAI_BASE_URL": upstream.base_url}
    async with Footnote.open(project / ".footnote", environ=environ) as footnote:
        await ingest(footnote, project / "docs")
    paid = n_sent(upstream)
    project.rename(tmp_path / "moved")
    async with Footnote.open(tmp_path / "moved" / ".footnote", environ=environ) as footnote:
        report = await ingest(footnote, tmp_path / "moved" / "docs")
        assert (states(report), report.removed) == ({"a.md": "unchanged"}, ())
    assert n_sent(upstream) == paid


async def test_a_folder_takes_in_the_folders_that_were_ingested_before_it(
    footnote: Footnote, folder: Path, upstream: Upstream
) -> None:
    inner = folder / "inner"
    inner.mkdir()
    (inner / "x.md").write_text(prose(55), encoding="utf-8")
    await ingest(footnote, inner)
    report = await ingest(footnote, folder)
    assert n_sent(upstream) == footnote.status().n_chunks
    ids = [info.id for info in footnote.documents()]
    assert len(ids) == 7
    assert [path for path in ids if path.endswith("x.md")] == ["docs/inner/x.md"]
    assert states(report)["docs/inner/x.md"] == "renamed"


async def test_the_library_is_never_read_into_itself(tmp_path: Path, upstream: Upstream) -> None:
    (tmp_path / "a.md").write_text(prose(1), encoding="utf-8")
    async with Footnote.open(tmp_path / "library", environ={"OPENAI_BASE_URL": upstream.base_url}) as footnote:
        await ingest(footnote, tmp_path)
        await footnote.upload("b.md", prose(2).encode())
        report = await ingest(footnote, tmp_path)
        assert states(report) == {"a.md": "unchanged", "library/": "skipped"}
        assert {info.id.rpartition("/")[2] for info in footnote.documents()} == {"a.md", "b.md"}


async def test_a_rebuild_keeps_what_was_uploaded_and_says_what_is_gone(footnote: Footnote, folder: Path) -> None:
    other = folder.parent / "other"
    other.mkdir()
    (other / "y.md").write_text(prose(66), encoding="utf-8")
    await ingest(footnote, folder)
    await ingest(footnote, other)
    await footnote.upload("up.md", prose(67).encode())
    (other / "y.md").unlink()
    other.rmdir()
    reports = await footnote.ingest(folder, rebuild=True)
    assert [path for report in reports for path in report.removed] == ["other/y.md"]
    assert {info.id.rpartition("/")[2] for info in footnote.documents()} == {"up.md", *(f"doc{i}.md" for i in range(6))}
    assert footnote.collections() == ["default"]
    assert footnote.check() == []


async def test_an_upload_can_be_deleted_with_its_file(footnote: Footnote, folder: Path) -> None:
    await ingest(footnote, folder)
    (result,) = await footnote.upload("../odd name?.md", prose(68).encode())
    assert result.path.endswith("odd name_.md")
    await footnote.delete_document(result.path)
    await footnote.upload("another.md", prose(69).encode())
    assert {info.id.rpartition("/")[2] for info in footnote.documents()} == {
        "another.md",
        *(f"doc{i}.md" for i in range(6)),
    }
