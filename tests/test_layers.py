"""The arrows between packages, and one module for each foreign library, checked on the source."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "rag": {"rag"},
    "index": {"rag", "index"},
    "ingest": {"rag", "index", "ingest"},
    "api": {"rag", "index", "ingest", "api"},
}
MODULES = [path.relative_to(ROOT) for package in ALLOWED for path in sorted((ROOT / package).rglob("*.py"))]
OWNED = {
    "faiss",
    "tantivy",
    "Stemmer",
    "tiktoken",
    "regex",
    "tokenizers",
    "onnxruntime",
    "httpx2",
    "httpcore2",
    "aiohttp",
    "idna",
    "pypdf",
    "pypdfium2",
    "selectolax",
    "markdown_it",
    "charset_normalizer",
    "docx",
    "pptx",
    "openpyxl",
    "striprtf",
    "oxmsg",
    "PIL",
    "av",
    "filelock",
    "rich",
    "watchfiles",
    "yaml",
    "jsonschema",
    "referencing",
    "uvicorn",
}
WEB = {"fastapi", "starlette", "pydantic"}


def imports(source: str) -> set[str]:
    """Names of the top-level packages that a module imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_point_one_way(module: Path) -> None:
    inside = imports((ROOT / module).read_text(encoding="utf-8")) & set(ALLOWED)
    assert inside <= ALLOWED[module.parts[0]]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_only_the_api_knows_the_web_framework(module: Path) -> None:
    used = imports((ROOT / module).read_text(encoding="utf-8")) & WEB
    assert not used or module.parts[0] == "api"


def test_each_foreign_library_has_one_importing_module() -> None:
    importers: dict[str, list[str]] = defaultdict(list)
    for module in MODULES:
        for name in imports((ROOT / module).read_text(encoding="utf-8")) & OWNED:
            importers[name].append(str(module))
    assert {name: places for name, places in importers.items() if len(places) > 1} == {}


def test_the_check_sees_an_import_inside_a_function() -> None:
    assert imports("def f():\n    from index.library import Library\n") == {"index"}
