"""Turns pages of the Vue documentation (Markdown for VitePress) into HTML for print and for the web.

Where a page shows both of Vue's API styles, the composition API is kept, as the site does when a reader chooses it.
Left out: live demos, videos, advertisements and images (their licences are their authors' own).
Imported by ``build_examples.py`` alone; the only module here that imports markdown-it.
"""

from __future__ import annotations

import html
import re

from markdown_it import MarkdownIt

__all__ = ["SITE", "page_title", "plain_markdown", "vitepress_html"]

SITE = "https://cn.vuejs.org"

_FENCE = re.compile(r"^\s*(`{3,}|~{3,})")
_CONTAINER = re.compile(r"^\s*:{3,}\s*([a-z-]+)\s*(.*)$")
_CONTAINER_END = re.compile(r"^\s*:{3,}\s*$")
_CONTAINER_TITLES = {
    "tip": "提示",
    "warning": "注意",
    "danger": "警告",
    "info": "信息",
    "details": "详情",
    "code-group": "",
}
_DROPPED_BLOCK = re.compile(r'^\s*<(?:div class="(?:options-api|demo)[^"]*"|div id="|script\b|style\b|svg\b|iframe\b)')
_OPEN_DIV = re.compile(r"<div\b")
_CLOSE_DIV = re.compile(r"</div>")
_SPAN_DROPPED = re.compile(r'<span class="options-api">.*?</span>', re.DOTALL)
_SPAN_KEPT = re.compile(r'<span class="composition-api">(.*?)</span>', re.DOTALL)
_CODE_TAG = re.compile(r"<code\b[^>]*>([^<]*(?:<wbr>[^<]*)*)</code>")
_HTML_LEFT = re.compile(
    r"</?(?:a|details|div|i|img|p|small|span|strong|summary|sup|wbr)\b[^>]*>|<!--.*?-->|!\[[^\]]*\]\([^)]*\)", re.DOTALL
)
_COMPONENT_LINE = re.compile(r"^\s*</?[A-Z][A-Za-z]+\b[^>]*/?>(?:.*</[A-Z][A-Za-z]+>)?\s*$", re.MULTILINE)
_PLAYGROUND = re.compile(r"^\s*\[[^\]]*\]\(https://play\.vuejs\.org/[^)]*\)\s*$", re.MULTILINE)
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
# The site marks the headings of one API style with asterisks.
_STYLE_MARK = re.compile(r"^(#+ .*?) (?:\\\*)+(?=\s|$)", re.MULTILINE)
_ANCHOR = re.compile(r"\s*\\?\{#[^}]+\}\s*$", re.MULTILINE)
_FENCE_NAME = re.compile(r"^(\s*`{3,}[a-z-]*)[^\n]*?(?:\[([^\]]+)\])?[^\n]*$")
_HEADING = re.compile(r"<(/?)h([1-6])>")


def page_title(source: str) -> str:
    """Return the first heading of level 1, without its anchor."""
    for line in source.splitlines():
        if line.startswith("# "):
            return _ANCHOR.sub("", line[2:]).strip()
    raise ValueError("the page has no heading of level 1")


def plain_markdown(source: str) -> str:
    """Return the page as ordinary Markdown: no components, no containers, one API style."""
    parts: list[str] = []
    prose: list[str] = []
    for is_code, line in _kept_lines(_FRONT_MATTER.sub("", source)):
        if is_code:
            parts += [_clean_prose("\n".join(prose))] if prose else []
            prose = []
            parts.append(line)
        else:
            prose.append(line)
    parts.append(_clean_prose("\n".join(prose)))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).strip() + "\n"


def vitepress_html(source: str, *, heading_shift: int) -> str:
    """Return the page's body below its title as HTML, its headings moved down by ``heading_shift`` levels."""
    text = re.sub(r"^# .*\n", "", plain_markdown(source), count=1, flags=re.MULTILINE)
    text = _STYLE_MARK.sub(r"\1", _ANCHOR.sub("", text))
    text = re.sub(r"\]\((/[^)\s]*)\)", rf"]({SITE}\1)", text)
    text = re.sub(r"\]\((?:\./|\.\./|#)[^)\s]*\)", f"]({SITE}/)", text)
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    return _HEADING.sub(lambda match: f"<{match[1]}h{min(int(match[2]) + heading_shift, 6)}>", body)


def _kept_lines(source: str) -> list[tuple[bool, str]]:
    """Return (is code, line) of what is kept; blocks of the other API style, demos and scripts are left out."""
    kept: list[tuple[bool, str]] = []
    fence, depth, closing = "", 0, ""
    for line in source.splitlines():
        mark = _FENCE.match(line)
        if fence:
            is_end = mark is not None and mark[1].startswith(fence) and line.strip() == mark[1]
            if not closing:
                kept.append((True, line))
            fence = "" if is_end else fence
        elif mark:
            fence = mark[1]
            if not closing:
                kept += _fence_opening(line)
        elif closing == "</div>":
            depth += len(_OPEN_DIV.findall(line)) - len(_CLOSE_DIV.findall(line))
            closing = closing if depth > 0 else ""
        elif closing:
            closing = "" if closing in line else closing
        elif match := _DROPPED_BLOCK.match(line):
            tag = re.match(r"\s*<(\w+)", match[0])[1]  # type: ignore[index]
            depth = len(_OPEN_DIV.findall(line)) - len(_CLOSE_DIV.findall(line))
            is_open = depth > 0 if tag == "div" else f"</{tag}>" not in line
            closing = f"</{tag}>" if is_open else ""
        else:
            kept.append((False, line))
    if fence or closing:
        raise ValueError(f"the page ends inside {fence or closing}")
    return kept


def _fence_opening(line: str) -> list[tuple[bool, str]]:
    match = _FENCE_NAME.match(line)
    if match is None or match[2] is None:
        return [(True, re.sub(r"\{[^}]*\}.*$", "", line))]
    return [(False, f"`{match[2]}`:"), (False, ""), (True, match[1])]


def _clean_prose(text: str) -> str:
    text = _CODE_TAG.sub(lambda match: "`" + match[1].replace("<wbr>", "") + "`", text)
    text = _SPAN_KEPT.sub(r"\1", _SPAN_DROPPED.sub("", text))
    text = _PLAYGROUND.sub("", _COMPONENT_LINE.sub("", text))
    lines = []
    for line in text.splitlines():
        if opened := _CONTAINER.match(line):
            title = opened[2] or _CONTAINER_TITLES[opened[1]]
            line = f"\n**{title}**\n" if title else ""
        elif _CONTAINER_END.match(line):
            line = ""
        lines.append(line)
    return html.unescape(_strip_html("\n".join(lines) + "\n"))


def _strip_html(text: str) -> str:
    """Remove the page's own HTML, but not what stands in inline code."""
    pieces = re.split(r"(`+[^`\n]+`+)", text)
    return "".join(piece if at % 2 else _HTML_LEFT.sub("", piece) for at, piece in enumerate(pieces))
