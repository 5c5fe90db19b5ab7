"""A large collection is searched through codes: what that finds is measured and kept up, and truth is not its price."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from index import vector_leg
from index.calibration import Aim, Calibration, Measured, exact_neighbours, made_questions, measure
from index.collection import Collection
from index.exact import ExactIndex
from index.filtering import AllowedRows
from index.library import Library
from index.records import CollectionConfig, LedgerEntry
from index.upkeep import Upkeep
from index.vector_rows import RowFile
from index.vectors import FaissIndex
from rag.errors import CollectionError
from rag.types import Chunk, ChunkingSettings, Document, Embeddings, FloatArray, chunk_id, content_address
from tests.index.test_vector_indexes import Shelf, dumped

D = 16
CONFIG = CollectionConfig("dots", D, "words", ChunkingSettings(64, 8))


def dots(seed: int, n: int, *, centre: int = 0) -> FloatArray:
    """Return unit vectors around twenty centres, which ``centre`` moves elsewhere."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(centre).standard_normal((20, D))
    vectors = centres[rng.integers(0, 20, n)] + 0.5 * rng.standard_normal((n, D))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def put(library: Library, collection: Collection, name: str, vectors: FloatArray, *, waits: bool = True) -> None:
    """Store a document with a chunk for each vector, and wait for the upkeep of the index."""
    pieces = [f"{name} {place:05d}" for place in range(len(vectors))]
    text = "".join(pieces)
    addresses = [content_address(piece) for piece in pieces]
    library.vectors.put(collection.space, addresses, Embeddings(vectors, np.ones(len(vectors), np.bool_), 0))
    document, chunks, at = Document(name, name, text, name, "text/plain", "text 1"), [], 0
    for piece in pieces:
        chunks.append(Chunk(chunk_id(name, at, piece), name, at, at + len(piece), piece, 2))
        at += len(piece)
    entry = LedgerEntry(name, "/docs", "indexed", name, n_chunks=len(chunks), reader="text 1")
    with collection.writer("test") as writer:
        writer.replace(document, chunks, entry=entry)
    if waits:
        collection._vector_leg.wait()


@contextmanager
def opened(folder: Path, *, target: float = 0.95) -> Iterator[tuple[Library, Collection]]:
    """Lend a collection that is searched through codes from 200 chunks on, and through cells from 400."""
    with Library.open(folder, create=True, exact_limit=200, cells_limit=400, recall_target=target) as library:
        there = "main" in library.collections()
        yield library, library.open_collection("main") if there else library.create("main", CONFIG)


def recall(collection: Collection, questions: FloatArray) -> float:
    """Return recall@10 against exact search over all vectors of the collection."""
    rows = np.array(collection.rows(), np.int64)
    exact = exact_neighbours(questions, [(rows, collection.vectors_of(rows.tolist()))])
    found = [[row for row, _ in collection.search_vectors(question, k=10)] for question in questions]
    return float(np.mean([np.isin(wanted, rows) for wanted, rows in zip(exact, found, strict=True)]))


# --- the index


def cells(vectors: FloatArray) -> tuple[FaissIndex, ExactIndex, Shelf]:
    shelf, exact = Shelf(D), ExactIndex(D)
    rows = np.arange(len(vectors)) * 3
    index = FaissIndex(D, lookup=shelf.look_up, exact_limit=10, cells_limit=20)
    index.expect(len(vectors), lambda _: vectors)
    shelf.keep(rows, vectors)
    for each in (index, exact):
        each.add(rows, vectors)
    return index, exact, shelf


def test_cells_find_what_exact_search_finds_when_all_are_scanned() -> None:
    index, exact, _ = cells(dots(1, 900))
    assert index.kind == "ivf-rabitq"
    index.aim = Aim(index.n_cells, 900)
    index.remove(np.arange(0, 300, 3))
    exact.remove(np.arange(0, 300, 3))
    assert index.rows().tolist() == exact.rows().tolist()
    for question in dots(2, 20):
        found, wanted = index.search(question, k=10), exact.search(question, k=10)
        assert [row for row, _ in found] == [row for row, _ in wanted]
        assert [score for _, score in found] == pytest.approx([score for _, score in wanted], abs=1e-5)


def test_cells_come_back_from_a_dump() -> None:
    index, _, shelf = cells(dots(1, 900))
    loaded = FaissIndex.load(dumped(index), dimensions=D, lookup=shelf.look_up)
    assert (loaded.kind, loaded.n_cells) == ("ivf-rabitq", index.n_cells)
    assert loaded.search(dots(3, 1)[0], k=20) == index.search(dots(3, 1)[0], k=20)
    assert loaded.remove(np.array([0, 3])) == 2


