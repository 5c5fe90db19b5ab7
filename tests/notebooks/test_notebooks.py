"""The notebooks, run from top to bottom in kernels of their own, on a few of the example documents, without network."""

from __future__ import annotations

import ast
import base64
import json
import os
import re
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from scripts.strip_notebooks import stripped
from tests.upstream import Upstream

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXAMPLES = ROOT / "examples" / "docs"
PDF = "python/regex-howto.pdf"
TEXTS = ("wikipedia/black-death.txt", "wikipedia/apollo-program.txt", "wikipedia/黑死病.txt")
QUESTION = "What is the difference between match() and search()?"
QUESTION_ZH = "1466年有多少人死于巴黎的瘟疫？"

NO_NETWORK = """
import sys


def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise RuntimeError(f"the notebook wants the network: {event} {arguments}")


sys.addaudithook(refuse)
"""
"""Run in the kernel beside the parameters; its own sockets are not Python's."""

by_name = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> NotebookNode:
    return nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tree(cell: NotebookNode) -> ast.Module:
    return compile(cell.source, "cell", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)  # type: ignore


# --- as written


@by_name
def test_a_notebook_is_valid_and_stripped(path: Path) -> None:
    nbformat.validate(read(path))
    text = path.read_text(encoding="utf-8")
    assert text == stripped(text), "run: python scripts/strip_notebooks.py"


def test_stripping_takes_out_what_a_run_leaves() -> None:
    cell = nbformat.v4.new_code_cell("1 + 1", execution_count=3, metadata={"tags": ["x"]})
    cell.outputs = [nbformat.v4.new_output("stream", text="/home/ada/secret")]
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {"state": {}}})
    clean = stripped(nbformat.writes(notebook))
    assert "1 + 1" in clean
    assert not any(trace in clean for trace in ("secret", "widgets", "tags", '"execution_count": 3'))


@by_name
def test_it_asks_one_question_then_sets_its_parameters(path: Path) -> None:
    first, second, *_ = read(path).cells
    assert first.cell_type == "markdown"
    assert re.match(r"# \d\. .+\?$", first.source.splitlines()[0])
    statements = tree(second).body
    assert all(isinstance(one, ast.Import | ast.ImportFrom | ast.Assign) for one in statements)
    names = [target.id for one in statements if isinstance(one, ast.Assign) for target in one.targets]  # type: ignore
    assert {"LIBRARY", "COLLECTION"} < set(names)
    assert all(name.isupper() for name in names)


@by_name
def test_it_defines_no_function_and_no_class(path: Path) -> None:
    definitions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    assert not [
        node for cell in code_cells(read(path)) for node in ast.walk(tree(cell)) if isinstance(node, definitions)
    ]


@by_name
def test_it_names_no_place_of_a_machine(path: Path) -> None:
    assert not re.search(r"(?<![\w.:/])(/(home|Users|root|work|tmp|var|mnt)\b|[A-Z]:\\\\)", path.read_text("utf-8"))


