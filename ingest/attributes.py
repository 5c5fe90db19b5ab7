"""What a file's surroundings say of it: rules over its path, its front matter, and the sidecar beside it.

Everything that cannot be used is a warning with the place. What might have held access labels and cannot be read
counts as the empty list of them, so that a mistake gives a document no label that it lacks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from rag.attributes import ACCESS, Attribute, Attributes, checked_attributes
from rag.errors import ConfigError

__all__ = ["SIDECAR", "PathRules", "attributes_of_file", "described_by", "front_matter", "read_sidecar"]

SIDECAR = ".meta.json"
"""What the name of a sidecar ends in, after the whole name of its file: ``report.pdf.meta.json``."""

_MAX_BYTES = 64 * 1024
_MAX_FRONT_MATTER = 16 * 1024  # characters: some 0.2 s of YAML in the worst case, and it is read in the parent
_NO_LABELS: Mapping[str, Attribute] = {ACCESS: ()}
_FRONT_MATTER = re.compile(r"---[ ]*\n(.*?)^(?:---|\.\.\.)[ ]*$", re.DOTALL | re.MULTILINE)
_PART = re.compile(r"\{(\w+)(?::(text|int|float|bool|date))?\}|(\*\*/|\*\*|\*|\?|[^{}*?])", re.DOTALL)
_SHAPES = {
    "text": "[^/]+",
    "int": r"[+-]?\d{1,18}",
    "float": r"[+-]?\d+(?:\.\d+)?",
    "bool": "true|false",
    "date": r"\d{4}-\d\d-\d\d",
}
_WILD = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
_WHOLE = re.compile(r"[-+]?\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?", re.ASCII)

Found = tuple[dict[str, Attribute], list[str]]
"""What can be used, and in words what cannot."""


# --- from the path


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    kinds: Mapping[str, str]
    fixed: Attributes

    def attributes(self, path: str) -> dict[str, Attribute] | None:
        match = self.pattern.fullmatch(path)
        if match is None:
            return None
        named = {name: _typed(match[name], kind) for name, kind in self.kinds.items()}
        return {**named, **self.fixed}


@dataclass(frozen=True, slots=True)
class PathRules:
    """Rules such as ``{department}/{year:int}/**`` or ``hr/** => {"access": ["hr"]}``; the first that gives a key wins.

    Raises ConfigError for a rule that cannot be read.
    """

    written: tuple[str, ...] = ()
    rules: tuple[_Rule, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", tuple(_rule(text) for text in self.written))

    def attributes(self, path: str) -> Found:
        """Return what the rules say of a document id."""
        found: dict[str, Attribute] = {}
        for rule in self.rules:
            found = {**(rule.attributes(path) or {}), **found}
        return checked_attributes(dict(found.items()), where=f"the path {path!r}")


def _rule(text: str) -> _Rule:
    written, arrow, fixed_text = text.partition("=>")
    fixed: Attributes = {}
    if arrow:
        try:
            given = json.loads(fixed_text)
        except ValueError as error:
            raise ConfigError(f"ingest.attributes: {text!r} has no JSON object after '=>': {error}") from error
        if not isinstance(given, dict):
            raise ConfigError(f"ingest.attributes: {text!r} must have a JSON object after '=>', got {given!r}")
        fixed, problems = checked_attributes(given, where=f"the rule {text!r}")
        if problems:
            raise ConfigError(f"ingest.attributes: {problems[0]}")
    pieces, kinds, at = [], {}, 0
    written = written.strip()
    while at < len(written):
        match = _PART.match(written, at)
        if match is None or match[1] in kinds or (match[1] and not match[1].isidentifier()):
            raise ConfigError(
                f"ingest.attributes: {text!r} is wrong at {written[at : at + 20]!r}; write parts as {{name}} or"
                " {name:int}, with text, int, float, bool or date, each name once"
            )
        name, kind, other = match.groups()
        if name:
            kinds[name] = kind or "text"
            pieces.append(f"(?P<{name}>{_SHAPES[kind or 'text']})")
        else:
            pieces.append(_WILD.get(other) or re.escape(other))
        at = match.end()
    if not kinds and not fixed:
        raise ConfigError(f"ingest.attributes: {text!r} gives no attribute; name a part, as in {{department}}/**")
    return _Rule(re.compile("".join(pieces), re.DOTALL), kinds, fixed)


def _typed(text: str, kind: str) -> Attribute:
    if kind == "int":
        return int(text)
    if kind == "float":
        return float(text)
    return text == "true" if kind == "bool" else text


# --- from front matter


def front_matter(text: str, *, path: str) -> Found:
    """Return the attributes in the YAML front matter of a Markdown text; the text itself is left as it is.

    Texts, numbers, true, false, dates and flat lists of these are taken, as YAML 1.2 reads them: ``no`` is a word.
    """
    match = _FRONT_MATTER.match(text[:_MAX_FRONT_MATTER])
    if match is None:
        if text.startswith("---\n") and re.search(r"^\s*access\s*:", text[:_MAX_FRONT_MATTER], re.MULTILINE):
            return dict(_NO_LABELS), [f"the front matter of {path!r} has no end; its attributes were not read"]
        return {}, []
    try:
        root = yaml.compose(match[1], Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        return dict(_NO_LABELS), [f"the front matter of {path!r} is no YAML and gives no attributes: {said}"]
    if root is None:
        return {}, []
    if not isinstance(root, yaml.MappingNode):
        return dict(_NO_LABELS), [f"the front matter of {path!r} is no list of `key: value` and gives no attributes"]
    found = {_key(key): _plain(value) for key, value in root.value}
    return checked_attributes({**found}, where=f"the front matter of {path!r}")


def _key(node: yaml.Node) -> object:
    return node.value if isinstance(node, yaml.ScalarNode) else ()


def _plain(node: yaml.Node) -> object:
    """Return a scalar or a flat list; anything deeper as what ``checked_attributes`` refuses by name."""
    if isinstance(node, yaml.SequenceNode):
        return [_scalar(item) if isinstance(item, yaml.ScalarNode) else {} for item in node.value]
    return _scalar(node) if isinstance(node, yaml.ScalarNode) else {}


def _scalar(node: yaml.ScalarNode) -> object:
    text = str(node.value)
    if node.style is not None:  # quoted, or a block
        return text
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


# --- from a sidecar


def described_by(name: str) -> str | None:
    """Return the name of the file that a sidecar of this name would describe, None for other names.

    >>> described_by("a/report.pdf.meta.json"), described_by("a/notes.meta.json")
    ('a/report.pdf', None)
    """
    described = name.removesuffix(SIDECAR)
    return described if described != name and "." in described.rpartition("/")[2].lstrip(".") else None


def read_sidecar(path: Path, *, where: str) -> Found:
    """Return the attributes in a sidecar file: one JSON object."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            return dict(_NO_LABELS), [f"the sidecar {where!r} is larger than {_MAX_BYTES // 1024} KB and was not read"]
        found = json.loads(data.decode("utf-8-sig"))
    except OSError as error:
        return dict(_NO_LABELS), [f"the sidecar {where!r} cannot be read: {error.strerror or error}"]
    except (ValueError, RecursionError) as error:
        return dict(_NO_LABELS), [f"the sidecar {where!r} is no JSON and gives no attributes: {error}"]
    if not isinstance(found, dict):
        return dict(_NO_LABELS), [f"the sidecar {where!r} must hold a JSON object, and gives no attributes"]
    return checked_attributes(found, where=f"the sidecar {where!r}")


def attributes_of_file(
    rules: PathRules, document_id: str, path: Path | None
) -> tuple[dict[str, Attributes], list[str]]:
    """Return what rules and sidecar say of a file, by source, and what is wrong with it; without reading the file.

    ``path`` is where the file lies, or the archive that it is in, whose sidecar is for all in it; None on the web.
    """
    by_rule, problems = rules.attributes(document_id)
    beside: dict[str, Attribute] = {}
    sidecar = None if path is None else path.with_name(path.name + SIDECAR)
    if sidecar is not None and sidecar.exists():
        beside, more = read_sidecar(sidecar, where=document_id + SIDECAR)
        problems += more
    return {"path": by_rule, "sidecar": beside}, problems
