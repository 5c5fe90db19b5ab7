"""The ``rag`` command as a user meets it: what is printed where, and with which exit status."""

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest

from api.cli.main import MODULES, main
from api.cli.output import report_lines, shown, size, where
from api.cli.parser import build_parser
from ingest.report import FileResult, IngestReport
from tests.ingest.pdf_bytes import pdf_bytes
from tests.upstream import Fault, Upstream
from tests.website import Website, page

ROOT = Path(__file__).parents[2]
DOCUMENTS = {
    "bridge.md": "# The bridge\n\nThe Golden Gate Bridge was opened on 27 May 1937. It is painted orange.\n",
    "whale.txt": "A blue whale can weigh 150 tonnes. It eats four tonnes of krill a day.\n",
    "茶.md": "# 绿茶\n\n绿茶的冲泡水温应为八十度。红茶的冲泡水温应为九十五度。\n",
}

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def rag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an empty folder, with no key and no settings but those given."""
    for name in list(os.environ):
        if name.startswith(("RAG_", "OPENAI_")) or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    (tmp_path / "docs").mkdir()
    for name, text in DOCUMENTS.items():
        (tmp_path / "docs" / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def run(*argv: str, **environ: str) -> tuple[int, str, str]:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        try:
            status = main(argv)
        except SystemExit as error:
            status = int(error.code or 0)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def test_a_folder_in_and_a_cited_answer_out(rag: Run) -> None:
    status, out, err = rag("ingest", "docs")
    assert (status, "3 files: 3 indexed" in out) == (0, True)
    assert "3 of 3 files" in err, "progress goes to standard error"
    status, out, _ = rag("ask", "When was the Golden Gate Bridge opened?")
    assert status == 0
    assert "opened on 27 May 1937" in out
    assert re.search(
        r"^\[1\] bridge\.md § [^:]+, line 3: “The Golden Gate Bridge was opened on 27 May 1937\.”$", out, re.MULTILINE
    )


def test_a_chinese_question_is_answered_from_a_chinese_document(rag: Run) -> None:
    rag("ingest", "docs", "-q")
    _, out, _ = rag("ask", "绿茶的冲泡水温应为多少度？")
    assert "八十度" in out
    assert "[1] 茶.md § 绿茶, line 3: “" in out


def test_what_the_documents_do_not_say_is_said_so_and_is_no_failure(rag: Run) -> None:
    rag("ingest", "docs", "-q")
    status, out, _ = rag("ask", "Who composed the opera Tosca?", "--json")
    answer = json.loads(out)
    assert (status, answer["answer"]["answered"], answer["answer"]["citations"]) == (0, False, [])


def test_links_lead_to_the_service_and_the_page_of_an_answer_is_opened(
    rag: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: not opened.append(address))
    rag("ingest", "docs")
    question = "How many tonnes can a blue whale weigh?"
    _, plain, _ = rag("ask", question)
    _, links, said = rag("ask", question, "--links", "--open")
    assert "http" not in plain
    assert "    http://127.0.0.1:8000/collections/default/source/whale.txt?highlight=" in links
    page = Path(url2pathname(urlsplit(opened[0]).path))
    assert f"opened {page}" in said
    assert "<mark>" in page.read_text(encoding="utf-8")
    page.unlink()
    _, addressed, _ = rag("ask", question, RAG_SERVER_ADDRESS="https://docs.example.org/rag/")
    assert "    https://docs.example.org/rag/collections/default/source/whale.txt?highlight=" in addressed


def test_json_holds_a_citation_that_can_be_checked(rag: Run) -> None:
    rag("ingest", "docs", "-q")
    _, out, _ = rag("ask", "How much can a blue whale weigh?", "--json")
    citation = json.loads(out)["answer"]["citations"][0]
    assert citation["document"] == "whale.txt"
    assert DOCUMENTS["whale.txt"][citation["start"] : citation["end"]] == citation["quote"]


def test_events_come_one_a_line_sources_first_answer_last(rag: Run) -> None:
    rag("ingest", "docs", "-q")
    _, out, _ = rag("ask", "How much can a blue whale weigh?", "--json", "--events")
    types = [json.loads(line)["type"] for line in out.splitlines()]
    assert (types[0], types[-1]) == ("retrieved", "answer")
    assert {"delta", "citation"} <= set(types)


def test_search_prints_hits_with_place_and_score(rag: Run) -> None:
    rag("ingest", "docs", "-q")
    _, out, _ = rag("search", "krill", "-k", "1")
    assert re.match(r" 1\. \d\.\d\d  whale\.txt", out)
    _, out, _ = rag("search", "krill", "-k", "2", "--json")
    hits = [json.loads(line) for line in out.splitlines()]
    assert (len(hits), hits[0]["document"], hits[0]["place"]) == (2, "whale.txt", "line 1")


def test_a_search_shows_how_relevant_hits_are_and_leaves_out_what_is_less(rag: Run) -> None:
    rag("ingest", "docs", "-q")
    _, out, _ = rag("search", "krill", "-k", "9", "--json")
    told = [json.loads(line)["relevance"] for line in out.splitlines()]
    _, out, _ = rag("search", "krill", "-k", "9", "--json", "--min-score", str(max(told)))
    assert [json.loads(line)["relevance"] for line in out.splitlines()] == [max(told)]
    assert f"relevance {max(told):.2f}" in rag("search", "krill", "-k", "1")[1]
    status, out, err = rag("search", "krill", "--min-score", "1")
    assert (status, out) == (0, "")
    assert "no passage is relevant enough" in err
    assert rag("search", "krill", "--min-score", "2")[0] == 1


def test_a_question_can_come_from_standard_input(rag: Run, tmp_path: Path) -> None:
    rag("ingest", "docs", "-q")
    done = subprocess.run(
        [sys.executable, "-m", "api.cli.main", "ask", "-", "--library", str(tmp_path / ".footnote")],
        input="How much krill does a blue whale eat?",
        env={"PATH": os.environ["PATH"], "PYTHONUTF8": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "four tonnes of krill" in done.stdout


def test_chat_remembers_and_starts_over(rag: Run, tmp_path: Path) -> None:
    rag("ingest", "docs", "-q")
    done = subprocess.run(
        [sys.executable, "-m", "api.cli.main", "chat", "--library", str(tmp_path / ".footnote")],
        input="How much can a blue whale weigh?\n\n/new\nWhen was the Golden Gate Bridge opened?\n/quit\nnever asked\n",
        env={"PATH": os.environ["PATH"], "PYTHONUTF8": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.index("150 tonnes") < done.stdout.index("27 May 1937")


def test_a_failed_file_gives_status_1_and_says_why(rag: Run, tmp_path: Path) -> None:
    (tmp_path / "docs" / "broken.pdf").write_bytes(b"%PDF-1.4 broken")
    status, out, _ = rag("ingest", "docs", "-q")
    assert (status, "1 failed" in out) == (1, True)
    assert re.search(r"^  failed +broken\.pdf: \S", out, re.MULTILINE)
    status, out, _ = rag("status", "--files", "failed")
    assert (status, out.splitlines()[-1].startswith("failed       broken.pdf: ")) == (0, True)


def test_ingest_as_json_is_one_object(rag: Run) -> None:
    _, out, _ = rag("ingest", "docs", "-q", "--json")
    report = json.loads(out)
    assert report["counts"]["indexed"] == 3
    assert sum(report["counts"].values()) == len(report["files"])


def test_excluded_files_are_listed_as_skipped(rag: Run) -> None:
    _, out, _ = rag("ingest", "docs", "-q", "--exclude", "*.txt", "-v")
    assert re.search(r"^  skipped +whale\.txt: ", out, re.MULTILINE)


def test_status_and_check_say_that_all_agrees(rag: Run) -> None:
    rag("ingest", "docs", "-q")
    status, out, _ = rag("status", "--check")
    assert status == 0
    assert "documents    3" in out
    assert "everything agrees" in out
    _, out, _ = rag("status", "--json")
    assert json.loads(out)["n_documents"] == 3


def alter(path: Path, before: bytes, after: bytes) -> None:
    """Change bytes of a database, as a disk does."""
    data = path.read_bytes()
    assert before in data
    path.write_bytes(data.replace(before, after, 1))


def test_what_a_disk_has_altered_is_said_mended_and_read_again_by_the_command_that_is_named(
    rag: Run, tmp_path: Path
) -> None:
    rag("ingest", "docs", "-q")
    alter(tmp_path / ".footnote" / "collections" / "default" / "collection.db", b"150 tonnes", b"151 tonnes")
    status, _, err = rag("search", "whale")
    assert (status, err.count("\n"), "`rag status --repair`" in err) == (1, 1, True)
    status, out, _ = rag("status", "--check")
    assert (status, "  whale.txt: its text is not as it was written" in out) == (1, True)
    status, out, _ = rag("status", "--repair")
    assert (status, "repaired     1 things" in out, "taken out of the search" in out) == (1, True, True)
    assert rag("ask", "When was the Golden Gate Bridge opened?")[0] == 0
    assert "whale.txt: waits to be read again" in rag("status")[1]
    status, out, _ = rag("status", "--repair", "--json")
    said = json.loads(out)
    assert (status, said["repaired"], list(said["waiting"].values())) == (1, [], [["whale.txt"]])
    [command] = said["next"]
    assert shlex.split(command) == ["rag", "ingest", str(tmp_path / "docs")]
    assert "1 indexed" in rag(*shlex.split(command)[1:], "-q")[1]
    assert rag("status", "--check")[0] == 0
    assert "whale.txt" in rag("search", "150 tonnes", "-k", "1")[1]


def test_a_vector_that_was_altered_is_the_only_one_embedded_again(rag: Run, tmp_path: Path, upstream: Upstream) -> None:
    rag("ingest", "docs", "-q", OPENAI_BASE_URL=upstream.base_url)
    with closing(sqlite3.connect(tmp_path / ".footnote" / "vectors.db")) as connection:
        (embedding,) = connection.execute("SELECT embedding FROM vectors WHERE number = 2").fetchone()
    alter(tmp_path / ".footnote" / "vectors.db", embedding, embedding[:-1] + bytes([embedding[-1] ^ 1]))
    status, out, _ = rag("status", "--repair")
    assert (status, "1 vectors were not as they were written: deleted" in out) == (1, True)
    upstream.embedded.clear()
    status, out, _ = rag("ingest", "docs", "-q")
    assert (status, sum(upstream.embedded.values())) == (0, 1)
    assert rag("status", "--check")[0] == 0


def test_a_collection_of_which_nothing_can_be_read_is_made_anew_at_no_cost(
    rag: Run, tmp_path: Path, upstream: Upstream
) -> None:
    rag("ingest", "docs", "-q", OPENAI_BASE_URL=upstream.base_url)
    database = tmp_path / ".footnote" / "collections" / "default" / "collection.db"
    database.write_bytes(b"overwritten by something else" * 1000)
    status, _, err = rag("status", "--repair")
    assert (status, err.count("\n"), "rag ingest --rebuild" in err) == (1, 1, True)
    upstream.embedded.clear()
    status, out, _ = rag("ingest", "docs", "-q", "--rebuild")
    assert (status, "3 indexed" in out, sum(upstream.embedded.values())) == (0, True, 0)
    assert rag("status", "--check")[0] == 0


def test_vectors_that_cannot_be_read_are_embedded_anew_by_the_commands_that_are_named(rag: Run, tmp_path: Path) -> None:
    rag("ingest", "docs", "-q")
    vectors = tmp_path / ".footnote" / "vectors.db"
    vectors.write_bytes(b"overwritten by something else" * 1000)
    status, _, err = rag("search", "whale")
    assert (status, "move it away, and run `rag ingest`, `rag status --repair` and `rag ingest`" in err) == (1, True)
    vectors.rename(tmp_path / "aside")
    rag("ingest", "docs", "-q")
    assert (rag("status", "--repair")[0], rag("ingest", "docs", "-q")[0], rag("status", "--check")[0]) == (1, 0, 0)
    assert "whale.txt" in rag("search", "150 tonnes", "-k", "1")[1]


def test_status_works_where_nothing_may_be_written(rag: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rag("ingest", "docs", "-q")
    before = {path: path.read_bytes() for path in (tmp_path / ".footnote").rglob("*") if path.is_file()}
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write anywhere
    status, out, _ = rag("status")
    assert (status, "documents    3" in out) == (0, True)
    assert {path: path.read_bytes() for path in (tmp_path / ".footnote").rglob("*") if path.is_file()} == before


def test_collections_are_listed_shown_and_deleted(rag: Run) -> None:
    assert "no collections" in rag("collections")[2]
    rag("ingest", "docs", "-q", "-c", "nature")
    assert rag("collections")[1].startswith("nature  3 documents")
    assert "whale.txt" in rag("collections", "show", "nature")[1]
    assert rag("collections", "create", "empty")[0] == 0
    status, _, err = rag("collections", "delete", "nature")
    assert (status, "needs --yes" in err) == (1, True)
    assert rag("collections", "delete", "nature", "--yes")[0] == 0
    assert rag("collections")[1].startswith("empty  0 documents")


def test_a_missing_library_says_what_to_run_and_leaves_no_folder_behind(rag: Run, tmp_path: Path) -> None:
    status, out, err = rag("ask", "anything")
    assert (status, out) == (1, "")
    assert "`rag ingest FOLDER`" in err
    assert not (tmp_path / ".footnote").exists()


def test_a_missing_collection_says_what_to_run(rag: Run) -> None:
    rag("ingest", "docs", "-q")
    status, out, err = rag("ask", "anything", "-c", "nowhere")
    assert (status, out) == (1, "")
    assert "rag ingest FOLDER -c nowhere" in err
    assert err.count("\n") == 1


def test_a_missing_folder_is_one_line_and_status_1(rag: Run) -> None:
    status, _, err = rag("ingest", "no-such-folder", "-q")
    assert (status, err.count("\n")) == (1, 1)
    assert "no-such-folder" in err


@pytest.mark.parametrize(
    "argv",
    [
        ["ask"],
        ["ingest"],
        ["nonsense"],
        ["search", "x", "-k", "many"],
        ["status", "--files", "odd"],
        ["eval", "questions.jsonl", "-c", "first", "-c", "second"],
    ],
    ids=lambda argv: " ".join(argv),
)
def test_wrong_usage_is_status_2(rag: Run, argv: list[str]) -> None:
    status, out, err = rag(*argv)
    assert (status, out) == (2, "")
    assert "usage: rag" in err


def test_a_wrong_setting_is_named(rag: Run) -> None:
    status, _, err = rag("search", "x", "--set", "retrieval.kk=3")
    assert (status, "did you mean 'retrieval.k'" in err) == (1, True)


def test_with_an_endpoint_the_same_commands_use_it(rag: Run, upstream: Upstream) -> None:
    upstream.reply = lambda request: "It opened in 1937 [1]."
    environ = {"OPENAI_BASE_URL": upstream.base_url}
    assert rag("ingest", "docs", "-q", **environ)[0] == 0
    status, out, _ = rag("ask", "When was the Golden Gate Bridge opened?", "--temperature", "0.5", "--seed", "7")
    assert status == 0
    assert out.startswith("It opened in 1937 [1].\n\n[1] ")
    sent = upstream.calls("chat")[-1].json
    assert (sent["temperature"], sent["seed"], sent["model"]) == (0.5, 7, "stub-chat")


def test_chat_from_one_provider_and_embedded_vectors_is_a_normal_set_up(rag: Run, upstream: Upstream) -> None:
    upstream.reply = lambda request: "Four tonnes [1]."
    environ = {"RAG_CHAT_BASE_URL": upstream.base_url, "RAG_CHAT_MODEL": "stub-chat"}
    assert rag("ingest", "docs", "-q", **environ)[0] == 0
    assert "Four tonnes [1]." in rag("ask", "How much krill does a whale eat?")[1]
    assert upstream.calls("embeddings") == []


def test_a_refused_key_is_one_line_with_advice(rag: Run, upstream: Upstream) -> None:
    rag("ingest", "docs", "-q")
    upstream.always("chat", Fault(status=401))
    status, _, err = rag(
        "ask", "How heavy is a whale?", RAG_CHAT_BASE_URL=upstream.base_url, RAG_CHAT_MODEL="stub-chat"
    )
    assert status == 1
    assert err.count("\n") == 1
    assert "key" in err


def test_a_collection_keeps_its_embedded_model_when_a_key_appears(rag: Run, upstream: Upstream) -> None:
    rag("ingest", "docs", "-q")
    assert rag("search", "krill", OPENAI_BASE_URL=upstream.base_url)[0] == 0
    assert upstream.calls("embeddings") == []
    status, _, err = rag(
        "search", "krill", RAG_EMBEDDINGS_BASE_URL=upstream.base_url, RAG_EMBEDDINGS_MODEL="stub-embedding"
    )
    assert (status, "--rebuild" in err) == (1, True)
    assert rag("ingest", "docs", "-q", "--rebuild")[0] == 0
    assert rag("search", "krill")[0] == 0
    assert "stub-embedding" in rag("status")[1]


def test_doctor_finds_everything_well_without_a_key(rag: Run) -> None:
    rag("ingest", "docs", "-q")
    status, out, _ = rag("doctor")
    assert (status, "PROBLEM" in out) == (0, False)
    assert "collection default: 3 documents" in out


def test_doctor_tells_a_wrong_key_and_what_to_do(rag: Run, upstream: Upstream) -> None:
    upstream.key = "right"
    status, out, _ = rag("doctor", OPENAI_BASE_URL=upstream.base_url, OPENAI_API_KEY="wrong")
    assert status == 1
    assert re.search(r"PROBLEM  chat: .*key", out)
    status, out, _ = rag("doctor", OPENAI_API_KEY="right")
    assert status == 0
    assert "stub-chat" in out


@pytest.mark.parametrize("command", sorted(MODULES))
def test_every_command_has_help_with_an_example(rag: Run, command: str) -> None:
    status, out, _ = rag(command, "--help")
    assert status == 0
    assert f"  rag {command}" in out


def test_every_command_of_the_parser_has_a_module() -> None:
    actions = [action for action in build_parser()._actions if action.dest == "command"]
    assert set(actions[0].choices or ()) == set(MODULES)


HEAVY = (
    "numpy",
    "faiss",
    "tantivy",
    "onnxruntime",
    "tiktoken",
    "tokenizers",
    "httpx2",
    "fastapi",
    "pypdf",
    "pypdfium2",
    "rich",
)


def loaded_by(*argv: str) -> set[str]:
    """Names of the heavy libraries that a command has imported when it ends."""
    script = (
        "import sys\nfrom api.cli.main import main\n"
        f"try:\n    main({list(argv)!r})\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', *[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    return set(done.stderr.split("LOADED")[1].split())


def test_help_loads_nothing_heavy() -> None:
    assert loaded_by("--help") == set()
    assert loaded_by("ask", "--help") == set()


def test_asking_without_a_key_loads_only_what_it_needs(rag: Run, tmp_path: Path) -> None:
    rag("ingest", "docs", "-q")
    loaded = loaded_by("ask", "How heavy is a whale?", "--library", str(tmp_path / ".footnote"))
    assert loaded <= {"numpy", "faiss", "tantivy", "onnxruntime", "tokenizers"}


# --- pieces ----------------------------------------------------------------------------------------------------------


def test_sizes_and_places_read_well() -> None:
    assert [size(0), size(1023), size(1536), size(5 * 2**30)] == ["0 B", "1023 B", "1.5 KB", "5.0 GB"]
    assert where("a.pdf", "page 3") == "a.pdf, page 3"
    assert where("a.md", "§ Set-up, line 4") == "a.md § Set-up, line 4"
    assert where("a.txt", "") == "a.txt"


def test_a_long_quote_is_shown_in_part_and_marked() -> None:
    assert shown("word " * 200).endswith("[…]")
    assert shown("one\n two") == "one two"


def test_a_report_says_what_is_wrong_and_nothing_about_what_is_well() -> None:
    files = (
        FileResult("a.md", "indexed", change="new", n_chunks=2, n_tokens=30),
        FileResult("b.pdf", "indexed", warnings=("3 of 9 pages have no text",)),
        FileResult("c.bin", "unsupported", "not a text"),
    )
    report = IngestReport("/docs", "default", files, ("old.md",), 2, 30, 0, 1.25)
    text = "\n".join(report_lines(report))
    assert "3 files: 2 indexed, 1 unsupported; 1 removed" in text
    assert "warning      b.pdf: 3 of 9 pages have no text" in text
    assert "removed      old.md" in text
    assert "a.md" not in text
    assert "a.md" in "\n".join(report_lines(report, verbose=True))


# --- cost


def test_a_dry_run_prints_what_the_run_then_does(rag: Run, tmp_path: Path) -> None:
    status, out, err = rag("ingest", "docs", "--dry-run")
    assert (status, "3 files: 3 new" in out, "cost         free" in out) == (0, True, True)
    assert "dry run: 3 of 3 files" in err
    assert not (tmp_path / ".footnote").exists()
    _, out, _ = rag("ingest", "docs", "--dry-run", "-q", "--json")
    planned = json.loads(out)
    _, out, _ = rag("ingest", "docs", "-q", "--json")
    report = json.loads(out)
    assert planned["n_texts_to_pay"] == report["n_texts_embedded"] == planned["n_chunks"]
    assert planned["counts"] == report["counts"]


def test_money_is_shown_before_and_after_and_a_limit_ends_with_status_1(rag: Run, upstream: Upstream) -> None:
    environ = {"OPENAI_BASE_URL": upstream.base_url, "RAG_EMBEDDINGS_PRICE_PER_MILLION": "1000"}
    status, out, _ = rag("ingest", "docs", "--dry-run", "-q", "--max-cost", "0.001", **environ)
    assert (status, "0.001 USD: the run would stop there" in out) == (1, True)
    assert re.search(r"^cost         0\.\d+ USD \(stub-embedding at 1,000\.00 USD a million tokens", out, re.MULTILINE)
    assert "the endpoint counts in its own way" in out
    status, out, _ = rag("ingest", "docs", "-q", "--max-cost", "0.001")
    assert (status, "stopped: the limit of 0.001 USD would be exceeded" in out) == (1, True)
    status, out, err = rag("ingest", "docs", "--max-cost", "1")
    assert (status, bool(re.search(r"embedded now, 0\.\d+ USD, ", out)), " USD" in err) == (0, True, True)


def test_an_unknown_price_is_said(rag: Run, upstream: Upstream) -> None:
    _, out, _ = rag("ingest", "docs", "--dry-run", "-q", OPENAI_BASE_URL=upstream.base_url)
    assert "cost         unknown price of stub-embedding; set embeddings.price_per_million" in out
    _, out, _ = rag("ingest", "docs", "-q")
    assert "embedded now, unknown price, " in out
    status, _, err = rag("ingest", "docs", "-q", "--max-cost", "1")
    assert (status, "a limit on the cost cannot be kept" in err) == (1, True)


def test_the_cache_is_shown_pruned_and_carried_to_another_library(rag: Run) -> None:
    rag("ingest", "docs", "-q")
    rag("ingest", "docs", "-q", "-c", "second")
    _, out, _ = rag("cache")
    assert ("3 texts, " in out, "used by    second: 3" in out, "orphans    0" in out) == (True, True, True)
    (space,) = json.loads(rag("cache", "--json")[1])["spaces"]
    assert (space["n_texts_reused"], space["used_by"]) == (3, {"default": 3, "second": 3})

    assert rag("cache", "export", "vectors.sqlite")[1] == "3 entries in vectors.sqlite\n"
    assert rag("cache", "import", "vectors.sqlite", "--library", "other")[1].startswith("3 entries added")
    _, out, _ = rag("ingest", "docs", "-q", "--library", "other", "--json")
    assert json.loads(out)["n_texts_embedded"] == 0

    rag("collections", "delete", "default", "--yes")
    assert json.loads(rag("cache", "prune", "--json")[1])["n_pruned"] == 0, "the second collection uses them"
    rag("collections", "delete", "second", "--yes")
    assert "needs --yes" in rag("cache", "prune")[2]
    assert rag("cache", "prune", "--yes")[1].startswith("3 vectors deleted")


def test_a_file_is_named_where_one_is_needed(rag: Run) -> None:
    rag("ingest", "docs", "-q")
    assert "rag cache export needs the name of a file" in rag("cache", "export")[2]
    assert "rag cache prune takes no file" in rag("cache", "prune", "vectors.sqlite")[2]


def test_pages_of_the_web_are_named_beside_folders(rag: Run) -> None:
    with Website() as site:
        site.replies["/pump"] = page("The pump lifts forty litres a minute.")
        url = site.sitemap("/pump", "/none")
        allow = {"RAG_WEB_PRIVATE_NETWORKS": "127.0.0.1"}
        status, out, err = rag("ingest", "docs", url, **allow)
        assert (status, f"{url} → collection 'default'\n2 files: 1 indexed, 1 skipped" in out) == (0, True)
        assert "2 of 2 files" in err
        status, out, _ = rag("ingest", url, "--dry-run", "-q", **allow)
        assert (status, "2 files: 1 unchanged, 1 skipped" in out) == (0, True)
    status, out, _ = rag("status", "--files", "all")
    assert f"indexed      {site.url}/pump" in out
    assert f"skipped      {site.url}/none: the page is gone: 404 Not Found" in out
    _, out, _ = rag("ask", "How many litres does the pump lift?")
    assert f"[1] {site.url}/pump" in out


def test_an_address_that_is_none_is_one_line_and_no_traceback(rag: Run) -> None:
    status, out, err = rag("ingest", "https://user:secret@example.org/")
    assert (status, out, err.count("\n"), "secret" in err) == (1, "", 1, False)


# --- watching, and what is wrong


@pytest.mark.parametrize(
    "with_it", [("docs", "--batch"), ("docs", "--rebuild"), ("docs", "--dry-run"), ("https://x.org",)]
)
def test_watching_goes_with_folders_and_ordinary_runs_only(rag: Run, with_it: tuple[str, ...]) -> None:
    status, _, err = rag("ingest", "--watch", *with_it)
    assert (status, "--watch" in err.splitlines()[-1]) == (2, True)


def test_the_status_of_a_collection_says_what_failed_and_what_has_warnings(rag: Run, tmp_path: Path) -> None:
    (tmp_path / "docs" / "broken.pdf").write_bytes(b"%PDF-1.7 nothing more")
    (tmp_path / "docs" / "scan.pdf").write_bytes(pdf_bytes([["The only page with words."], []]))
    rag("ingest", "docs", "-q")
    _, out, _ = rag("status")
    assert "1 failed: rag status -c default --files failed says why, rag ingest tries them again" in out
    assert "1 documents have warnings (pages without text, say): rag status -c default --files warnings" in out
    _, out, _ = rag("status", "--files", "warnings")
    assert re.search(r"^warning +scan\.pdf: .*1 of 2", out, re.MULTILINE)