# --- as run


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder out of the examples, in English and Chinese, with a PDF."""
    folder = tmp_path_factory.mktemp("documents")
    for name in (PDF, *TEXTS):
        (folder / Path(name).name).write_bytes((EXAMPLES / name).read_bytes())
    return folder


def question_set(folder: Path) -> Path:
    """Write the example questions about the small folder, by the names its files have there, and one about another."""
    lines = []
    for line in (ROOT / "examples" / "questions.jsonl").read_text(encoding="utf-8").splitlines():
        asked = json.loads(line)
        if asked["documents"] in ([PDF], *([name] for name in TEXTS), []):
            lines.append({**asked, "documents": [Path(name).name for name in asked["documents"]]})
    lines.append({"id": "elsewhere", "question": "How do I abort a git rebase?", "documents": ["git.md"]})
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def clean_environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An environment without keys, settings and Jupyter's traces of whoever runs the tests."""
    home = tmp_path_factory.mktemp("home")
    (home / "rag.toml").write_text("")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RAG_", "OPENAI_")) and not name.endswith("_API_KEY")
    }
    ours = {
        "RAG_CONFIG": str(home / "rag.toml"),  # so that no rag.toml of the working folder is read
        "PYTHONPATH": str(ROOT),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_RUNTIME_DIR", ours["JUPYTER_RUNTIME_DIR"])
        yield kept | ours


def run(
    path: Path, parameters: Mapping[str, Any], *, environ: dict[str, str], folder: Path, network: bool
) -> NotebookNode:
    """Run a notebook in a folder, its parameters followed by ours."""
    notebook = read(path)
    lines = [f"{name} = {value!r}" for name, value in parameters.items()]
    injected = nbformat.v4.new_code_cell("from pathlib import *\n" + "\n".join(lines) + ("" if network else NO_NETWORK))
    notebook.cells.insert(2, injected)
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute(
        env=environ
    )
    return notebook


@pytest.fixture(scope="module")
def ran(
    documents: Path, clean_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], NotebookNode]:
    """Return a notebook that has run, by its number; each runs once, over one library."""
    from matplotlib import font_manager  # its first import on a machine builds a font cache, and says so on stderr

    assert font_manager.fontManager.ttflist
    library = tmp_path_factory.mktemp("library")
    asked = {"FOLDER": documents, "QUESTION": QUESTION}
    parameters: dict[str, dict[str, Any]] = {
        "01": {"FILES": list(TEXTS), "PDF": PDF},
        "02": {**asked, "QUESTION_ZH": QUESTION_ZH},
        "03": {**asked, "QUESTIONS": [QUESTION, "How many people died of the plague in Paris?", QUESTION_ZH]},
        "04": {"FOLDER": documents, "QUESTION_SET": question_set(documents.parent)},
        "05": asked,
    }
    folders = {"01": ROOT, "02": ROOT / "notebooks", "03": tmp_path_factory.mktemp("elsewhere"), "04": ROOT, "05": ROOT}
    done: dict[str, NotebookNode] = {}

    def get(number: str) -> NotebookNode:
        if number not in done:
            (path,) = (path for path in NOTEBOOKS if path.name.startswith(number))
            given = {"LIBRARY": library, **parameters[number]}
            done[number] = run(path, given, environ=clean_environ, folder=folders[number], network=False)
        return done[number]

    return get


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def seen(notebook: NotebookNode) -> str:
    """Return all text that a reader sees below the cells."""
    texts = []
    for output in outputs(notebook):
        data = output.get("data", {})
        texts.append(output.get("text") or data.get("text/markdown") or data.get("text/plain") or "")
    return "\n".join(texts)


def images(notebook: NotebookNode) -> list[bytes]:
    found = (output.get("data", {}).get("image/png") for output in outputs(notebook))
    return [base64.b64decode(image) for image in found if image]


@pytest.mark.parametrize("number", ["01", "02", "03", "04", "05"])
def test_it_runs_without_a_warning_and_shows_no_place_of_the_machine(
    ran: Callable[[str], NotebookNode], number: str, documents: Path
) -> None:
    notebook = ran(number)
    assert [output.text for output in outputs(notebook) if output.get("name") == "stderr"] == []
    shown = seen(notebook)
    assert not [place for place in (ROOT, documents.parent, Path.home()) if str(place) in shown]


def test_01_shows_the_state_of_each_file_and_each_change(ran: Callable[[str], NotebookNode]) -> None:
    shown = seen(ran("01"))
    for row in (
        "| guide.pdf | **failed** | cannot read 'guide.pdf'",
        "| empty.txt | **empty** | the file has no text",
        "| old.7z | **unsupported** |",
        "| .draft.md | **skipped** |",
        "| wikipedia/黑死病.txt | **indexed** | new |",
        "| wikipedia/黑死病.txt | **unchanged** |",
        "wikipedia/black-death.txt: changed",
        "The password of the lighthouse is kingfisher.",
        "lighthouse.txt: renamed from wikipedia/black-death.txt",
        "removed: lighthouse.txt",
        "guide.pdf: 22 pages",
        "everything agrees",
    ):
        assert row in shown


