"""Reading in child processes: whatever a reader does, its file alone pays for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from api.footnote import Footnote
from ingest.isolation import IsolatedReaders, ReadingLimits, ToRead
from rag.errors import DocumentReadError, RagError, UnsupportedFormatError
from rag.types import Document
from tests.upstream import Upstream

pytestmark = pytest.mark.usefixtures("started_readers")

ROOT = Path(__file__).parents[2]
HOSTILE = "tests.ingest.hostile_readers:read"
LIMITS = ReadingLimits(timeout_s=1.0, memory_mb=256, chars=1000)
linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")

Give = Callable[[str], Document]


def read_order(readers: IsolatedReaders, folder: Path, order: str) -> Document:
    """Read a file that tells the reader what to do."""
    path = folder / f"order{threading.get_ident()}.txt"
    path.write_text(order, encoding="utf-8")
    return readers.read(ToRead(path, "order.txt", len(order)))


@pytest.fixture
def readers() -> Iterator[IsolatedReaders]:
    with IsolatedReaders(LIMITS, reader=HOSTILE) as readers:
        yield readers


@pytest.fixture
def give(readers: IsolatedReaders, tmp_path: Path) -> Give:
    read_order(readers, tmp_path, "say ready")  # starting a process is not what these tests measure
    return lambda order: read_order(readers, tmp_path, order)


def n_children() -> int:
    found = 0
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended since
            found += len(path.read_text().split())
    return found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(holds: Callable[[], bool], *, timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not (held := holds()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return held


# --- what is read


def test_a_document_comes_back_as_the_reader_made_it() -> None:
    from ingest.readers import read

    path = ROOT / "examples/docs/vue/glossary.md"
    with IsolatedReaders() as readers:
        found = readers.read(ToRead(path, "vue/glossary.md", path.stat().st_size))
    assert found == read(path, document_id="vue/glossary.md")
    assert found.headings


def test_what_a_reader_refuses_is_refused_in_its_words(tmp_path: Path) -> None:
    archive, gone = tmp_path / "a.7z", tmp_path / "gone.txt"
    archive.write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(100))
    with IsolatedReaders() as readers:
        with pytest.raises(UnsupportedFormatError, match=r"^cannot read 'a\.7z': it is a 7-Zip archive"):
            readers.read(ToRead(archive, "a.7z", 106))
        with pytest.raises(DocumentReadError, match="No such file") as caught:
            readers.read(ToRead(gone, "gone.txt", 0))
    assert caught.value.retriable


def test_one_process_reads_file_after_file(give: Give) -> None:
    assert len({give("number").text for _ in range(5)}) == 1


def test_names_that_are_not_text_reach_the_reader(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.txt")
    path.write_text("say hello", encoding="utf-8")
    with IsolatedReaders(LIMITS, reader=HOSTILE) as readers:
        assert readers.read(ToRead(path, path.name, 9)).id == path.name


def test_what_a_reader_prints_goes_nowhere(give: Give, capfd: pytest.CaptureFixture[str]) -> None:
    assert give("print").text == "printed, stdin ''"
    assert capfd.readouterr() == ("", "")


def test_announced_files_are_read_before_they_are_asked_for(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.txt" for i in range(4)]
    for path in paths:
        path.write_text("sleep 0.2", encoding="utf-8")
    with IsolatedReaders(LIMITS, reader=HOSTILE) as readers:
        readers.announce(ToRead(path, path.name, 9) for path in paths)
        readers.read(ToRead(paths[0], paths[0].name, 9))
        time.sleep(0.9)
        started = time.monotonic()
        found = [readers.read(ToRead(path, path.name, 9)).id for path in paths[1:]]
        assert time.monotonic() - started < 0.2
    assert found == ["1.txt", "2.txt", "3.txt"]


@pytest.mark.parametrize(("order", "n_more"), [("say now", 0), ("sleep 0.3", 1)])
def test_more_processes_are_started_where_they_are_waited_for(tmp_path: Path, order: str, n_more: int) -> None:
    before = n_children()
    paths = [tmp_path / f"{i}.pdf" for i in range(5)]
    for path in paths:
        path.write_text(order, encoding="utf-8")
    with IsolatedReaders(LIMITS, reader=HOSTILE, n_ahead=1) as readers:
        readers.announce(ToRead(path, path.name, 9) for path in paths)
        assert [readers.read(ToRead(path, path.name, 9)).id for path in paths] == [path.name for path in paths]
        assert n_children() == before + 1 + n_more


def test_what_breaks_a_reader_is_found_among_files_that_were_sent_together(tmp_path: Path) -> None:
    orders = {f"{i:02}.txt": "say whole" for i in range(20)} | {"03.txt": "segfault", "11.txt": "sleep 30"}
    for name, order in orders.items():
        (tmp_path / name).write_text(order, encoding="utf-8")
    told = {}
    with IsolatedReaders(LIMITS, reader=HOSTILE) as readers:
        readers.announce(ToRead(tmp_path / name, name, 9) for name in sorted(orders))
        for name in sorted(orders):
            try:
                told[name] = readers.read(ToRead(tmp_path / name, name, 9)).text
            except DocumentReadError as error:
                told[name] = str(error)[:45]
    assert told.pop("03.txt") == "cannot read '03.txt': the reader crashed (sig"
    assert told.pop("11.txt") == "cannot read '11.txt': it was not read within "
    assert list(told.values()) == ["whole"] * 18


def test_a_file_read_ahead_that_breaks_its_reader_fails_when_its_turn_comes(tmp_path: Path) -> None:
    orders = {"a.txt": "say a", "b.txt": "segfault", "c.txt": "sleep 30", "d.txt": "say d"}
    told = []
    with IsolatedReaders(LIMITS, reader=HOSTILE, n_ahead=2) as readers:
        for name, order in orders.items():
            (tmp_path / name).write_text(order, encoding="utf-8")
        readers.announce(ToRead(tmp_path / name, name, 9) for name in orders)
        for name in orders:
            try:
                told.append(readers.read(ToRead(tmp_path / name, name, 9)).text)
            except DocumentReadError as error:
                told.append(str(error)[:31])
    assert told == ["a", "cannot read 'b.txt': the reader", "cannot read 'c.txt': it was not", "d"]


# --- what goes wrong


@pytest.mark.parametrize(
    ("order", "said", "retriable"),
    [
        ("sleep 30", "not read within 1 s", True),
        ("hold 30", "not read within 1 s", True),
        ("segfault", r"the reader crashed \(signal SIGSEGV\)", False),
        (f"signal {int(signal.SIGBUS)}", r"the reader crashed \(signal SIGBUS\)", False),
        (f"signal {int(signal.SIGABRT)}", r"gave up \(signal SIGABRT\).* needs more than 256 MB of memory", True),
        (f"signal {int(signal.SIGKILL)}", "killed from outside, for want of memory", True),
        ("exit 3", "ended with exit code 3", False),
        ("raise", "ended with exit code 1", False),
        ("multiply 500", "unfolds to 1,500 characters, more than the 1,240", False),
        pytest.param("eat 2000", r"needs more than 256 MB of memory .*parse_memory_mb", True, marks=linux),
    ],
)
def test_a_reader_that_breaks_fails_its_file_and_no_other(give: Give, order: str, said: str, retriable: bool) -> None:
    with pytest.raises(DocumentReadError, match=f"^cannot read 'order.txt': .*{said}") as caught:
        give(order)
    assert caught.value.retriable == retriable
    assert give("say still here").text == "still here"


def test_time_and_memory_grow_with_the_file() -> None:
    small, large = (LIMITS.request(ToRead(Path("a"), "a", size)) for size in (0, 20 * 1024 * 1024))
    assert (small.timeout_s, large.timeout_s) == (1.0, 2.0)
    assert large.max_bytes - small.max_bytes == 20 * 20 * 1024 * 1024
    assert large.max_chars > 20 * 20 * 1024 * 1024


@linux
def test_a_file_does_not_pay_for_what_others_left_in_the_process(give: Give) -> None:
    assert give("leak 200").text == "leaked"
    assert give("leak 100").text == "leaked"


def test_nothing_but_documents_is_unpickled(give: Give, tmp_path: Path) -> None:
    with pytest.raises(DocumentReadError, match="it sent something else than a document"):
        give(f"smuggle {tmp_path / 'made'}")
    assert not (tmp_path / "made").exists()


def test_an_error_that_is_not_about_the_file_is_raised_as_it_is(give: Give) -> None:
    with pytest.raises(RagError, match=r"^set tesseract to a program$") as caught:
        give("refuse set tesseract to a program")
    assert not isinstance(caught.value, DocumentReadError)


def test_a_process_that_cannot_start_says_why(tmp_path: Path) -> None:
    with (
        IsolatedReaders(LIMITS, reader="tests.ingest.nothing_there:read") as readers,
        pytest.raises(RagError, match=r"cannot start a process to read files: ModuleNotFoundError: .*nothing_there"),
    ):
        read_order(readers, tmp_path, "say hello")


# --- what is left behind


@linux
def test_no_process_is_left_after_a_close(tmp_path: Path) -> None:
    before = n_children()
    with IsolatedReaders(LIMITS, reader=HOSTILE) as readers:
        read_order(readers, tmp_path, "say hello")
        for order in ("segfault", "sleep 30"):
            with pytest.raises(DocumentReadError):
                read_order(readers, tmp_path, order)
        assert n_children() == before
        read_order(readers, tmp_path, "say hello")
        assert n_children() == before + 1
    assert n_children() == before


@linux
def test_what_a_reader_started_ends_with_it(give: Give, tmp_path: Path) -> None:
    with pytest.raises(DocumentReadError, match="not read within"):
        give(f"start {tmp_path / 'pids'}")
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert wait_until(lambda: not any(map(is_running, pids)))


def test_a_close_ends_what_is_being_read(tmp_path: Path) -> None:
    limits = ReadingLimits(timeout_s=60)
    caught: list[DocumentReadError] = []
    with IsolatedReaders(limits, reader=HOSTILE) as readers:
        read_order(readers, tmp_path, "say ready")

        def wait() -> None:
            try:
                read_order(readers, tmp_path, "sleep 60")
            except DocumentReadError as error:
                caught.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.2)
    thread.join(timeout=10)
    assert "the run was stopped" in str(caught[0])
    assert caught[0].retriable


PARENT = """
import sys, pathlib
from ingest.isolation import IsolatedReaders, ReadingLimits, ToRead
readers = IsolatedReaders(ReadingLimits(timeout_s=60), reader="tests.ingest.hostile_readers:read")
path = pathlib.Path(sys.argv[1])
print("started", flush=True)
try:
    readers.read(ToRead(path, "order.txt", 1))
