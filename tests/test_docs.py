"""The documentation is true: its examples run, its tables are those of the code, its links lead somewhere."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import re
import shlex
import shutil
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel

from api import schemas
from api.app import create_app
from api.choice import FAMILIES, choose
from api.cli.parser import build_parser
from api.edge import MAX_JSON_BYTES
from api.errors import MAX_RETRY_AFTER_S
from api.footnote import Footnote
from index.records import EXACT_LIMIT
from ingest.readers import read
from ingest.report import FileState
from rag.errors import UnsupportedFormatError
from rag.gateway.providers import PROVIDERS, provider_for
from rag.gateway.retry import RetryPolicy
from rag.local.embedder import MAX_TOKENS
from rag.settings import load_settings
from rag.types import Document
from scripts.build_docs import PAGES, PARTS, commands, main, rebuilt
from tests.ingest.pdf_bytes import pdf_bytes

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README.zh-CN.md")
NAMES = [*(page.relative_to(ROOT).as_posix() for page in PAGES), "CHANGELOG.md", "examples/README.md"]
HEARTBEAT_S = inspect.signature(create_app).parameters["heartbeat_s"].default
PROVIDER_KEYS = {name for provider in PROVIDERS.values() for name in provider.key_env}

# What the examples ask about. "docs" is the folder that the Python examples ingest.
MOON = """# The Moon

## Landings

Apollo 11 landed on the Moon on 20 July 1969. Neil Armstrong was the first person to walk on it.
"""
WARRANTY = """# Warranty

The warranty lasts 24 months from the day of purchase. 保修期为24个月，自购买之日起计算。
"""
DOCS = {"moon.md": MOON, "tower.txt": "The tower is 330 metres high.\n", "warranty.md": WARRANTY}


@cache
def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Block:
    """A fenced example: the page and line it stands on, its language, its text."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(*languages: str, of: tuple[str, ...] = tuple(NAMES)) -> list[Block]:
    found = []
    for name in of:
        for match in re.finditer(r"^```(\w*)\n(.*?)^```$", page(name), re.DOTALL | re.MULTILINE):
            found.append(Block(name, page(name).count("\n", 0, match.start()) + 1, match[1], match[2]))
    return [block for block in found if block.language in languages] if languages else found


def shell_lines(*, of: tuple[str, ...] = tuple(NAMES)) -> list[tuple[str, str]]:
    """Return (where, line) of every shell example."""
    return [(str(block), line) for block in blocks("sh", of=of) for line in block.text.splitlines() if line.strip()]


