"""Source code and markup: the text stays as it is, its structure is found."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ingest.readers import READERS, read
from rag.types import Document


def read_text(name: str, source: str) -> Document:
    return read(Path(name), document_id=name, data=source.encode())


def outline(name: str, source: str) -> list[tuple[int, str]]:
    document = read_text(name, source)
    assert document.text == source.strip("\n"), "the source stays"
    for heading in document.headings:
        line = document.text[heading.start :].split("\n", 1)[0]
        assert line, "a heading begins where its line does"
    return [(heading.level, heading.title) for heading in document.headings]


def test_python_is_split_by_its_definitions() -> None:
    source = (
        'import x\n\n@x\nclass A:\n    """def no"""\n\n    def f(self):\n        pass\n\nif x:\n    async def h(): 1\n'
    )
    assert outline("a.py", source) == [(1, "class A"), (2, "def f"), (1, "def h")]
    document = read_text("a.py", source)
    assert document.text[document.headings[0].start :].startswith("@x\nclass A")
    assert document.place_at(document.text.index("pass")) == "§ def f, line 8"


@pytest.mark.parametrize("source", ["print 'old'\n", "def f(:\n", "(" * 5000])
def test_python_that_is_not_valid_is_read_as_text(source: str) -> None:
    assert outline("a.py", source) == []


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("a.java", "public class Foo {\n    public static void main(String[] a) {\n        if (x) { go(1); }\n    }\n}",
         [(1, "class Foo"), (2, "main")]),
        ("a.c", "static int foo(int a)\n{\n  for (;;) { bar(a); }\n}\n\nstruct point { int x; };\n",
         [(1, "foo"), (1, "struct point")]),
        ("a.go", "func (s *Server) Run(a int) error {\n\treturn nil\n}\n", [(1, "func (s *Server) Run")]),
        ("a.ts", "export class A<T> {\n  async run() {\n  }\n}\nexport default function go() {}\n",
         [(1, "class A"), (2, "run"), (1, "function go")]),
        ("a.rs", "pub fn go<T>(x: T) -> i32 {\n}\nimpl Foo for Bar {\n    fn a(&self) {}\n}\n",
         [(1, "fn go"), (1, "impl Foo"), (2, "fn a")]),
        ("a.rb", "module M\n  class A\n    def f\n    end\n  end\nend\n",
         [(1, "module M"), (2, "class A"), (3, "def f")]),
        ("a.rst", "=====\nTitle\n=====\n\nPart\n----\n\nx\n\nSub\n~~~\n\n-----\n\nOther\n-----\n",
         [(1, "Title"), (2, "Part"), (3, "Sub"), (2, "Other")]),
        ("a.adoc", "= Title\n\n----\n== not\n----\n\n== Part\n", [(1, "Title"), (2, "Part")]),
        ("a.org", "* One\n** TODO Two :tag:\n", [(1, "One"), (2, "Two")]),
        ("a.tex", "\\title{My \\emph{Paper}}\n% \\section{no}\n\\section{One}\n\\subsection*{Two $x$}\n",
         [(2, "One"), (3, "Two x")]),
    ],
)  # fmt: skip
def test_the_structure_of_each_language_is_found(name: str, source: str, expected: list[tuple[int, str]]) -> None:
    assert outline(name, source) == expected


def test_a_paper_has_the_title_it_names() -> None:
    assert read_text("a.tex", "\\title{My \\emph{Paper}}\n\\section{One}\n").title == "My Paper"


@pytest.mark.parametrize("piece", ["<b ", "a (", "\\section{", "= ", "def f(", "From ", "{\\", "* :a", "x)) ", "-->"])
@pytest.mark.parametrize(
    "suffix", sorted({".rst", ".adoc", ".org", ".tex", ".py", ".js", ".srt", ".vtt", ".mbox", ".eml"})
)
def test_a_long_line_of_anything_is_read_in_no_time(suffix: str, piece: str) -> None:
    assert suffix in READERS
    start = time.perf_counter()
    read(Path(f"a{suffix}"), document_id=f"a{suffix}", data=(piece * 60_000 + f"\n{piece}\n" * 20_000).encode())
    assert time.perf_counter() - start < 5
