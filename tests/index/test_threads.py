"""The store of conversations: whole turns whatever happens, one at a time, and pages of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.presence import Presence
from index.thread_records import Finished, OpenTurn, Thread
from index.threads import ThreadStore
from rag.answering.numbering import Passage, Version
from rag.errors import ThreadBusyError, ThreadError, ThreadNotFoundError

ROOT = Path(__file__).parents[2]
VERSION = Version("default", "moon.md", "ab" * 32)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ThreadStore]:
    opened = ThreadStore(tmp_path)
    yield opened
    opened.close()


def made(store: ThreadStore, title: str = "") -> Thread:
    return store.create(title=title, collections=(), metadata={})


def answer(text: str, *, passages: tuple[Passage, ...] = (), unknown: tuple[int, ...] = ()) -> Finished:
    return Finished("answer-1", text, None, unknown, {"id": "answer-1", "text": text}, passages)


def asked(store: ThreadStore, thread: Thread, question: str, reply: str) -> None:
    store.finish(store.begin(thread.id, question).turn, answer(reply))


def test_a_turn_is_an_answer_with_its_question(store: ThreadStore) -> None:
    thread = made(store)
    asked(store, thread, "How far?", "384,400 km [1]")
    (turn,) = store.turns(thread.id, limit=9)
    assert (turn.turn, turn.question, turn.state, turn.answer) == (1, "How far?", "answered", "384,400 km [1]")
    assert turn.record == {"id": "answer-1", "text": "384,400 km [1]"}


def test_text_that_is_no_unicode_and_nul_come_back_as_they_went_in(store: ThreadStore) -> None:
    thread = made(store)
    asked(store, thread, "lone \udc80 and \0 nul 元", "so \udcff\0 it is")
    (turn,) = store.turns(thread.id, limit=9)
    assert (turn.question, turn.answer) == ("lone \udc80 and \0 nul 元", "so \udcff\0 it is")


def test_one_question_at_a_time_in_whatever_store(store: ThreadStore, tmp_path: Path) -> None:
    thread = made(store)
    begun = store.begin(thread.id, "first")
    other = ThreadStore(tmp_path)  # as another process would
    for one in (store, other):
        with pytest.raises(ThreadBusyError, match=r"question 1 .* is being answered"):
            one.begin(thread.id, "second")
        with pytest.raises(ThreadBusyError):
            one.delete(thread.id)
    assert [turn.state for turn in other.turns(thread.id, limit=9)] == ["open"]
    store.finish(begun.turn, answer("one"))
    assert other.begin(thread.id, "second").turn.turn == 2
    other.close()


def test_of_many_at_once_one_is_let_in(store: ThreadStore) -> None:
    thread = made(store)
    barrier, let_in, refused = threading.Barrier(8), [], []

    def ask() -> None:
        barrier.wait()
        try:
            let_in.append(store.begin(thread.id, "me").turn)
        except ThreadBusyError as error:
            refused.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert (len(let_in), len(refused)) == (1, 7)


def test_a_turn_of_a_process_that_ended_is_interrupted_and_the_thread_goes_on(tmp_path: Path) -> None:
    first = ThreadStore(tmp_path)
    thread = made(first)
    asked(first, thread, "one", "1")
    first.begin(thread.id, "two")
    first.close()  # drops the lock, as dying does
    second = ThreadStore(tmp_path)
    assert [turn.state for turn in second.turns(thread.id, limit=9)] == ["answered", "interrupted"]
    begun = second.begin(thread.id, "three")
    assert (begun.turn.turn, [turn.question for turn in begun.earlier]) == (3, ["one"])
    second.close()


def test_a_failed_question_keeps_its_reason_and_is_no_history(store: ThreadStore) -> None:
    thread = made(store)
    store.fail(store.begin(thread.id, "one").turn, "failed", "the endpoint is away; ask again")
    store.fail(store.begin(thread.id, "two").turn, "cancelled")
    begun = store.begin(thread.id, "three")
    assert begun.earlier == ()
    states = [(turn.state, turn.reason, turn.record) for turn in store.turns(thread.id, limit=2)]
    assert states == [("failed", "the endpoint is away; ask again", None), ("cancelled", "", None)]


def test_an_answer_without_a_place_is_refused(store: ThreadStore) -> None:
    thread = made(store)
    turn = store.begin(thread.id, "one").turn
    store.fail(turn, "cancelled")
    with pytest.raises(ThreadError, match="no place to be stored in"):
        store.finish(turn, answer("late"))
    with pytest.raises(ThreadError, match="no place to be stored in"):
        store.finish(OpenTurn("thread-of-nobody", 1), answer("late"))
    assert [one.state for one in store.turns(thread.id, limit=9)] == ["cancelled"]


def test_numbers_and_what_was_cited_under_them_are_kept(store: ThreadStore) -> None:
    thread = made(store)
    first = Passage(1, VERSION, 0, 100, ((10, 20),))
    store.finish(store.begin(thread.id, "one").turn, answer("1", passages=(first,), unknown=(7,)))
    begun = store.begin(thread.id, "two")
    assert (begun.passages, begun.taken) == ((first,), frozenset({7}))
    again = Passage(1, VERSION, 0, 100, ((10, 20), (30, 40)))
    # 1 is written without being given: it names what it named
    store.finish(begun.turn, answer("2", passages=(again, Passage(2, VERSION, 500, 600)), unknown=(1,)))
    whole = store.whole(thread.id)
    assert (whole.passages, whole.taken) == ((again, Passage(2, VERSION, 500, 600)), frozenset({7}))


def test_pages_of_threads_come_by_their_last_change(tmp_path: Path) -> None:
    times = iter(range(1000))
    store = ThreadStore(tmp_path, clock=lambda: float(next(times)))
    threads = [made(store, f"t{n}") for n in range(5)]
    asked(store, threads[1], "q", "a")
    seen, after = [], ""
    while True:
        page = store.page(limit=2, after=after)
        seen += [thread.title for thread in page.threads]
        if page.next_after is None:
            break
        after = page.next_after
    assert seen == ["t1", "t4", "t3", "t2", "t0"]
    with pytest.raises(ThreadError, match="begin without `after`"):
        store.page(limit=2, after="nonsense")
    store.close()


def test_turns_come_in_pages_too(store: ThreadStore) -> None:
    thread = made(store)
    for n in range(5):
        asked(store, thread, f"q{n}", f"a{n}")
    assert [turn.question for turn in store.turns(thread.id, limit=2, after=2)] == ["q2", "q3"]


def test_a_deleted_thread_takes_everything_with_it(store: ThreadStore, tmp_path: Path) -> None:
    thread = made(store)
    store.finish(store.begin(thread.id, "one").turn, answer("1", passages=(Passage(1, VERSION, 0, 9),)))
    store.delete(thread.id)
    with pytest.raises(ThreadNotFoundError, match="rag threads"):
        store.get(thread.id)
    with store._database.reading() as connection:
        left = [connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("turns", "numbers")]
    assert left == [0, 0]


def test_what_is_put_is_what_was_taken_out(store: ThreadStore, tmp_path: Path) -> None:
    thread = store.create(title="T", collections=("a", "b"), metadata={"who": "元"})
    store.finish(store.begin(thread.id, "one").turn, answer("1", passages=(Passage(1, VERSION, 0, 9),), unknown=(4,)))
    store.fail(store.begin(thread.id, "two").turn, "failed", "why")
    whole = store.whole(thread.id)
    other = ThreadStore(tmp_path / "other")
    (put,) = other.put([whole])
    assert other.whole(put.id) == whole
    (again,) = other.put([whole])
    assert again.id != put.id
    other.close()


def test_a_name_lives_as_long_as_its_process(tmp_path: Path) -> None:
    one, other = Presence(tmp_path), Presence(tmp_path)
    name = one.name
    assert other.is_alive(name)
    assert other.is_alive(name)  # looking at it does no harm
    assert not other.is_alive("")
    assert not other.is_alive("0" * 16)
    one.close()
    assert not other.is_alive(name)
    assert list(tmp_path.glob("*.lock")) == []


def test_the_files_of_those_who_died_are_cleaned_away_and_those_of_the_living_stay(tmp_path: Path) -> None:
    living = Presence(tmp_path)
    (tmp_path / "dead.lock").touch()
    (tmp_path / "young.lock").touch()
    for name in (living.name, "dead"):
        os.utime(tmp_path / f"{name}.lock", (1.0, 1.0))
    other = Presence(tmp_path)
    names = {living.name, other.name, "young"}
    assert {file.stem for file in tmp_path.glob("*.lock")} == names
    assert other.is_alive(living.name)
    living.close()
    other.close()


# --- whatever happens

STEPS = st.lists(st.sampled_from(["begin", "finish", "fail", "die"]), max_size=14)


@settings(max_examples=25)
@given(STEPS)
def test_any_order_of_turns_ends_and_deaths_keeps_whole_turns(steps: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = ThreadStore(Path(folder))
        thread = made(store)
        expected: list[tuple[str, str]] = []
        opened: OpenTurn | None = None
        for step in steps:
            if step == "begin" and opened is not None:
                with pytest.raises(ThreadBusyError):
                    store.begin(thread.id, "too early")
            elif step == "begin":
                opened = store.begin(thread.id, f"q{len(expected)}").turn
                expected.append((f"q{len(expected)}", "open"))
            elif step == "die":
                store.close()
                store = ThreadStore(Path(folder))
                if opened is not None:
                    expected[-1] = (expected[-1][0], "interrupted")
                opened = None
            elif opened is not None:
                question = expected[-1][0]
                if step == "finish":
                    store.finish(opened, answer(f"to {question}"))
                    expected[-1] = (question, "answered")
                else:
                    store.fail(opened, "failed", "why")
                    expected[-1] = (question, "failed")
                opened = None
        turns = store.turns(thread.id, limit=100)
        store.close()
    assert [(turn.question, turn.state) for turn in turns] == expected
    for turn in turns:
        whole = (f"to {turn.question}", {"id": "answer-1", "text": f"to {turn.question}"})
        assert (turn.answer, turn.record) == (whole if turn.state == "answered" else (None, None))


KILLED = """
import sys
from pathlib import Path
from index.threads import ThreadStore
from tests.index.test_threads import VERSION, answer
from rag.answering.numbering import Passage