def test_02_prints_answers_with_footnotes_that_hold(ran: Callable[[str], NotebookNode]) -> None:
    shown = seen(ran("02"))
    assert re.search(r"\[\d\] regex-howto\.pdf, page 20: “", shown)
    assert "page 20 of regex-howto.pdf holds the quote: True" in shown
    assert "holds the quote: False" not in shown
    assert re.search(r"\[\d\] 黑死病\.txt, line \d+: “.*40,000", shown)
    assert "answered: False, refusal: not_in_documents, citations: 0" in shown
    assert re.search(r"Retrieved .*TextDelta .*Citation +\[\d\] regex-howto\.pdf, page 20.*Answer ", shown, re.DOTALL)


def test_03_draws_four_plots_and_embeds_nothing_that_02_has_embedded(ran: Callable[[str], NotebookNode]) -> None:
    ran("02")
    notebook = ran("03")
    assert "\n0 chunks embedded in" in "\n" + seen(notebook)
    plots = images(notebook)
    assert len(plots) == 4
    assert all(len(plot) > 8_000 for plot in plots), "an empty plot is smaller"
    assert all(struct.unpack(">II", plot[16:24])[0] > 800 for plot in plots)


def test_04_measures_compares_and_shows_the_worst_questions(ran: Callable[[str], NotebookNode]) -> None:
    ran("02")
    notebook = ran("04")
    shown = seen(notebook)
    assert re.search(r"\d+ questions asked, 9 that the documents do not answer were not", shown)
    assert "left out: elsewhere: no document 'git.md' in the collection" in shown
    assert re.search(r"\| recall@5 \| [01]\.\d{3} \| ", shown)
    assert "| with {'retrieval__vector_weight': 0.0} | difference |" in shown
    assert re.search(r"^\d\.\d\d  \S.+\n +1\. \d\.\d\d  ", shown, re.MULTILINE), "a question, and what was found"
    (plot,) = images(notebook)
    assert len(plot) > 8_000


def test_05_takes_an_answer_from_the_question_to_its_verdicts(ran: Callable[[str], NotebookNode]) -> None:
    ran("02")
    notebook = ran("05")
    shown = seen(notebook)
    answer = next(output.data["text/html"] for output in outputs(notebook) if "text/html" in output.get("data", {}))
    assert QUESTION.replace("()", "()") in answer
    assert "sentences are borne out by the words they cite" in shown
    (page,) = images(notebook)
    assert len(page) > 8_000
    for row in (
        "| as it was | **supported** |",
        "| a number more | **unsupported** |",
        "| an invented quote | **unsupported** |",
        "| a source that is not there | **unknown marker** |",
        "| no footnote | **uncited** |",
        "answered: False, refusal: not_in_documents, statements: 0",
        "24 months",
        "(warranty.md) addresses a model",
    ):
        assert row in shown
    assert "collector.example" not in shown


def test_with_an_endpoint_the_same_notebook_asks_it(
    upstream: Upstream, documents: Path, clean_environ: dict[str, str], tmp_path: Path
) -> None:
    environ = {**clean_environ, "OPENAI_BASE_URL": upstream.base_url, "OPENAI_API_KEY": "not-a-key"}
    (path,) = (path for path in NOTEBOOKS if path.name.startswith("02"))
    parameters = {"LIBRARY": tmp_path, "FOLDER": documents, "QUESTION": QUESTION, "QUESTION_ZH": QUESTION_ZH}
    shown = seen(run(path, parameters, environ=environ, folder=tmp_path, network=True))
    assert "written by stub-chat" in shown
    assert upstream.calls("embeddings")
    asked = [call for call in upstream.calls("chat") if "You write search queries" not in str(call.json["messages"])]
    assert len(asked) == 4  # three questions, one of them twice
    assert "not-a-key" not in shown


def test_five_lines_of_a_script_ask_a_folder(clean_environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "warranty.md").write_text("# Warranty\n\nThe warranty of the lamp lasts for 24 months.\n")
    script = """
        from api.footnote import Footnote
        from rag.sync import Sync

        with Sync(Footnote.open()) as footnote:
            footnote.ingest("docs")
            answer = footnote.ask("How long does the warranty of the lamp last?")
            print(answer.text, answer.citations[0].document, answer.citations[0].quote)
    """
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        cwd=tmp_path,
        env=clean_environ,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "24 months. [1] warranty.md The warranty of the lamp lasts for 24 months." in ended.stdout