finally:
    readers.close()
"""


@linux
def test_a_process_that_cannot_see_its_parent_die_ends_by_itself(tmp_path: Path) -> None:
    order = tmp_path / "order.txt"
    order.write_text(f"hold 60 {tmp_path / 'pid'}", encoding="utf-8")
    program = PARENT.replace("timeout_s=60", "timeout_s=1")
    parent = subprocess.Popen([sys.executable, "-c", program, str(order)], cwd=ROOT, stdout=subprocess.PIPE)
    assert wait_until(lambda: (tmp_path / "pid").exists())
    parent.kill()
    parent.communicate(timeout=10)
    assert wait_until(lambda: not is_running(int((tmp_path / "pid").read_text())))


@linux
@pytest.mark.parametrize("fatal", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_processes_end_with_their_parent_without_a_word(tmp_path: Path, fatal: signal.Signals) -> None:
    order, pids = tmp_path / "order.txt", tmp_path / "pids"
    order.write_text(f"start {pids}", encoding="utf-8")
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(order)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert wait_until(lambda: pids.exists() and " " in pids.read_text())
    parent.send_signal(fatal)
    _, errors = parent.communicate(timeout=10)
    reader, grandchild = map(int, pids.read_text().split())
    assert wait_until(lambda: not is_running(reader) and not is_running(grandchild))
    assert errors.count(b"Traceback") == (1 if fatal == signal.SIGINT else 0)  # the parent's own KeyboardInterrupt


# --- and in a whole ingest


async def test_a_file_that_takes_too_long_fails_and_the_others_are_indexed(tmp_path: Path, upstream: Upstream) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in "aceg":
        (folder / f"{name}.md").write_text(f"# About {name}\n\nSome words on {name}.\n", encoding="utf-8")
    # The parser of HTML takes time with the square of the depth: a minute for this.
    (folder / "d.html").write_bytes(b"<div>" * 200_000 + b"deep" + b"</div>" * 200_000)
    environ = {"OPENAI_BASE_URL": upstream.base_url, "RAG_INGEST_PARSE_TIMEOUT_S": "2"}
    async with Footnote.open(tmp_path / "library", environ=environ) as footnote:
        (report,) = await footnote.ingest(folder)
        assert [file.state for file in report.files] == ["indexed", "indexed", "failed", "indexed", "indexed"]
        (failed,) = report.failed
        assert failed.reason == (
            "cannot read 'd.html': it was not read within 2 s; convert it to a simpler format, or give it more time "
            "(ingest.parse_timeout_s)"
        )
        assert failed.retriable
        assert footnote.check() == []


@linux
async def test_a_run_that_is_stopped_while_a_file_is_read_ends_at_once(tmp_path: Path, upstream: Upstream) -> None:
    path = tmp_path / "d.html"
    path.write_bytes(b"<div>" * 200_000)
    before = n_children()
    async with Footnote.open(tmp_path / "library", environ={"OPENAI_BASE_URL": upstream.base_url}) as footnote:
        run = asyncio.create_task(footnote.ingest(path))
        assert await asyncio.to_thread(wait_until, lambda: n_children() > before)
        await asyncio.sleep(0.5)
        started = time.monotonic()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await asyncio.get_running_loop().shutdown_default_executor()
        assert time.monotonic() - started < 5
    assert n_children() == before


def test_asking_needs_no_processes() -> None:
    code = "import sys, api.cli.main, api.footnote, api.wiring; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not [name for name in ("'multiprocessing", "'ingest.isolation'", "'ingest.child'") if name in loaded]