def shell_commands(line: str) -> list[list[str]]:
    """Return the words of each command of a shell line: pipes part commands, comments are left out."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("|&;"):
            parts.append([])
        else:
            parts[-1].append(word)
    return [part for part in parts if part]


def without_assignments(words: list[str]) -> tuple[dict[str, str], list[str]]:
    found = {}
    while words and (match := re.fullmatch(r"([A-Z_]+)=(.*)", words[0])):
        found[match[1]] = match[2]
        words = words[1:]
    return found, words


def test_every_example_names_its_language() -> None:
    assert {block.language for block in blocks()} == {"sh", "python", "toml", "json", "text"}


# --- generated parts


@pytest.mark.parametrize("name", [page.relative_to(ROOT).as_posix() for page in PAGES])
def test_the_generated_parts_of_a_page_are_those_of_the_code(name: str) -> None:
    assert rebuilt(page(name)) == page(name), "run: python scripts/build_docs.py"


def test_the_check_says_nothing_of_pages_that_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0
    assert capsys.readouterr().err == ""


def test_a_stale_table_is_noticed() -> None:
    stale = page("docs/settings.md").replace("RAG_RETRIEVAL_K`", "RAG_RETRIEVAL_N`")
    assert rebuilt(stale) != stale


def test_every_generated_part_stands_in_a_page() -> None:
    placed = [name for page_name in NAMES for name in re.findall(r"<!-- generated: ([\w-]+) -->", page(page_name))]
    assert sorted(placed) == sorted(PARTS)


def test_every_option_of_every_command_is_explained() -> None:
    sections = dict(
        zip(commands(), re.split(r"^## rag \w+$", page("docs/cli.md"), flags=re.MULTILINE)[1:], strict=True)
    )
    head = page("docs/cli.md").split("<!-- generated")[0]
    for name, parser in commands().items():
        for action in parser._actions:
            for option in action.option_strings:
                assert option in sections[name] or option in head or action.dest == "help", f"rag {name} {option}"


# --- shell examples


@pytest.mark.parametrize(("where", "line"), shell_lines(), ids=lambda part: part if ":" in part else "")
def test_a_shell_example_is_one_that_works(where: str, line: str) -> None:
    for words in shell_commands(line):
        if words[0] == "export":
            words = words[1:]
        variables, words = without_assignments(words)
        for variable in variables:
            assert f"`{variable}`" in page("docs/settings.md") or is_known_variable(variable), variable
        if words:
            check_command(words)


def is_known_variable(name: str) -> bool:
    return name in PROVIDER_KEYS | {"OPENAI_BASE_URL"}


def check_command(words: list[str]) -> None:
    program = words[0].removeprefix(".venv/bin/")
    match program:
        case "rag":
            build_parser().parse_args(words[1:])
        case "make":
            assert re.search(rf"^{words[1]}:", page("Makefile"), re.MULTILINE), words
        case "python" | "python3" if words[1:3] in (["-m", "venv"], ["-m", "pip"]):
            check_installation(words)
        case "python" | "python3":
            script = [word for word in words if word.endswith(".py")] or [words[2].replace(".", "/") + ".py"]
            assert (ROOT / script[0]).is_file(), words
        case _:
            assert program in ("curl", "echo", "jq"), words


def check_installation(words: list[str]) -> None:
    project = tomllib.loads(page("pyproject.toml"))["project"]
    if "--constraint" in words:
        assert (ROOT / words[words.index("--constraint") + 1]).is_file()
    for extra in re.findall(r"\[(\w+)\]", words[-1]):
        assert extra in project["optional-dependencies"]


EXPORTS = [block for block in blocks("sh") if re.search(r"^export ", block.text, re.MULTILINE)]


@pytest.mark.parametrize("block", EXPORTS, ids=str)
def test_an_example_of_variables_sets_up_every_family(block: Block) -> None:
    environ: dict[str, str] = {}
    for line in block.text.splitlines():
        if line.startswith("export "):
            environ |= without_assignments(shlex.split(line, comments=True)[1:])[0]
    settings = load_settings(environ)
    chosen = {family: choose(settings, family) for family in FAMILIES}
    assert chosen["chat"].kind == "endpoint"
    assert all(f"RAG_{family.upper()}_PROVIDER" not in environ or chosen[family].explicit for family in FAMILIES)


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_an_example_of_a_settings_file_sets_up_every_family(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "rag.toml"
    file.write_text(block.text, encoding="utf-8")
    settings = load_settings(dict.fromkeys(PROVIDER_KEYS, "sk-example"), file=file)
    named = tomllib.loads(block.text)
    for family in FAMILIES:
        choice = choose(settings, family)
        assert family not in named or named[family]["provider"] in (
            choice.kind,
            choice.provider and choice.provider.name,
        )


@pytest.mark.parametrize("name", READMES)
def test_every_command_is_shown_in_the_readme(name: str) -> None:
    shown = {
        words[1] for _, line in shell_lines(of=(name,)) for words in shell_commands(line) if words[0].endswith("rag")
    }
    assert shown == set(commands())


@pytest.mark.parametrize("name", READMES)
def test_the_readme_says_what_each_provider_serves(name: str) -> None:
    rows = re.findall(r"^\| [^|]+ \| `(https://[^`]+)` \| ([^|]+) \|$", page(name), re.MULTILINE)
    assert len(rows) == 5
    for address, served in rows:
        families = provider_for(address).families
        assert ("embeddings" in served or "向量" in served) == ("embeddings" in families)
        assert ("RAG_CHAT_MODEL" in served) == ("chat" not in provider_for(address).default_models)


@pytest.mark.parametrize("name", READMES)
def test_the_readme_explains_every_state_of_a_file(name: str) -> None:
    assert tuple(re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", page(name), re.MULTILINE)) == get_args(FileState)


# --- the two readmes


def skeleton(line: str) -> str:
    """Return a line of code without comments and without what is said in a language."""
    line = re.sub(r"\s+# .*$|^#.*$", "", line).strip()
    line = re.sub(r'(?<=": ")[^"]*(?=")', "…", line)
    return re.sub(r"'[^'{]*'|(?<!: )\"[^\"]*\"", lambda text: text[0] if is_code(text[0][1:-1]) else "'…'", line)


def is_code(text: str) -> bool:
    return (text.isascii() and " " not in text and text != "warranty") or text.startswith("Content-Type")


@pytest.mark.parametrize("language", ["sh", "python", "toml", "text"])
def test_both_readmes_show_the_same_code(language: str) -> None:
    english, chinese = (
        Counter(
            filter(None, (skeleton(line) for block in blocks(language, of=(name,)) for line in block.text.splitlines()))
        )
        for name in READMES
    )
    assert english == chinese


def test_both_readmes_link_to_the_same_pages() -> None:
    english, chinese = (set(re.findall(r"\]\(([^)#]+)\)", page(name))) - set(READMES) for name in READMES)
    assert english == chinese


# --- examples that run


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the documents in "docs", and the library of them."""
    folder = tmp_path_factory.mktemp("ingested")
    (folder / "docs").mkdir()
    for name, text in DOCS.items():
        (folder / "docs" / name).write_text(text, encoding="utf-8")

    async def ingest() -> None:
        async with Footnote.open(folder / ".footnote", environ={}) as footnote:
            await footnote.ingest(folder / "docs")

    asyncio.run(ingest())
    return folder


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without settings."""
    for name in os.environ:
        if name.startswith(("RAG_", "OPENAI_")) or name in PROVIDER_KEYS:
            monkeypatch.delenv(name)


@pytest.fixture
def fresh_folder(ingested: Path, tmp_path: Path, no_settings: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the documents in "docs", not ingested yet."""
    shutil.copytree(ingested / "docs", tmp_path / "docs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def run_cell(source: str, where: str) -> None:
    """Run an example as a notebook does, with ``await`` at its top level."""
    names: dict[str, Any] = {}
    done = eval(compile(source, where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if inspect.iscoroutine(done):
        await done


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_a_python_example_runs(block: Block, fresh_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if "Sync(" in block.text:
        exec(compile(block.text, str(block), "exec"), {})
    else:
        asyncio.run(run_cell(block.text, str(block)))
    if "print(" in block.text:
        assert "24" in capsys.readouterr().out


@pytest.fixture
def client(ingested: Path, fresh_folder: Path) -> Iterator[TestClient]:
    """A client of the service over the documents, called as the examples call it."""
    shutil.copytree(ingested / ".footnote", fresh_folder / ".footnote")
    with TestClient(
        create_app(Footnote.open(server__resume_s=60, observe__records="on")), base_url="http://127.0.0.1:8000"
    ) as client:
        yield client


EXAMPLE_ID = "answer-751494285b8a4360ba6f705a0adae519"
"""In the examples the answer that was asked for last."""
EXAMPLE_THREAD = "thread-6f1c8e0b5a3d4c92b7e1f0a9d8c6b543"
"""In the examples the conversation that was made last."""
CURLS = {name: [line for _, line in shell_lines(of=(name,)) if line.startswith("curl")] for name in NAMES}


@pytest.mark.parametrize("name", [name for name, lines in CURLS.items() if lines])
def test_the_curl_examples_of_a_page_succeed_one_after_another(
    name: str, client: TestClient, fresh_folder: Path
) -> None:
    for file in ("notes.md", "report.txt"):
        (fresh_folder / file).write_text("The report says that it rained.\n", encoding="utf-8")
    (fresh_folder / "manual.pdf").write_bytes(pdf_bytes([["The warranty lasts 24 months."]]))
    answer_id = thread_id = ""
    for line in CURLS[name]:
        # A page is not fetched from there: this machine is refused, which is an answer, too.
        line = line.replace("https://example.org", "http://127.0.0.1")
        reply = curl(client, line.replace(EXAMPLE_ID, answer_id).replace(EXAMPLE_THREAD, thread_id))
        answer_id = reply.headers.get("x-answer-id", answer_id)
        assert reply.is_success, f"{line}: {reply.text}"
        if reply.status_code == 201 and reply.json().get("id", "").startswith("thread-"):
            thread_id = reply.json()["id"]
        if '"stream": true' in line:
            assert re.findall(r"^event: (\w+)", reply.text, re.MULTILINE)[-1] == "done"


def curl(client: TestClient, line: str) -> Any:
    """Send what a curl line would."""
    (words,) = shell_commands(line)
    method, url, body, headers, files, output = "", "", None, {}, [], ""
    rest = iter(words[1:])
    for word in rest:
        match word:
            case "-X":
                method = next(rest)
            case "-H":
                name, _, value = next(rest).partition(":")
                headers[name] = value.strip()
            case "-d":
                body = next(rest).encode()
            case "-F":
                field, _, given = next(rest).partition("=")
                path = given.removeprefix("@")
                files.append((field, (path, Path(path).read_bytes()) if given[:1] == "@" else (None, given.encode())))
            case "-o":
                output = next(rest)
            case "-N":
                pass
            case _:
                assert not url, f"curl would take {word!r} for a second address"
                url = word
    method = method or ("POST" if body is not None or files else "GET")
    reply = client.request(method, url, content=body, headers=headers, files=files or None)
    if output:
        Path(output).write_bytes(reply.content)
    return reply


def test_every_route_has_a_curl_example(client: TestClient) -> None:
    sent = set()
    for line in CURLS["docs/http.md"]:
        match = re.search(r"127\.0\.0\.1:8000(/[^' ?]*)", line)
        assert match
        named = re.search(r"-X (\w+)", line)
        method = named[1] if named else "POST" if " -d " in line or " -F " in line else "GET"
        sent.add(
            (
                method,
                re.sub(
                    r"(?<=/collections/)[^/]+|(?<=/documents/).+?(?=/pages/|$)|(?<=/pages/)\d+|(?<=/source/).+|(?<=/snapshots/)(?!prune)[^/]+|(?<=/answers/)[^/]+|(?<=/threads/)[^/]+",
                    "{}",
                    match[1],
                ),
            )
        )
    paths = client.get("/openapi.json").json()["paths"]
    known = {(method.upper(), re.sub(r"\{\w+\}", "{}", path)) for path, item in paths.items() for method in item}
    assert known - sent == set()


# --- examples of replies


SHAPES: dict[str, type[BaseModel]] = {
    "citations": schemas.Answer,
    "hits": schemas.SearchReply,
    "error": schemas.Error,
    "n_collections": schemas.Health,
}


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_an_example_of_a_reply_has_its_shape(block: Block) -> None:
    example = json.loads(block.text)
    (shape,) = [shape for key, shape in SHAPES.items() if key in example]
    shape.model_validate(example)


def steady(reply: dict[str, Any]) -> dict[str, Any]:
    """Return a reply without what differs from run to run, or between machines."""
    sources = [{**source, "score": None} for source in reply["sources"]]
    return {**reply, "id": None, "timings_ms": None, "sources": sources}


def test_the_example_of_an_answer_is_what_the_service_answers(client: TestClient) -> None:
    (example,) = [json.loads(block.text) for block in blocks("json", of=("docs/http.md",)) if "citations" in block.text]
    (line,) = [line for line in CURLS["docs/http.md"] if example["question"] in line]
    reply = curl(client, line).json()
    assert steady(reply) == steady(example)
    assert set(reply["timings_ms"]) == set(example["timings_ms"])
    citation = reply["citations"][0]
    assert MOON[citation["start"] : citation["end"]] == citation["quote"]


def test_the_example_of_an_error_is_what_the_service_says(client: TestClient) -> None:
    (example,) = [json.loads(block.text) for block in blocks("json", of=("docs/errors.md",))]
    assert client.get("/collections/manuals").json() == example


def test_the_events_of_a_stream_are_in_the_table(client: TestClient) -> None:
    listed = set(re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", page("docs/http.md"), re.MULTILINE))
    (line,) = [line for line in CURLS["docs/http.md"] if '"stream": true' in line]
    assert set(re.findall(r"^event: (\w+)", curl(client, line).text, re.MULTILINE)) <= listed
    known = get_args(get_args(schemas.StreamEvent.model_fields["root"].annotation)[0])
    assert {get_args(kind.model_fields["type"].annotation)[0] for kind in known} <= listed


# --- the demo's output


@cache
def example_document(document_id: str) -> Document:
    return read(ROOT / "examples" / "docs" / document_id, document_id=document_id)


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def test_the_readme_shows_the_questions_of_the_demo() -> None:
    lines = (ROOT / "examples" / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [question["question"] for question in map(json.loads, lines) if question.get("demo")]
    assert re.findall(r"^\$ rag ask '(.+)' -c demo$", page("README.md"), re.MULTILINE) == asked


def test_the_quotes_of_the_demo_stand_on_the_pages_they_name() -> None:
    quotes = re.findall(r"^\[\d\] (\S+), page (\d+): “(.+)”$", page("README.md"), re.MULTILINE)
    assert len(quotes) >= 2
    for document_id, number, quote in quotes:
        document = example_document(document_id)
        place = document.pages[int(number) - 1]
        assert squeezed(quote) in squeezed(document.text[place.start : place.end])


# --- the rest


def slug(heading: str) -> str:
    """Return the anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(name: str) -> set[str]:
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", page(name), re.MULTILINE)}


@pytest.mark.parametrize("name", NAMES)
def test_relative_links_lead_somewhere(name: str) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page(name)):
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / unquote(path) if path else ROOT / name
        assert target.exists(), link
        assert not anchor or unquote(anchor) in anchors(target.resolve().relative_to(ROOT).as_posix()), link


@pytest.mark.parametrize("name", NAMES)
def test_paths_of_the_project_are_spelt_as_they_are(name: str) -> None:
    named = re.findall(r"`((?:rag|index|ingest|api|tests|scripts|benchmarks|notebooks)/[\w./-]*)`", page(name))
    assert [path for path in named if not (ROOT / path).exists()] == []


LIMITS = {
    f"up to {EXACT_LIMIT:,} chunks": "docs/design.md",
    f"reads {MAX_TOKENS + 2}": "docs/design.md",  # the two are the model's own marks
    "up to a minute" if MAX_RETRY_AFTER_S == RetryPolicy().max_wait_s == 60 else "another wait": "docs/errors.md",
    f"may have {MAX_JSON_BYTES >> 20} MB, a question {schemas.MAX_QUESTION_CHARACTERS:,} characters": "docs/http.md",
    "for ten seconds" if HEARTBEAT_S == 10 else "another time": "docs/http.md",
}


@pytest.mark.parametrize("words", LIMITS)
def test_a_limit_named_in_the_prose_is_that_of_the_code(words: str) -> None:
    assert words in " ".join(page(LIMITS[words]).split())


@pytest.mark.parametrize("name", NAMES)
def test_no_path_of_a_machine_is_in_a_page(name: str) -> None:
    assert re.findall(r"(?<![\w./])/(?:work|tmp|root|home|Users|var|opt)/\S*|[A-Z]:\\\\?\w+", page(name)) == []


@pytest.mark.parametrize(
    "ending", re.findall(r"`(\.\w+)`", page("docs/formats.md").split("## What is not read")[1][:400])
)
def test_a_format_that_is_said_to_be_refused_is(ending: str) -> None:
    with pytest.raises(UnsupportedFormatError):
        read(Path("file" + ending), document_id="file" + ending, data=b"some text")


def test_the_changelog_begins_with_the_version_of_the_project() -> None:
    project = tomllib.loads(page("pyproject.toml"))["project"]
    versions = re.findall(r"^## (\S+) \((\d{4}-\d{2}-\d{2})\)$", page("CHANGELOG.md"), re.MULTILINE)
    assert versions[0][0] == project["version"]
    assert set(re.findall(r"^### (\w+)$", page("CHANGELOG.md"), re.MULTILINE)) <= {"Added", "Changed", "Fixed"}


def test_the_licence_is_the_one_that_is_declared() -> None:
    assert tomllib.loads(page("pyproject.toml"))["project"]["license"] == "Apache-2.0"
    assert page("LICENSE").split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert all("Apache-2.0" in page(name) for name in READMES)