store = ThreadStore(Path(sys.argv[1]))
thread = store.create(title="", collections=(), metadata={})
print(thread.id, flush=True)
for n in range(1, 100_000):
    begun = store.begin(thread.id, f"q{n}")
    store.finish(begun.turn, answer(f"a{n}" * 500, passages=(Passage(n, VERSION, n, n + 1),)))
    print(n, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("after", [1, 7])
def test_a_killed_process_leaves_every_committed_turn_whole(tmp_path: Path, after: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    thread_id = process.stdout.readline().strip()
    for _ in range(after):
        said = process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    told = [said, *process.stdout.read().splitlines()]
    process.stdout.close()
    process.wait()
    store = ThreadStore(tmp_path)
    whole = store.whole(thread_id)
    answered = [turn for turn in whole.turns if turn.state == "answered"]
    assert len(answered) >= int(told[-1])  # whatever was told of is there
    assert {turn.state for turn in whole.turns} <= {"answered", "interrupted"}
    for turn in answered:
        assert turn.answer == f"a{turn.turn}" * 500
        assert turn.record == {"id": "answer-1", "text": turn.answer}
    assert [passage.marker for passage in whole.passages] == [turn.turn for turn in answered]
    assert store.begin(thread_id, "and on").turn.turn == len(whole.turns) + 1
    store.close()