@pytest.mark.parametrize("limits", [(10**6, 10**6), (10, 10**6), (10, 20)], ids=["flat", "codes", "cells"])
@pytest.mark.parametrize("subset", [0, 10**6], ids=["by selector", "one by one"])
def test_a_filter_is_exact_before_the_search(
    limits: tuple[int, int], subset: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.vectors._SUBSET", subset)
    vectors, shelf, exact = dots(1, 900), Shelf(D), ExactIndex(D)
    index = FaissIndex(D, lookup=shelf.look_up, exact_limit=limits[0], cells_limit=limits[1])
    index.expect(900, lambda _: vectors)
    shelf.keep(np.arange(900), vectors)
    for each in (index, exact):
        each.add(np.arange(900), vectors)
    index.aim = Aim(index.n_cells, 900)
    for rows in (np.arange(0, 900, 7), np.array([899]), np.array([], np.int64)):
        allowed = AllowedRows(rows, 1, 1)
        for question in dots(2, 5):
            found = index.search(question, k=10, allowed=allowed)
            assert [row for row, _ in found] == [row for row, _ in exact.search(question, k=10, allowed=allowed)]


class Counted(Shelf):
    """Counts the vectors that are looked up."""

    n_read = 0

    def look_up(self, rows: np.ndarray) -> tuple[np.ndarray, FloatArray]:  # type: ignore[type-arg]
        self.n_read += len(rows)
        return super().look_up(rows)


def test_no_more_vectors_are_read_than_may_matter() -> None:
    n, rng = 4000, np.random.default_rng(4)
    vectors = rng.standard_normal((n, 64)).astype(np.float32)
    vectors[:30] += 8 * np.eye(64, dtype=np.float32)[0]  # thirty that point one way, all others anywhere
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    shelf, exact = Counted(64), ExactIndex(64)
    index = FaissIndex(64, lookup=shelf.look_up, exact_limit=10, cells_limit=20)
    index.expect(n, lambda _: vectors)
    shelf.keep(np.arange(n), vectors)
    for each in (index, exact):
        each.add(np.arange(n), vectors)
    index.aim = Aim(index.n_cells, 2000)
    n_read = {}
    for name, questions in (("near ones", vectors[:20]), ("none", vectors[100:120] - vectors[200:220])):
        shelf.n_read, shares = 0, []
        for question in questions:
            question = question / np.linalg.norm(question)
            wanted = {row for row, _ in exact.search(question, k=10)}
            shares.append(len(wanted & {row for row, _ in index.search(question, k=10)}) / 10)
        n_read[name] = shelf.n_read / len(questions)
        assert np.mean(shares) >= 0.98
    assert n_read["near ones"] < 0.3 * 2000, "the thirty stand out, so that few beyond the first are worth a look"
    assert n_read["near ones"] < n_read["none"] < 2000
    shelf.n_read = 0
    assert len(index.search(vectors[0], k=100)) == 100
    assert shelf.n_read >= 400, "four for each that is wanted"


def test_what_is_measured_is_what_is_rescored() -> None:
    index, _, shelf = cells(dots(1, 900))
    lookups: list[set[int]] = []

    def look_up(rows: np.ndarray) -> tuple[np.ndarray, FloatArray]:  # type: ignore[type-arg]
        lookups.append(set(rows.tolist()))
        return shelf.look_up(rows)

    index = FaissIndex.load(dumped(index), dimensions=D, lookup=look_up)
    index.aim = Aim(10, 600)
    for question in dots(2, 10):
        lookups.clear()
        candidates = index.candidates(question, index.aim)
        lookups.clear()
        index.search(question, k=10)
        assert set().union(*lookups) == set(candidates.tolist())


@pytest.mark.parametrize("limits", [(10, 10**6), (10, 20)], ids=["codes", "cells"])
def test_a_narrow_filter_is_exact_even_where_chunks_are_alike(limits: tuple[int, int]) -> None:
    vectors = dots(1, 3000)
    vectors[1000:2000] = vectors[:1000]  # each of these is there twice
    shelf = Shelf(D)
    index = FaissIndex(D, lookup=shelf.look_up, exact_limit=limits[0], cells_limit=limits[1])
    index.expect(3000, lambda _: vectors)
    shelf.keep(np.arange(3000), vectors)
    index.add(np.arange(3000), vectors)
    index.aim = Aim(1, 1)  # as good as blind where it is not exact
    rng = np.random.default_rng(5)
    for question in dots(2, 30):
        rows = np.sort(rng.choice(3000, 300, replace=False))
        found = index.search(question, k=10, allowed=AllowedRows(rows, 1, 1))
        cosines = vectors[rows].astype(np.float64) @ question.astype(np.float64)
        assert [score for _, score in found] == pytest.approx(np.sort(cosines)[::-1][:10].tolist(), abs=1e-6)
        by_row = dict(zip(rows.tolist(), cosines.tolist(), strict=True))
        assert all(by_row[row] == pytest.approx(score, abs=1e-6) for row, score in found)


# --- measuring


def test_recall_is_the_share_of_the_exact_neighbours_among_the_candidates() -> None:
    def search(question: FloatArray, aim: Aim) -> np.ndarray:  # type: ignore[type-arg]
        return np.array([1, 2, 7, 8] if aim.n_probed == 1 else [1, 2, 3, 4])

    questions, neighbours = np.eye(2, dtype=np.float32), np.array([[1, 2, 3, 4], [1, 2, 3, -1]])
    got = measure(search, questions, neighbours, probes=[1, 2], n_chunks=4)
    assert [(one.aim, round(one.recall, 4)) for one in got.measured] == [(Aim(1, 4), 0.5833), (Aim(2, 4), 1.0)]
    assert got.measured[0].at_least < got.measured[0].recall


def test_the_cheapest_aim_that_surely_reaches_the_target_is_chosen() -> None:
    measured = (
        Measured(Aim(8, 100), 0.97, 0.95),
        Measured(Aim(8, 400), 0.99, 0.975),
        Measured(Aim(64, 400), 0.995, 0.985),
    )
    calibration = Calibration(measured, 200, 1000, 0.0)
    wanted = {0.9: Aim(8, 100), 0.95: Aim(8, 400), 0.97: Aim(64, 400), 0.98: Aim(64, 400), 0.999: Aim(64, 400)}
    assert {target: calibration.chosen(target).aim for target in wanted} == wanted
    assert Calibration.from_json(calibration.to_json()) == calibration


def test_exact_neighbours_in_parts_are_those_of_exact_search() -> None:
    vectors, questions, index = dots(1, 50), made_questions(dots(1, 50), n=9, seed=3), ExactIndex(D)
    index.add(np.arange(50), vectors)
    parts = ((np.arange(at, at + 7), vectors[at : at + 7]) for at in range(0, 49, 7))
    got = exact_neighbours(questions, [*parts, (np.array([49]), vectors[49:])])
    assert np.allclose(np.linalg.norm(questions, axis=1), 1, atol=1e-5)
    for found, question in zip(got, questions, strict=True):
        assert sorted(found.tolist()) == sorted(row for row, _ in index.search(question, k=10))


# --- vectors on disk


def test_a_record_that_is_not_as_written_is_not_there(tmp_path: Path) -> None:
    path, vectors = tmp_path / "vectors.f32", dots(1, 5)
    rows = np.array([3, 4, 9, 1, 2**20])
    RowFile(path, model="m", dimensions=D, mark="x").write(rows, vectors)
    assert path.stat().st_blocks * 512 < 2**20  # what was never written takes no room
    with path.open("r+b") as file:
        file.seek(4096 + 4 * (16 + 4 * D) + 20)
        file.write(b"\xff")
    file_of = RowFile(path, model="m", dimensions=D, mark="x")
    there, found = file_of.read(np.array([2, 3, 4, 9, 2**20, 2**21]))
    assert there.tolist() == [False, True, False, True, True, False]
    assert np.array_equal(found, vectors[[0, 2, 4]])
    file_of.write(np.array([4]), vectors[1:2])
    assert np.array_equal(file_of.read(np.array([4]))[1], vectors[1:2])
    for other in ({"model": "n"}, {"mark": "y"}):
        assert not RowFile(path, **{"model": "m", "dimensions": D, "mark": "x", **other}).read(rows)[0].any()  # type: ignore[arg-type]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:9000])


def garble(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:4096] + b"\x55" * 20_000)


