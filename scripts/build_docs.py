"""Writes the parts of the documentation that follow from the code; everything else in it is written by hand.

    python scripts/build_docs.py            write them
    python scripts/build_docs.py --check    write nothing; exit with 1 and name the pages that are out of date

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->`` in a page; the names are in PARTS.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from api.app import create_app
from api.choice import FAMILIES, WHEN_NAMED, choose
from api.cli.parser import build_parser
from api.conversing import Threads
from api.errors import TABLE, reply_for_status
from api.footnote import Footnote
from api.shelf import Shelf
from ingest.cost import IngestEstimate
from ingest.readers.dispatch import READERS
from ingest.report import FileResult, IngestReport, MediaCount
from ingest.tally import IngestProgress, Waiting
from rag import errors, settings, types
from rag.errors import ConfigError
from rag.gateway.providers import CHECKED, PROVIDERS, ChatQuirks, Provider
from rag.gateway.speech import PART_S, PART_WITHOUT_TIMES_S
from rag.prices import listed_prices, listed_usage_prices, money
from rag.settings import SECTIONS, Settings, environment_name, load_settings

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").glob("*.md")))
_PART = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

Cells = Sequence[str]


def table(head: Cells, rows: Iterable[Cells]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


def code(text: object) -> str:
    return f"`{text}`"


# --- settings


def meanings(kind: type) -> dict[str, str]:
    """Return the string under each field of a dataclass of ``rag.settings``, those it inherits included."""
    found: dict[str, str] = {}
    for owner in reversed([owner for owner in kind.__mro__ if owner.__module__.startswith(settings.__name__)]):
        body = ast.parse(inspect.getsource(owner)).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, words in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(words, ast.Expr):
                found[field.target.id] = str(ast.literal_eval(words.value))
    return found


def option_helps() -> dict[str, str]:
    """Return the help of every option of the command line, by the name it is stored under."""
    return {action.dest: action.help or "" for command in commands().values() for action in command._actions}


def form(wanted: Any) -> str:
    """Return in words what values a setting takes."""
    if get_origin(wanted) is Literal:
        return " or ".join(map(code, get_args(wanted)))
    if get_origin(wanted) is tuple:
        return "list"
    if get_origin(wanted) is Mapping:
        return "table"
    kinds = [kind for kind in get_args(wanted) or (wanted,) if kind is not type(None)]
    if get_origin(kinds[0]) is not None:
        return form(kinds[0])
    return {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "folder"}[kinds[0]]


def default(value: object) -> str:
    if value is None or value in ((), ""):
        return "–"
    return code(value)


def settings_table(section: str, kind: type, names: Iterable[str]) -> str:
    meant, helps, wanted = meanings(kind), option_helps(), get_type_hints(kind)
    usual = kind()
    rows = []
    for name in names:
        # The sampling parameters are explained where they are options; the default they name has a column of its own.
        words = meant[name].replace("None", "unset") if name in meant else re.sub(r" \([^()]*\)$", "", helps[name])
        dotted = f"{section}.{name}" if section else name
        variable = environment_name(section, name)
        rows.append((code(dotted), code(variable), form(wanted[name]), default(getattr(usual, name)), words))
    return table(("Setting", "Environment variable", "Value", "Default", "Meaning"), rows)


def settings_part() -> str:
    parts = [settings_table("", Settings, ("library", "collection"))]
    for section, kind in SECTIONS.items():
        words = " ".join((kind.__doc__ or "").split()).replace("None", "Unset")
        parts.append(f"### [{section}]\n\n{words}\n")
        parts.append(settings_table(section, kind, [field.name for field in dataclasses.fields(kind)]))
    return "\n".join(parts)


# --- providers


def shared_address(provider: Provider) -> str:
    return provider.base_url or ("https://NAME.openai.azure.com/openai/v1" if provider.name == "azure" else "")


def serves(provider: Provider, wire_name: str) -> str:
    if wire_name not in provider.families:
        return "no"
    return code(provider.default_models[wire_name]) if wire_name in provider.default_models else "yes"


def providers_part() -> str:
    rows = []
    for provider in PROVIDERS.values():
        names = ", ".join(map(code, (provider.name, *provider.aliases)))
        key = " or ".join(map(code, provider.key_env)) + ("" if provider.needs_key else " (if it wants one)")
        title = f"[{provider.title}]({provider.docs})" if provider.docs else provider.title
        families = [serves(provider, name) for name in ("chat", "embeddings", "moderations", "rerank", "audio")]
        rows.append((title, names, code(provider.base_url) if provider.base_url else "yours", *families, key))
    head = (
        "Provider",
        "Name in settings",
        "Address",
        "Chat",
        "Embeddings",
        "Moderation",
        "Rerank",
        "Speech",
        "Variable of the key",
    )
    return f"Compared with the providers' pages on {CHECKED}.\n\n{table(head, rows)}"


def served_by(provider: Provider) -> list[str]:
    """Return who serves each family when OPENAI_BASE_URL names this provider and OPENAI_API_KEY is set."""
    environ = {"OPENAI_BASE_URL": shared_address(provider), "OPENAI_API_KEY": "sk-example"}
    found = load_settings(environ)
    served = []
    for family in (family for family in FAMILIES if family not in WHEN_NAMED):
        choice = choose(found, family)
        model = f": {code(choice.model)}" if choice.model else ": set the model, if it serves several"
        served.append({"endpoint": f"it{model}", "local": "the embedded model", "off": "nobody"}[choice.kind])
    return served


def providers_shared_part() -> str:
    known = [provider for provider in PROVIDERS.values() if shared_address(provider)]
    rows = [(provider.title, code(shared_address(provider)), *served_by(provider)) for provider in known]
    return table(("Provider", "`OPENAI_BASE_URL`", "Chat", "Embeddings", "Moderation"), rows)


def providers_limits_part() -> str:
    rows = []
    for provider in PROVIDERS.values():
        for model in provider.embeddings:
            budgets = (model.limits.max_inputs, model.limits.max_input_tokens, model.limits.max_request_tokens)
            named = code(model.prefix + "…") if model.prefix else "any other"
            length = str(model.dimensions or "as it answers") + (", can be set" if model.takes_dimensions else "")
            rows.append((provider.title, named, *(f"{n:,}" for n in budgets), length))
    head = ("Provider", "Model", "Texts a request", "Tokens a text", "Tokens a request", "Dimensions")
    return table(head, rows)


_REASONING = {
    "effort and toggle": "`reasoning_effort` `none` is sent as `thinking` disabled",
    "toggle": "`reasoning_effort` is sent as `thinking` enabled or disabled",
    "flag": "`reasoning_effort` is sent as `enable_thinking`",
    "none": "`reasoning_effort` is not sent",
}


def quirks(chat: ChatQuirks) -> Iterator[str]:
    """Yield in words what is done differently for a provider."""
    if chat.max_tokens_field != "max_tokens":
        yield f"the length limit is sent as {code(chat.max_tokens_field)}"
    if chat.fixed_sampling_prefixes:
        models = ", ".join(code(prefix + "…") for prefix in chat.fixed_sampling_prefixes)
        yield f"temperature, top_p and penalties are left out for {models}"
    low, high = chat.temperature
    if (low, high) != (0.0, 2.0) or chat.open_low:
        yield f"temperature is kept {'above' if chat.open_low else 'from'} {low:g} and up to {high:g}"
    if chat.unsupported:
        yield f"not sent: {', '.join(map(code, sorted(chat.unsupported)))}"
    if not chat.tool_choice_required:
        yield f"{code('tool_choice')} cannot be {code('required')}"
    if not chat.json_schema:
        yield "no JSON schema for replies"
    if not chat.stream_options:
        yield f"{code('stream_options')} is not sent"
    if words := _REASONING.get(chat.reasoning):
        yield words
    if chat.user_field != "user":
        yield f"`user` is sent as {code(chat.user_field)}"
    if chat.echo_reasoning:
        yield f"earlier {code('reasoning_content')} is sent back"


def of_vision(provider: Provider) -> Iterator[str]:
    """Yield in words what is to be known of pictures in a provider's chats."""
    if "chat" in provider.families and provider.vision is None:
        yield "takes no pictures"
    elif provider.vision is not None and provider.vision.detail:
        yield f"pictures carry {code('detail')}"


