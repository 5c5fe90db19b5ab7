"""Turns the sources of the Python documentation (reStructuredText for Sphinx) into HTML and Markdown.

Only what those sources use is known: an unknown role or directive stops the build, so nothing is lost unseen.
Imported by ``build_examples.py`` alone; the only module here that imports docutils.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.core import publish_doctree, publish_from_doctree
from docutils.parsers.rst import Directive, directives, roles

__all__ = ["label_titles", "markdown_of", "read_rst", "register_sphinx_words", "rst_html"]

_PROLOGUE = ".. |version| replace:: 3.11\n.. |release| replace:: 3.11\n\n"
_LITERAL_ROLES = ("func", "meth", "class", "mod", "exc", "const", "data", "attr", "keyword", "envvar", "option", "file")
_LITERAL_ROLES += ("kbd", "program", "command", "c:func", "c:type", "c:data", "c:member", "c:expr", "c:struct")
_TEXT_ROLES = ["term", "dfn", "menuselection", "guilabel", "newsgroup", "abbr", "source", "ref"]
_DROPPED = ["index", "sectionauthor", "only", "testsetup", "highlight", "currentmodule", "toctree", "contents"]
_CODE = ["code-block", "doctest", "testcode", "testoutput"]
_SIGNATURES = ["method", "data", "function", "class", "attribute"]
_TITLED = re.compile(r"^(?P<title>.*?)\s*<(?P<target>[^<>]+)>$", re.DOTALL)
_LITERAL_SPAN = re.compile(r'<span class="docutils literal">((?:[^<]|<span class="pre">[^<]*</span>)*)</span>')
_LABEL = re.compile(
    r"^\.\. _([a-z0-9-]+):\n(?:\.\. .*\n|[ \t]*\n)*(?:[*=#-]{3,}\n)?(?P<title>\S.*)\n[*=#~^-]{3,}", re.M | re.I
)


def label_titles(folder: Path) -> dict[str, str]:
    """Return the section title behind each ``.. _label:`` of the sources below ``folder``."""
    found = {}
    for path in sorted(folder.rglob("*.rst.txt")):
        for match in _LABEL.finditer(path.read_text("utf-8")):
            found[match[1].lower()] = match["title"].strip()
    return found


def register_sphinx_words(labels: Mapping[str, str]) -> None:
    """Teach docutils the roles and directives of Sphinx that the sources use."""
    for name in _LITERAL_ROLES:
        roles.register_local_role(name, _literal_role)
    for name in _TEXT_ROLES:
        roles.register_local_role(name, _text_role(labels))
    for name, prefix, address in (
        ("pep", "PEP", "https://peps.python.org/pep-{:0>4}/"),
        ("rfc", "RFC", "https://www.rfc-editor.org/rfc/rfc{}"),
    ):
        roles.register_local_role(name, _numbered_role(prefix, address))
    for name in _DROPPED:
        directives.register_directive(name, _Dropped)
    for name in _CODE:
        directives.register_directive(name, _Code)
    for name in _SIGNATURES:
        directives.register_directive(name, _Signature)
    directives.register_directive("seealso", _SeeAlso)
    for name in ("versionadded", "versionchanged", "deprecated"):
        directives.register_directive(name, _VersionNote)


def read_rst(path: Path, *, id_prefix: str = "") -> nodes.document:
    """Parse one source; ``id_prefix`` keeps the anchors of several sources in one file apart."""
    settings = {"report_level": 2, "halt_level": 2, "smart_quotes": False, "id_prefix": id_prefix, "raw_enabled": False}
    text = _PROLOGUE + path.read_text("utf-8")
    return publish_doctree(text, source_path=path.name, settings_overrides=settings)


def rst_html(document: nodes.document, *, heading_level: int) -> str:
    """Return the body as HTML; the headings below the title start at ``heading_level``."""
    settings = {
        "initial_header_level": heading_level,
        "syntax_highlight": "none",
        "embed_stylesheet": False,
        "output_encoding": "unicode",
        "section_self_link": False,
        "template": str(Path(__file__).parents[1] / "examples" / "style" / "docutils-body.txt"),
    }
    html: str = publish_from_doctree(document, writer="html5", settings_overrides=settings)
    return _LITERAL_SPAN.sub(lambda match: "<code>" + re.sub(r"</?span[^>]*>", "", match[1]) + "</code>", html)


# --- roles and directives ---------------------------------------------------------------------------------------------


def _split_title(text: str) -> tuple[str, str | None]:
    match = _TITLED.match(text)
    return (match["title"], match["target"]) if match else (text, None)


def _literal_role(name: str, rawtext: str, text: str, *_: Any, **__: Any) -> tuple[list[nodes.Node], list[nodes.Node]]:
    title, target = _split_title(text) if not text.startswith("<") else (text, None)
    if target is None:
        title = title.lstrip("!")
        if title.startswith("~"):
            title = title[1:].rsplit(".", 1)[-1]
        if name in ("func", "meth", "c:func") and not title.endswith(")"):
            title += "()"
    return [nodes.literal(rawtext, nodes.unescape(title))], []


def _text_role(labels: Mapping[str, str]) -> Any:
    def role(name: str, rawtext: str, text: str, *_: Any, **__: Any) -> tuple[list[nodes.Node], list[nodes.Node]]:
        title, target = _split_title(nodes.unescape(text))
        if name == "ref" and target is None:
            title = labels.get(title.lower(), title)
        return [nodes.Text(title)], []

    return role


def _numbered_role(prefix: str, address: str) -> Any:
    def role(_: str, rawtext: str, text: str, *__: Any, **___: Any) -> tuple[list[nodes.Node], list[nodes.Node]]:
        title, target = _split_title(nodes.unescape(text))
        number = (target or title).split("#")[0]
        label = title if target else f"{prefix} {number}"
        return [nodes.reference(rawtext, label, refuri=address.format(number))], []

    return role


class _Dropped(Directive):
    has_content, optional_arguments, final_argument_whitespace = True, 9, True

    def run(self) -> list[nodes.Node]:
        return []


class _Code(Directive):
    has_content, optional_arguments = True, 1
    option_spec: ClassVar = {
        name: directives.unchanged for name in ("options", "linenos", "emphasize-lines", "caption")
    }

    def run(self) -> list[nodes.Node]:
        text = "\n".join(self.content)
        return [nodes.literal_block(text, text)]


class _Signature(Directive):
    """A described name: its signature in code, and its text, as a definition list."""

    has_content, required_arguments, final_argument_whitespace = True, 1, True
    option_spec: ClassVar = {"noindex": directives.flag, "module": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        signatures = [line.strip() for line in self.arguments[0].splitlines() if line.strip()]
        terms = [nodes.term("", "", nodes.literal(line, line)) for line in signatures]
        body = nodes.definition()
        self.state.nested_parse(self.content, self.content_offset, body)
        return [nodes.definition_list("", nodes.definition_list_item("", *terms, body))]


class _SeeAlso(Directive):
    has_content = True

    def run(self) -> list[nodes.Node]:
        note = nodes.note()
        note += nodes.paragraph("", "", nodes.strong("", "See also"))
        self.state.nested_parse(self.content, self.content_offset, note)
        return [note]


class _VersionNote(Directive):
    has_content, required_arguments, optional_arguments, final_argument_whitespace = True, 1, 1, True
    _words: ClassVar = {
        "versionadded": "New in version",
        "versionchanged": "Changed in version",
        "deprecated": "Deprecated since",
    }

    def run(self) -> list[nodes.Node]:
        paragraph = nodes.paragraph("", f"{self._words[self.name]} {self.arguments[0]}: ")
        inline, messages = self.state.inline_text(" ".join([*self.arguments[1:], *self.content]), self.lineno)
        paragraph += inline
        return [paragraph, *messages]


# --- Markdown ---------------------------------------------------------------------------------------------------------


def markdown_of(document: nodes.document) -> str:
    """Return the document as Markdown."""
    # docutils lifts the first heading to a document title only where nothing stands before it.
    has_title = any(isinstance(child, nodes.title) for child in document.children)
    return "\n\n".join(_blocks(document, level=1 if has_title else 0)) + "\n"


def _blocks(parent: nodes.Element, *, level: int) -> list[str]:
    found: list[str] = []
    for node in parent.children:
        found += _block(node, level=level)
    return found


def _block(node: nodes.Node, *, level: int) -> list[str]:
    match node:
        case nodes.title():
            return ["#" * level + " " + _inline(node)]
        case nodes.subtitle() | nodes.paragraph() | nodes.rubric():
            return [_inline(node)]
        case nodes.section():
            return _blocks(node, level=level + 1)
        case nodes.literal_block() | nodes.doctest_block():
            return [f"```python\n{node.astext()}\n```"]
        case nodes.bullet_list():
            return ["\n\n".join(_item("* ", item, level=level) for item in node.children)]
        case nodes.enumerated_list():
            return ["\n\n".join(_item(f"{n}. ", item, level=level) for n, item in enumerate(node.children, 1))]
        case nodes.note() | nodes.warning() | nodes.topic() | nodes.block_quote():
            return [_quoted("\n\n".join(_blocks(node, level=level)))]
        case nodes.docinfo():
            fields = [_field(field) for field in node.children]
            return ["*" + ": ".join(field) + "*" for field in fields if field[0] != "tocdepth"]
        case nodes.definition_list():
            return [_definition(item, level=level) for item in node.children]
        case nodes.footnote():
            label, *rest = node.children
            return [f"[^{label.astext()}]: " + " ".join(_inline(child) for child in rest)]
        case nodes.target() | nodes.comment() | nodes.substitution_definition() | nodes.system_message():
            return []
    raise ValueError(f"no Markdown for <{node.tagname}>; add it to examples_from_rst._block")


def _field(field: nodes.Element) -> list[str]:
    if isinstance(field, nodes.field):
        return [child.astext() for child in field.children]
    return [field.tagname.capitalize(), field.astext()]


def _item(marker: str, item: nodes.Element, *, level: int) -> str:
    text = "\n\n".join(_blocks(item, level=level))
    return marker + text.replace("\n", "\n" + " " * len(marker)).replace(" " * len(marker) + "\n", "\n")


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def _definition(item: nodes.Element, *, level: int) -> str:
    term, body = item.children[0], item.children[-1]
    return f"**{_inline(term)}**\n\n" + "\n\n".join(_blocks(body, level=level))


def _inline(node: nodes.Node) -> str:
    if isinstance(node, nodes.Text):
        return re.sub(r"([*<>\[\]])", r"\\\1", node.astext().replace("\n", " "))
    if isinstance(node, nodes.literal):
        return f"`{node.astext()}`"
    inner = "".join(_inline(child) for child in node.children)
    match node:
        case nodes.emphasis() | nodes.title_reference():
            return f"*{inner}*"
        case nodes.strong():
            return f"**{inner}**"
        case nodes.reference():
            return f"[{inner}]({node['refuri']})" if "refuri" in node else inner
        case nodes.footnote_reference():
            return f"[^{node.astext()}]"
    return inner