@pytest.mark.parametrize("damage", [Path.unlink, cut, garble], ids=["lost", "torn", "altered"])
def test_damage_to_the_vectors_beside_the_index_changes_no_answer(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    with opened(tmp_path) as (library, collection):
        put(library, collection, "a", dots(1, 600))
        before = [collection.search_vectors(question, k=10) for question in dots(2, 10)]
    path = tmp_path / "collections" / "main" / "vectors.f32"
    damage(path)
    with opened(tmp_path) as (_, collection):
        assert [collection.search_vectors(question, k=10) for question in dots(2, 10)] == before
    assert path.stat().st_size > 30_000  # what was looked for is there again


# --- the collection


def test_status_tells_the_measured_recall_and_the_setting_decides_how_hard_is_searched(tmp_path: Path) -> None:
    with opened(tmp_path) as (library, collection):
        put(library, collection, "a", dots(1, 150))
        assert (collection.status().vectors.kind, collection.status().vectors.recall) == ("flat", None)
        put(library, collection, "b", dots(2, 600))
        said = collection.status().vectors
        assert said.kind in ("rabitq", "ivf-rabitq")
        assert said.recall is not None
        assert (said.recall.target, said.recall.n_chunks, said.recall.n_questions) == (0.95, 750, 200)
        assert said.recall.is_enough
        assert recall(collection, made_questions(dots(9, 300), seed=9)) >= 0.95
    with opened(tmp_path, target=0.5) as (_, collection):
        cheap = collection.status().vectors.recall
    assert cheap is not None
    assert (cheap.at, cheap.target) == (said.recall.at, 0.5)  # the same measure, another choice
    assert cheap.recall <= said.recall.recall


def test_a_collection_that_has_drifted_is_trained_anew_while_searches_go_on(tmp_path: Path) -> None:
    with opened(tmp_path) as (library, collection):
        put(library, collection, "a", dots(1, 500))
        assert collection.status().vectors.kind == "ivf-rabitq"
        first = collection.status().vectors.recall
        done, wrong = threading.Event(), []

        def look() -> None:
            try:
                while not done.is_set():
                    time.sleep(0.005)
                    for question in dots(1, 500)[:2]:  # each is a chunk that stays
                        (hit,) = collection.search_vectors(question, k=1)
                        if hit[1] < 0.999:
                            wrong.append(hit)
            except Exception as error:  # to be seen by the test, not by the thread's hook
                wrong.append(error)

        threads = [threading.Thread(target=look) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in range(2):
            put(library, collection, f"b{number}", dots(number, 1200, centre=7))
        with collection.writer("test") as writer:
            writer.remove("b0")
        done.set()
        for thread in threads:
            thread.join()
        said = collection.status().vectors.recall
        assert wrong == []
        assert first is not None
        assert said is not None
        assert said.at > first.at
        assert said.is_enough
        assert collection._vector_leg._index.n_cells > 60  # type: ignore[union-attr]  # it had 44, for 500
        assert recall(collection, made_questions(dots(3, 300, centre=7), seed=4)) >= 0.95
        assert collection.check() == []


def test_another_process_takes_over_what_was_trained(tmp_path: Path) -> None:
    with opened(tmp_path) as (library, collection), opened(tmp_path) as (_, reader):
        put(library, collection, "a", dots(1, 500))
        assert reader.search_vectors(dots(1, 500)[0], k=1)
        for number in range(2):
            put(library, collection, f"b{number}", dots(number, 1200, centre=7))
        reader.search_vectors(dots(1, 500)[0], k=1)
        assert reader._vector_leg._calibration == collection._vector_leg._calibration
        assert reader._vector_leg._index.n_cells == collection._vector_leg._index.n_cells  # type: ignore[union-attr]
        assert reader.check() == []


def test_an_index_of_an_earlier_format_is_built_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_leg, "_FORMAT", 1)
    with opened(tmp_path) as (library, collection):
        put(library, collection, "a", dots(1, 600))
        before = collection.search_vectors(dots(1, 600)[0], k=5)
    monkeypatch.undo()
    with opened(tmp_path) as (_, collection):
        assert collection.search_vectors(dots(1, 600)[0], k=5)[0] == before[0]
        assert collection.check() == []


def test_adding_to_a_large_collection_rebuilds_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as (library, collection):
        put(library, collection, "a", dots(1, 600))
        index, measured = collection._vector_leg._index, collection._vector_leg._calibration
        put(library, collection, "b", dots(5, 20))
        assert collection.search_vectors(dots(5, 20)[0], k=1)[0][1] == pytest.approx(1.0, abs=1e-5)
        with collection.writer("test") as writer:
            writer.remove("b")
        assert collection.search_vectors(dots(5, 20)[0], k=1)[0][1] < 0.999
        assert (collection._vector_leg._index, collection._vector_leg._calibration) == (index, measured)


# --- beside the writer


def held_up(monkeypatch: pytest.MonkeyPatch, name: str) -> tuple[threading.Event, threading.Event]:
    """Have a step of the upkeep stand still; return what is set when it has come, and what lets it go on."""
    came, go_on = threading.Event(), threading.Event()
    step = getattr(vector_leg, name)

    def slowly(*args: object, **settings: object) -> object:
        came.set()
        assert go_on.wait(20)
        return step(*args, **settings)

    monkeypatch.setattr(vector_leg, name, slowly)
    return came, go_on


@pytest.mark.parametrize("step", ["take_measure", "retrain"])
def test_neither_writers_nor_searches_wait_for_the_upkeep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with opened(tmp_path) as (library, collection):
        put(library, collection, "a", dots(1, 450))
        came, go_on = held_up(monkeypatch, step)
        put(library, collection, "b", dots(2, 500, centre=7), waits=False)
        assert came.wait(20)
        first = collection.status().vectors
        put(library, collection, "c", dots(3, 30), waits=False)  # another writer, while it stands still
        assert collection.search_vectors(dots(3, 30)[0], k=1)[0][1] == pytest.approx(1.0, abs=1e-5)
        with collection.writer("test") as writer:
            writer.remove("a")
        assert collection.search_vectors(dots(1, 450)[0], k=1)[0][1] < 0.999
        go_on.set()
        collection._vector_leg.wait()
        said = collection.status().vectors
        assert said.recall is not None
        assert first.recall is not None
        assert said.recall.at > first.recall.at
        assert collection._vector_leg._index.n_cells > 42  # type: ignore[union-attr]  # it had 42, for 450
        assert collection.search_vectors(dots(3, 30)[0], k=1)[0][1] == pytest.approx(1.0, abs=1e-5)
        assert collection.check() == [], "what came and went meanwhile was brought over"


def test_closing_waits_for_the_upkeep_so_that_it_is_not_begun_again_and_again(tmp_path: Path) -> None:
    with opened(tmp_path) as (library, collection):
        put(library, collection, "a", dots(1, 600), waits=False)
    with opened(tmp_path) as (_, collection):
        said = collection.status().vectors
        assert said.state == "current"
        assert said.recall is not None


def test_upkeep_of_a_collection_that_is_deleted_meanwhile_ends_in_a_word_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path) as (library, collection):
        came, go_on = held_up(monkeypatch, "take_measure")
        put(library, collection, "a", dots(1, 600), waits=False)
        assert came.wait(20)
        library.delete("main")
        go_on.set()
        collection._vector_leg.wait()
        assert library.collections() == []
        assert "upkeep of" in caplog.text