def providers_quirks_part() -> str:
    known = ((provider, [*quirks(provider.chat), *of_vision(provider)]) for provider in PROVIDERS.values())
    return table(("Provider", "Chat"), [(provider.title, "; ".join(words)) for provider, words in known if words])


# --- command line


def commands() -> Mapping[str, argparse.ArgumentParser]:
    parser = build_parser()
    (found,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    choices: Mapping[str, argparse.ArgumentParser] = found.choices
    return choices


EVERYWHERE = ("library", "config", "set")
"""Options of every command: the page explains them once."""


def cli_part() -> str:
    return "\n".join(command_part(name, parser) for name, parser in commands().items())


def command_part(name: str, parser: argparse.ArgumentParser) -> str:
    """Return what ``rag NAME --help`` says, in a form that is the same under every version of Python."""
    actions = [action for action in parser._actions if action.dest not in ("help", *EVERYWHERE)]
    places = [action for action in actions if not action.option_strings]
    usage = " ".join(["rag", name, *map(place, places), "[options]"])
    rows = [(code(written(action)), action.help or "") for action in actions]
    examples, _, after = (parser.epilog or "").removeprefix("examples:\n").partition("\nexit status: ")
    shown = [line.strip() for line in examples.splitlines() if line.startswith("  ")]
    notes = [line.strip() for line in examples.splitlines() if not line.startswith("  ")]
    if after:
        notes.append(f"Exit status: {after}.")
    parts = [
        f"## rag {name}\n",
        f"{parser.description}\n",
        f"```text\n{usage}\n```\n",
        table(("Argument", "Meaning"), rows),
    ]
    if shown:
        parts.append("```sh\n" + "\n".join(shown) + "\n```\n")
    return "\n".join([*parts, *(f"{note}\n" for note in notes)])


def place(action: argparse.Action) -> str:
    named = written(action)
    return {"+": f"{named} [{named} ...]", "*": f"[{named} ...]", "?": f"[{named}]"}.get(str(action.nargs), named)


def written(action: argparse.Action) -> str:
    """Return an option or argument as one types it, with its possible values."""
    value = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.metavar
    if not action.option_strings:
        return str(value or action.dest)
    return ", ".join(action.option_strings) + (f" {value or action.dest.upper()}" if action.nargs != 0 else "")


# --- errors and routes


def first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").split("\n", 1)[0]


def errors_part() -> str:
    rows = []
    for kind, row in TABLE.items():
        meaning = first_line(kind) if kind.__module__ == errors.__name__ else "A fault of the program; see its log."
        retry = f"{row.retry_after_s} s" if row.retry_after_s else ""
        rows.append((code(kind.__name__), str(row.status), code(row.type), code(row.code), retry, meaning))
    return table(("Error", "Status", "`type`", "`code`", "`retry-after`", "Meaning"), rows)


REQUEST_STATUSES = {
    400: "the body or a parameter is wrong; `param` names the field",
    401: "the service has a key or readers' keys, and the request has none of them",
    403: "the service has no key, and was called under a foreign name or from a foreign page",
    404: "no such route",
    405: "the route knows other methods",
    413: "the body is too large",
    415: "the body has another media type",
}


def statuses_part() -> str:
    rows = []
    for status, meaning in REQUEST_STATUSES.items():
        error = reply_for_status(status, "").body["error"]
        rows.append((str(status), code(error["type"]), code(error["code"]), meaning))
    return table(("Status", "`type`", "`code`", "When"), rows)


def schema() -> dict[str, Any]:
    return create_app(Footnote.open(environ={})).openapi()


def routes_part() -> str:
    rows = [
        (code(f"{method.upper()} {path}"), operation["description"].split("\n\n")[0].replace("\n", " "))
        for path, item in schema()["paths"].items()
        for method, operation in item.items()
    ]
    return table(("Route", "What it does"), rows)


def fields_part(name: str) -> str:
    body = schema()["components"]["schemas"][name]
    rows = [
        (
            code(field),
            "yes" if field in body.get("required", []) else "",
            value_words(value),
            value.get("description", ""),
        )
        for field, value in body["properties"].items()
    ]
    return table(("Field", "Required", "Value", "Meaning"), rows)


def value_words(value: Mapping[str, Any]) -> str:
    """Return in words what a JSON field takes."""
    if "anyOf" in value:
        value = next(kind for kind in value["anyOf"] if kind.get("type") != "null")
    if value.get("type") == "array":
        most = f", at most {value['maxItems']}" if "maxItems" in value else ""
        return f"list of {value_words(value['items'])}{most}"
    if "$ref" in value:
        return "`{role, text}`" if value["$ref"].endswith("HistoryTurn") else code(value["$ref"].rpartition("/")[2])
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    low, high = value.get("minimum"), value.get("maximum")
    bounds = "" if low is None or high is None else f", {int(low):,} to {int(high):,}"
    return words.get(value.get("type", ""), "object") + bounds


# --- prices


def prices_part() -> str:
    rows = [
        (
            PROVIDERS[provider].title,
            code(model),
            money(price.per_million, price.currency),
            "unknown" if price.batch_per_million is None else money(price.batch_per_million, price.currency),
            price.source.removeprefix("price table of "),
        )
        for (provider, model), price in listed_prices().items()
    ]
    return table(("Provider", "Model", "A million tokens", "Through the Batch API", "As of"), rows)


def providers_speech_part() -> str:
    rows = []
    for provider in PROVIDERS.values():
        for known in provider.speech if "audio" in provider.families else ():
            part_s = min(PART_S if known.has_times else PART_WITHOUT_TIMES_S, known.max_seconds)
            others = len(provider.speech) > 1
            rows.append(
                (
                    provider.title,
                    f"{code(known.within)} in the name" if known.within else ("others" if others else "all"),
                    code(known.reply_format),
                    {"diarized_json": "times and speakers", "verbose_json": "times"}.get(
                        known.reply_format, "no times"
                    ),
                    f"{part_s:.0f} s",
                    known.media_types[0].removeprefix("audio/").upper(),
                )
            )
    return table(("Provider", "Models", "Asked for", "Tells", "Cut after", "Sent as"), rows)


def speech_prices_part() -> str:
    rows = [
        (
            PROVIDERS[provider].title,
            code(model),
            money(price.per_minute, price.currency),
            price.source.removeprefix("price table of "),
        )
        for (provider, model), price in listed_usage_prices().items()
        if price.per_minute
    ]
    return table(("Provider", "Model", "A minute of speech", "As of"), rows)


def usage_prices_part() -> str:
    rows = [
        (
            PROVIDERS[provider].title,
            code(model),
            money(price.input_per_million, price.currency),
            money(price.output_per_million, price.currency),
            price.source.removeprefix("price table of "),
        )
        for (provider, model), price in listed_usage_prices().items()
        if not price.per_minute
    ]
    return table(("Provider", "Model", "A million tokens sent", "A million tokens written", "As of"), rows)


# --- formats


def formats_part() -> str:
    endings: dict[str, list[str]] = {}
    for ending, reader in READERS.items():
        endings.setdefault(str(reader), []).append(code(ending))
    rows = [
        (reader, " ".join(found), first_line(next(r.read for r in READERS.values() if str(r) == reader)))
        for reader, found in endings.items()
    ]
    return table(("Reader", "Endings", "What it does"), rows)


# --- Python


def members_part(*kinds: type) -> str:
    """Return the public methods and properties of a class, its bases before it, in the order of their source."""
    members: list[ast.stmt] = []
    for kind in kinds:
        body = ast.parse(inspect.getsource(kind)).body[0]
        assert isinstance(body, ast.ClassDef)
        members += body.body
    rows = []
    for member in members:
        if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and not member.name.startswith("_"):
            returned = ast.unparse(member.returns) if member.returns else ""
            rows.append((code(call(member)), code(returned), (ast.get_docstring(member) or "").split("\n\n")[0]))
    return table(
        ("Call", "Returns", "What it does"), [(*row[:2], " ".join(row[2].split()).replace("``", "`")) for row in rows]
    )


def call(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Return a call as one writes it: without annotations, with ``await`` or ``async for`` in front where needed."""
    if any(isinstance(how, ast.Name) and how.id == "property" for how in function.decorator_list):
        return function.name
    taken = function.args
    del taken.args[0]  # self or cls
    for argument in ast.walk(taken):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    returned = ast.unparse(function.returns or ast.Constant(""))
    is_stream = "Iterator" in returned or "AsyncGenerator" in returned
    wait = "async for … in " if is_stream else "await " if isinstance(function, ast.AsyncFunctionDef) else ""
    return f"{wait}{function.name}({ast.unparse(taken)})"


def data_part(*kinds: type) -> str:
    """Return what dataclasses hold: their docstrings and fields."""
    parts = []
    for kind in kinds:
        words = " ".join((inspect.getdoc(kind) or "").split()).replace("``", "`")
        fields = ", ".join(code(field.name) for field in dataclasses.fields(kind))
        parts.append(f"**{kind.__name__}**: {fields}. {words}\n")
    return "\n".join(parts)


# --- benchmarks


def benchmarks_part() -> str:
    rows = []
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        rows.append((code(path.relative_to(ROOT).as_posix()), " ".join(docstring.split("\n\n")[0].split())))
    return table(("Script", "What it asks"), rows)


PARTS: Mapping[str, Callable[[], str]] = {
    "settings": settings_part,
    "providers": providers_part,
    "providers-shared": providers_shared_part,
    "providers-limits": providers_limits_part,
    "providers-quirks": providers_quirks_part,
    "cli": cli_part,
    "prices": prices_part,
    "errors": errors_part,
    "statuses": statuses_part,
    "routes": routes_part,
    "ask-fields": lambda: fields_part("AskRequest"),
    "search-fields": lambda: fields_part("SearchRequest"),
    "formats": formats_part,
    "footnote": lambda: members_part(Shelf, Footnote),
    "threads": lambda: members_part(Threads),
    "answers": lambda: data_part(
        types.Answer,
        types.Citation,
        types.Statement,
        types.Missing,
        types.Removed,
        types.Contradiction,
        types.Source,
        types.Usage,
    ),
    "events": lambda: data_part(types.Retrieved, types.Moderated, types.TextDelta),
    "hits": lambda: data_part(types.Retrieval, types.Hit, types.Chunk),
    "reports": lambda: data_part(IngestReport, FileResult, MediaCount, IngestEstimate, IngestProgress, Waiting),
    "usage-prices": usage_prices_part,
    "speech-prices": speech_prices_part,
    "providers-speech": providers_speech_part,
    "benchmarks": benchmarks_part,
}


def rebuilt(page: str) -> str:
    """Return a page with its generated parts made anew. Raises ConfigError for a name that is not in PARTS."""

    def made(match: re.Match[str]) -> str:
        if match[2] not in PARTS:
            raise ConfigError(f"no generated part is named {match[2]!r}; known are {', '.join(PARTS)}")
        return f"{match[1]}\n{PARTS[match[2]]().strip()}\n\n{match[3]}"

    return _PART.sub(made, page)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the generated parts of the documentation.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is out of date")
    args = parser.parse_args(argv)
    status = 0
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = rebuilt(before)
        if after == before:
            continue
        if args.check:
            print(f"{page.relative_to(ROOT)} is out of date; run: python scripts/build_docs.py", file=sys.stderr)
            status = 1
        else:
            page.write_text(after, encoding="utf-8")
            print(f"wrote {page.relative_to(ROOT)}")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
