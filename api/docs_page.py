"""The documentation page: the OpenAPI schema as plain HTML, without scripts, so that it works without a network."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["render_docs"]

Schema = Mapping[str, Any]

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
code, pre { font: 14px/1.45 ui-monospace, monospace; background: #f4f4f2; border-radius: 4px; padding: .1em .3em; }
pre { padding: .8em; overflow-x: auto; } pre code { padding: 0; }
details { margin: .6rem 0; } summary { cursor: pointer; }
.operation { border-left: 4px solid #8a8; padding-left: 1rem; margin: 1.5rem 0; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; font-size: 15px; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid #e4e4e0; }
@media (prefers-color-scheme: dark) {
  body { background: #191919; color: #e6e6e6; } code, pre { background: #2a2a2a; } th, td { border-color: #3a3a3a; }
}
"""


def render_docs(schema: Schema) -> str:
    """Return an OpenAPI schema as an HTML page: routes by tag with examples, then the shapes of their bodies."""
    info = schema["info"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f"<title>{_text(info['title'])}</title><style>{_STYLE}</style>",
        f"<h1>{_text(info['title'])} <small>{_text(info['version'])}</small></h1>",
        _prose(info.get("description", "")),
        "<p>The same for programs: <a href='openapi.json'>openapi.json</a></p>",
    ]
    for tag in schema.get("tags", []):
        parts.append(f"<h2 id='{_text(tag['name'])}'>{_text(tag['name'])}</h2>{_prose(tag.get('description', ''))}")
        parts += [
            _operation(schema, method, path, operation)
            for path, item in schema["paths"].items()
            for method, operation in item.items()
            if tag["name"] in operation.get("tags", [])
        ]
    shapes = schema.get("components", {}).get("schemas", {})
    parts.append("<h2>shapes</h2><p>What the bodies are made of.</p>")
    parts += [_shape(name, shapes[name]) for name in sorted(shapes)]
    return "\n".join(parts)


def _shape(name: str, model: Schema) -> str:
    told, fields = _prose(model.get("description", "")), _table("", _fields(model))
    return f"<section class=operation id='{_text(name)}'><h3>{_text(name)}</h3>{told}{fields}</section>"


def _operation(schema: Schema, method: str, path: str, operation: Schema) -> str:
    parts = [
        f"<section class=operation><h3><code>{method.upper()} {_text(path)}</code></h3>",
        _prose(operation.get("description", operation.get("summary", ""))),
    ]
    parameters = [
        (
            parameter["name"],
            f"{_type(parameter['schema'])} in the {_text(parameter['in'])}",
            parameter["required"],
            parameter["schema"],
        )
        for parameter in operation.get("parameters", [])
    ]
    parts.append(_table("Parameters", parameters))
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        body = _resolved(schema, content["schema"])
        parts.append(_table(f"Body, {media_type}", _fields(body)))
        if media_type == "application/json":
            example = {
                name: value for name, value in _example(schema, body).items() if name in body.get("required", ())
            }
            parts.append(_code(_curl(method, path, example)))
    for status, response in operation["responses"].items():
        if status == "default":  # the same everywhere; told once, at the top
            continue
        for media_type, content in response.get("content", {}).items():
            parts.append(f"<details><summary>Reply {status}, {_text(media_type)}</summary>")
            reply = _resolved(schema, content.get("schema", {}))
            parts.append(_table("", _fields(reply)))
            parts.append(_code(content.get("example") or json.dumps(_example(schema, reply), indent=2)))
            parts.append("</details>")
    return "".join([*parts, "</section>"])


def _curl(method: str, path: str, body: Mapping[str, Any]) -> str:
    content = json.dumps(body, ensure_ascii=False)
    return f"curl -X {method.upper()} http://127.0.0.1:8000{path} -H 'Content-Type: application/json' -d '{content}'"


def _fields(model: Schema) -> Iterator[tuple[str, str, bool, Schema]]:
    required = model.get("required", [])
    for name, field in model.get("properties", {}).items():
        yield name, _type(field), name in required, field


def _table(title: str, rows: Any) -> str:
    cells = [
        f"<tr><td><code>{_text(name)}</code><td>{kind}{', required' if required else ''}<td>{_about(field)}"
        for name, kind, required, field in rows
    ]
    heading = f"<p><strong>{_text(title)}</strong></p>" if title else ""
    return f"{heading}<table>{''.join(cells)}</table>" if cells else ""


def _about(field: Schema) -> str:
    branches = [field, *field.get("anyOf", [])]
    limits = {
        "minimum": "at least",
        "maximum": "at most",
        "minLength": "characters at least",
        "maxLength": "characters at most",
        "maxItems": "items at most",
    }
    notes = [f"{words} {branch[key]:.15g}" for branch in branches for key, words in limits.items() if key in branch]
    if field.get("default") is not None:
        notes.append(f"default {json.dumps(field['default'])}")
    told = field.get("description", "")
    return _inline(told) + (f" <small>{_text('; '.join(notes))}</small>" if notes else "")


def _type(field: Schema) -> str:
    """Return a field's type in words, as HTML: the names of shapes are links."""
    if "$ref" in field:
        name = _text(field["$ref"].rpartition("/")[2])
        return f"<a href='#{name}'>{name}</a>"
    if "anyOf" in field:
        return " or ".join(_type(branch) for branch in field["anyOf"])
    if "enum" in field or "const" in field:
        return " or ".join(_text(json.dumps(value)) for value in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    return _text(field.get("type", "any"))


def _resolved(schema: Schema, field: Schema) -> Schema:
    while "$ref" in field:
        field = schema["components"]["schemas"][field["$ref"].rpartition("/")[2]]
    return field


def _example(schema: Schema, field: Schema) -> Any:
    """Return a value of the field's type: its own example where it has one."""
    field = _resolved(schema, field)
    if field.get("examples"):
        return field["examples"][0]
    for value in ("const", "default"):
        if field.get(value) is not None:
            return field[value]
    if "enum" in field:
        return field["enum"][0]
    if "anyOf" in field:
        return _example(schema, field["anyOf"][0])
    if field.get("type") == "object":
        return {name: _example(schema, inner) for name, inner in field.get("properties", {}).items()}
    if field.get("type") == "array":
        return [_example(schema, field["items"])]
    return {"integer": 1, "number": 0.5, "boolean": True, "null": None}.get(str(field.get("type")), "text")


def _prose(markdown: str) -> str:
    return "".join(f"<p>{_inline(paragraph)}</p>" for paragraph in markdown.split("\n\n") if paragraph.strip())


def _inline(markdown: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _text(markdown))


def _code(text: str) -> str:
    return f"<pre><code>{_text(text.strip())}</code></pre>"


def _text(value: str) -> str:
    return html.escape(str(value))
