"""Builds ``examples/docs`` from the documentation sources beside the project, and the notices that go with them.

    python -m venv build/examples && build/examples/bin/pip install -r scripts/requirements-build-examples.txt
    build/examples/bin/python scripts/build_examples.py [--data ../shared/data]

The results are committed, so this runs only when the set changes. The same sources and tools give the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from examples_from_rst import label_titles, markdown_of, read_rst, register_sphinx_words, rst_html
from examples_from_vitepress import SITE, page_title, vitepress_html
from examples_layout import Book, Chapter, Site, typeset, web_page

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"

PYTHON_AUTHORS = "Python Software Foundation and contributors"
PYTHON_NOTICE = (
    "Copyright © 2001-2023 Python Software Foundation; All Rights Reserved. From the documentation of Python 3.11, "
    "used under the PSF License Version 2; code examples also under the Zero-Clause BSD License. Changes: typeset anew "
    "from the reStructuredText sources, cross-references reduced to their titles; nothing reworded."
)
VUE_AUTHORS = "尤雨溪与 Vue 文档贡献者，vuejs-translations 中文翻译"
VUE_NOTICE = (
    "Copyright © 2019-present, Yuxi (Evan) You and Vue documentation contributors. 本文件依据 CC BY 4.0 "
    "(https://creativecommons.org/licenses/by/4.0/) 使用，来源 https://cn.vuejs.org 。"
    "改动：由 Markdown 源文件重新排版，只保留组合式 API 的示例，省略图片、视频、广告和在线演示，文字未作修改。"
)
WIKIPEDIA_HEADING = {"en": "From Wikipedia, the free encyclopedia (excerpts)", "zh": "摘自维基百科（节选，中文译文）"}

TUTORIAL = Book(
    title="The Python Tutorial: Selected Chapters",
    authors=PYTHON_AUTHORS,
    language="en",
    notice=PYTHON_NOTICE,
    subject="Data structures, exceptions, classes and floating point in Python 3.11",
)
REGEX = Book(
    title="Regular Expression HOWTO",
    authors="A.M. Kuchling",
    language="en",
    notice=PYTHON_NOTICE,
    subject="The re module of Python, step by step",
)
ESSENTIALS = Book(
    title="Vue.js 深度指南：基础",
    authors=VUE_AUTHORS,
    language="zh",
    notice=VUE_NOTICE,
    subject="Vue 3 基础：模板、响应式、组件",
)
PRACTICES = Book(
    title="Vue.js 深度指南：应用规模化与最佳实践",
    authors=VUE_AUTHORS,
    language="zh",
    notice=VUE_NOTICE,
    subject="测试、服务端渲染、性能、安全、无障碍访问",
)
PYTHON_SITE = Site(
    name="Python 3.11 documentation",
    language="en",
    navigation=("What's new", "Tutorial", "Library reference", "HOWTOs", "FAQs", "Glossary", "Index"),
    notice=PYTHON_NOTICE,
)
VUE_SITE = Site(
    name="Vue.js",
    language="zh",
    navigation=("快速上手", "基础", "深入组件", "逻辑复用", "内置组件", "应用规模化", "最佳实践", "进阶主题"),
    notice=VUE_NOTICE,
)

TUTORIAL_CHAPTERS = ("datastructures", "errors", "classes", "floatingpoint")
ESSENTIALS_CHAPTERS = (
    "template-syntax",
    "reactivity-fundamentals",
    "computed",
    "conditional",
    "event-handling",
    "forms",
    "lifecycle",
    "watchers",
    "component-basics",
)
PRACTICES_CHAPTERS = (
    "scaling-up/sfc",
    "scaling-up/state-management",
    "scaling-up/testing",
    "scaling-up/ssr",
    "best-practices/production-deployment",
    "best-practices/performance",
    "best-practices/accessibility",
    "best-practices/security",
)
TLDR_GROUPS = ("git", "docker", "npm", "tar", "ssh", "curl", "rsync", "conda", "pip", "tmux")
PASSAGES_EN = ("Amazon rainforest", "Warsaw", "Prime number", "Immune system", "Rhine", "Scottish Parliament")
PASSAGES_ZH = (
    "Nikola Tesla",
    "Oxygen",
    "Packet switching",
    "Kenya",
    "Harvard University",
    "Genghis Khan",
    "Chloroplast",
    "Steam engine",
)
TEXTS = (  # file, language, title of the article, title printed, encoding
    ("apollo-program.txt", "en", "Apollo program", "Apollo program", "utf-8"),
    ("black-death.txt", "en", "Black Death", "Black Death", "utf-8"),
    ("黑死病.txt", "zh", "Black Death", "黑死病", "utf-8"),
    ("元朝.txt", "zh", "Yuan dynasty", "元朝", "gb18030"),
)


# --- chapters --------------------------------------------------------------------------------------------------------


def python_chapter(path: Path) -> Chapter:
    name = path.name.removesuffix(".rst.txt")
    document = read_rst(path, id_prefix=f"{name}-")
    return Chapter(document["title"], rst_html(document, heading_level=2), name)


def vue_chapter(path: Path) -> Chapter:
    source = path.read_text("utf-8")
    body = vitepress_html(source, heading_shift=0)
    numbered = iter(range(1, 1000))
    body = re.sub(r"<h2>", lambda _: f'<h2 id="{path.stem}-{next(numbered)}">', body)
    return Chapter(page_title(source), body, path.stem)


# --- tldr and Wikipedia -----------------------------------------------------------------------------------------------


def tldr_collection(folder: Path, prefix: str, title: str) -> str:
    """Return the pages of one family of commands as a single Markdown document, a section each."""
    pages = sorted([*folder.glob(f"{prefix}-*.md"), *folder.glob(f"{prefix}.md")])
    parts = [f"# {title}"]
    for path in pages:
        parts.append("#" + path.read_text("utf-8").strip())
    return "\n\n".join(parts) + "\n"


def tldr_table(folder: Path) -> str:
    """Return a CSV table of commands: name, what it does, where more is written, and its first example."""
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\r\n")
    writer.writerow(["命令", "说明", "更多信息", "示例用途", "示例"])
    for path in sorted(folder.glob("*.md")):
        if path.stem.split("-")[0] not in TLDR_GROUPS:
            continue
        text = path.read_text("utf-8")
        notes = re.findall(r"^> (.*)$", text, re.MULTILINE)
        link = re.search(r"<(https?://[^>]+)>", text)
        use, example = re.search(r"^- (.+)$", text, re.MULTILINE), re.search(r"^`(.+)`$", text, re.MULTILINE)
        about = " ".join(note for note in notes if "http" not in note)
        if link and use and example:
            name = text.splitlines()[0].removeprefix("# ")
            writer.writerow([name, about, link[1], use[1].rstrip("：:"), re.sub(r"\{\{|\}\}", "", example[1])])
    return table.getvalue()


def articles(path: Path) -> dict[str, str]:
    """Return the text of each article by its title, paragraphs separated by an empty line."""
    rows = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    # Some translated paragraphs start with a byte-order mark or a space.
    return {
        row["title"]: "\n\n".join(part.replace("\ufeff", "").strip() for part in row["text"].split("\n\n"))
        for row in rows
    }


def passages(texts: dict[str, str], titles: Sequence[str], language: str) -> str:
    """Return one JSON object per paragraph: title, language, text."""
    records = [
        {"title": title, "language": language, "source": "Wikipedia", "text": paragraph}
        for title in titles
        for paragraph in texts[title].split("\n\n")
    ]
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


# --- the set ----------------------------------------------------------------------------------------------------------


def build_python(data: Path, docs: Path) -> None:
    sources = data / "docs" / "python-doc" / "_sources"
    register_sphinx_words(label_titles(sources))
    tutorial = [python_chapter(sources / "tutorial" / f"{name}.rst.txt") for name in TUTORIAL_CHAPTERS]
    _write(docs / "python/tutorial.pdf", typeset(TUTORIAL, tutorial))
    _write(docs / "python/regex-howto.pdf", typeset(REGEX, [python_chapter(sources / "howto/regex.rst.txt")]))
    for name, source in (("design-faq", "faq/design"), ("unicode-howto", "howto/unicode")):
        address = f"https://docs.python.org/3.11/{source}.html"
        page = web_page(python_chapter(sources / f"{source}.rst.txt"), site=PYTHON_SITE, address=address)
        _write(docs / f"python/{name}.html", page.encode())
    for name, source in (("sorting-howto", "howto/sorting"), ("general-faq", "faq/general")):
        _write(docs / f"python/{name}.md", markdown_of(read_rst(sources / f"{source}.rst.txt")).encode())
    _write(docs / "python/sockets-howto.txt", (sources / "howto/sockets.rst.txt").read_bytes())


def build_vue(data: Path, docs: Path) -> None:
    pages = data / "docs" / "vue-docs-zh" / "src"
    essentials = [vue_chapter(pages / "guide/essentials" / f"{name}.md") for name in ESSENTIALS_CHAPTERS]
    _write(docs / "vue/essentials.pdf", typeset(ESSENTIALS, essentials))
    practices = [vue_chapter(pages / "guide" / f"{name}.md") for name in PRACTICES_CHAPTERS]
    _write(docs / "vue/best-practices.pdf", typeset(PRACTICES, practices))
    for source in ("guide/extras/reactivity-in-depth", "guide/components/slots"):
        page = web_page(vue_chapter(pages / f"{source}.md"), site=VUE_SITE, address=f"{SITE}/{source}.html")
        _write(docs / f"vue/{Path(source).name}.html", page.encode())
    unchanged = {"glossary": "glossary/index", "faq": "about/faq", "composables": "guide/reusability/composables"}
    for name, source in unchanged.items():
        _write(docs / f"vue/{name}.md", (pages / f"{source}.md").read_bytes())


def build_tldr(data: Path, docs: Path) -> None:
    pages = data / "docs" / "tldr"
    _write(docs / "tldr/git.md", tldr_collection(pages / "pages/common", "git", "Git commands, by example").encode())
    # With a byte-order mark, as spreadsheets write it and need it.
    _write(docs / "tldr/commands-zh.csv", tldr_table(pages / "pages.zh/common").encode("utf-8-sig"))


def build_wikipedia(data: Path, docs: Path) -> None:
    texts = {language: articles(data / "spans" / f"xquad_{language}" / "corpus.jsonl") for language in ("en", "zh")}
    for name, language, article, title, encoding in TEXTS:
        page = f"{title}\n{WIKIPEDIA_HEADING[language]}\n\n{texts[language][article]}\n"
        _write(docs / "wikipedia" / name, page.encode(encoding))
    _write(docs / "wikipedia/passages-en.jsonl", passages(texts["en"], PASSAGES_EN, "en").encode())
    _write(docs / "wikipedia/passages-zh.jsonl", passages(texts["zh"], PASSAGES_ZH, "zh").encode())


def build_licences(data: Path, licences: Path) -> None:
    python = (data / "docs/python-doc/_sources/license.rst.txt").read_text("utf-8").replace("|release|", "3.11")
    _write(licences / "PSF-2.0.txt", python.split(".. _OtherLicenses:")[0].encode())
    vue = (data / "docs/vue-docs-zh/LICENSE").read_text("utf-8")
    _write(licences / "CC-BY-4.0.md", vue.encode())
    _write(licences / "CC-BY-SA-4.0.txt", (data / "badinputs/py-pdf-sample-files/LICENSE").read_bytes())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    sys.stderr.write(f"{len(content):>9,}  {path.relative_to(ROOT)}\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder with the sources")
    data: Path = parser.parse_args().data
    if not (data / "docs" / "python-doc").is_dir():
        sys.stderr.write(f"the sources of the examples are not in {data}; name their folder with --data\n")
        return 1
    logging.getLogger("weasyprint").addHandler(logging.StreamHandler())
    for build in (build_python, build_vue, build_tldr, build_wikipedia):
        build(data, EXAMPLES / "docs")
    build_licences(data, EXAMPLES / "licences")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
