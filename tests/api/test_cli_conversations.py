"""``rag chat`` and ``rag threads``, as one meets them without a terminal."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from api.cli.conversation_lines import thread_line
from api.cli.main import main
from api.cli.parser import build_parser, usage_problem
from index.thread_records import Thread
from tests.upstream import Fault, Upstream

MOON = "When did Apollo 11 land on the Moon?"
TOWER = "How tall is the Eiffel Tower?"
Rag = Callable[..., tuple[int, str, str]]


@pytest.fixture
def rag(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Rag:
    """Run a command over the library, its standard input being ``said``, with the embedded models."""
    for name in list(os.environ):
        if name.startswith(("RAG_", "OPENAI_")) or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def run(*argv: str, said: str = "", home: Path = library) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(said))
        try:
            status = main([*argv, "--library", str(home)])
        except SystemExit as error:
            status = int(error.code or 0)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def thread_of(said: str) -> str:
    found = re.search(r"goes on with: rag chat --thread ([0-9a-f]{8})$", said, re.MULTILINE)
    assert found, said
    return found[1]


def test_a_chat_is_stored_and_gone_on_with(rag: Rag) -> None:
    status, out, err = rag("chat", said=f"{TOWER}\n{MOON}\n/quit\nnever asked\n")
    assert status == 0
    assert "330 metres" in out
    assert "20 July 1969" in out
    thread = thread_of(err)
    status, out, err = rag("chat", "--thread", "last", said="/sources\nWhen was the Eiffel Tower built?\n/sources\n")
    assert status == 0
    assert f"> {TOWER}" in out
    assert thread_of(err) == thread
    assert re.search(r"^\[1\] places/tower\.txt, line 1, characters 0-\d+$", out, re.MULTILINE)  # stored: its span
    assert re.search(r"^\[1\] places/tower\.txt, line 1 \(", out, re.MULTILINE)  # just asked: with its text
    _, out, _ = rag("threads")
    assert re.fullmatch(rf"{thread}  \d{{4}}-\d\d-\d\d \d\d:\d\d  3 questions  {re.escape(TOWER)}\n", out)


def test_the_numbers_hold_from_one_chat_to_the_next(rag: Rag) -> None:
    _, out, err = rag("chat", "-k", "1", "--json", said=f"{TOWER}\n{MOON}\n")
    first = [json.loads(line)["answer"]["citations"][0] for line in out.splitlines()]
    again = "How many metres tall is the Eiffel Tower in Paris?"
    _, out, _ = rag("chat", "-k", "1", "--json", "--thread", thread_of(err), said=f"{again}\n")
    last = json.loads(out.splitlines()[-1])["answer"]["citations"][0]
    assert [(one["marker"], one["document"]) for one in (*first, last)] == [
        (1, "places/tower.txt"),
        (2, "moon.md"),
        (1, "places/tower.txt"),
    ]


def test_new_starts_another_thread_and_open_goes_back(rag: Rag) -> None:
    _, _, err = rag("chat", said=f"{TOWER}\n")
    thread = thread_of(err)
    _, out, err = rag("chat", said=f"{MOON}\n/new\n/threads\n/open {thread}\n/quit\n")
    assert thread_of(err) == thread
    listed = [line for line in out.splitlines() if re.match(r"[0-9a-f]{8}  ", line)]
    assert [line.rpartition("  ")[2] for line in listed] == [MOON, TOWER]
    assert f"> {TOWER}" in out


def test_what_is_not_stored_leaves_nothing(rag: Rag, library: Path) -> None:
    status, out, err = rag("chat", "--no-store", said=f"{TOWER}\nWhere does it stand?\n/export\n/open last\n/quit\n")
    assert "330 metres" in out
    assert "goes on with" not in err
    assert "nothing is stored that could be exported" in err
    assert "no stored conversation is opened" in err
    assert status == 1
    assert not (library / "threads.db").exists()
    assert "`rag chat` begins one" in rag("threads")[2]


def test_a_chat_where_there_is_no_library_makes_none(rag: Rag, tmp_path: Path) -> None:
    status, _, err = rag("chat", said=f"{TOWER}\n", home=tmp_path / "nowhere")
    assert (status, "no library in" in err) == (1, True)
    assert not (tmp_path / "nowhere").exists()


def test_an_unknown_command_is_no_question_and_a_path_is(rag: Rag) -> None:
    status, out, err = rag("chat", said="/sauces\n/help\n/sources\n")
    assert "there is no command /sauces; /help lists them" in err
    assert "/export [FILE]" in out
    assert "there is no answer yet" in err
    assert status == 1
    _, out, err = rag("chat", said="/etc/passwd is what?\n")
    assert "no command" not in err
    assert out.strip()


def test_a_conversation_is_exported_shown_moved_renamed_and_deleted(rag: Rag, tmp_path: Path) -> None:
    _, out, err = rag("chat", said=f"{TOWER}\n/export chat.md\n/export chat.json\n/export\n")
    thread = thread_of(err)
    assert (tmp_path / "chat.md").read_text(encoding="utf-8").startswith(f"# {TOWER}\n")
    assert out.endswith((tmp_path / "chat.md").read_text(encoding="utf-8"))
    assert rag("threads", "show", thread)[1].count(f"> {TOWER}") == 1
    shown = [json.loads(line) for line in rag("threads", "show", thread, "--json")[1].splitlines()]
    assert [message["role"] for message in shown] == ["user", "assistant"]
    status, _, err = rag("threads", "export", thread, "chat.md")
    assert (status, "is there already" in err) == (1, True)
    assert rag("threads", "export", thread, "--format", "json")[1] == (tmp_path / "chat.json").read_text("utf-8")
    moved = tmp_path / "moved"
    assert thread in rag("threads", "import", "chat.json", home=moved)[1]
    assert "330 metres" in rag("threads", "show", "last", home=moved)[1]
    assert "(the document is gone)" in rag("threads", "show", "last", home=moved)[1]
    assert "'Tall things'" in rag("threads", "rename", thread, "Tall things")[2]
    status, _, err = rag("threads", "delete", thread)
    assert (status, "needs --yes" in err) == (1, True)
    assert rag("threads", "delete", thread, "--yes")[0] == 0
    status, _, err = rag("threads", "show", thread)
    assert (status, err.startswith("rag threads: no conversation")) == (1, True)


def test_a_failed_question_is_shown_with_its_reason(rag: Rag, upstream: Upstream) -> None:
    upstream.script("chat", Fault(status=401))
    options = ("--set", f"chat.base_url={upstream.base_url}", "--set", "chat.model=stub-chat")
    status, _, err = rag("chat", *options, "--set", "embeddings.provider=local", said=f"{TOWER}\n")
    assert (status, "key" in err) == (1, True)
    shown = rag("threads", "show", "last")[1]
    assert f"> {TOWER}\n(this question failed: " in shown


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("threads show", "show needs the id of a conversation"),
        ("threads import", "import needs a file"),
        ("threads rename last", "rename needs the new title"),
        ("threads delete last now", "delete takes one argument, found 'now' too"),
    ],
)
def test_wrong_usage_is_told(words: str, problem: str) -> None:
    found = usage_problem(build_parser().parse_args(words.split()))
    assert found is not None
    assert problem in found


def test_thread_new_and_no_store_exclude_each_other(rag: Rag) -> None:
    assert rag("chat", "--thread", "last", "--no-store")[0] == 2
    assert rag("chat", "--new", "--no-store")[0] == 2


def test_a_line_names_a_thread_by_the_beginning_of_its_id() -> None:
    line = thread_line(Thread(f"thread-{'ab' * 16}", "", ("manuals",), {}, 0.0, 0.0, 1))
    assert line.startswith("abababab  ")
    assert line.endswith("  1 question  (no title)  [manuals]")