@pytest.mark.parametrize(("centre", "is_new"), [(0, False), (7, True)], ids=["the same subjects", "new subjects"])
def test_cells_are_trained_anew_where_what_comes_lies_far_from_them(tmp_path: Path, centre: int, is_new: bool) -> None:
    with opened(tmp_path) as (library, collection):
        put(library, collection, "a", dots(1, 2600))
        before = collection._vector_leg._calibration
        assert before is not None
        assert before.distance is not None
        put(library, collection, "b", dots(2, 150, centre=centre))  # too few to say anything
        assert collection._vector_leg._calibration == before
    with opened(tmp_path) as (library, collection):  # what was noticed is in the snapshot
        put(library, collection, "c", dots(3, 105, centre=centre))  # less than a tenth in all
        assert (collection._vector_leg._calibration != before) == is_new
        assert (collection._vector_leg._drift.n == 0) == is_new
        assert collection.check() == []


def test_work_that_is_asked_for_meanwhile_is_done_once_more() -> None:
    came, go_on, done = threading.Event(), threading.Event(), []

    def work() -> None:
        came.set()
        assert go_on.wait(20)
        done.append(len(done))
        if len(done) == 1:
            upkeep.wait()  # the work itself: it would wait for ever
            raise CollectionError("no room")

    upkeep = Upkeep(work, name="test")
    upkeep.wait()
    upkeep.ask()
    assert came.wait(20)
    for _ in range(3):
        upkeep.ask()
    go_on.set()
    upkeep.wait()
    assert done == [0, 1], "once, and once for all three"
    upkeep.ask()
    upkeep.wait()
    assert done == [0, 1, 2]
