"""``rag demo``: the whole main job on the example documents, with each command shown as a user would type it."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from pathlib import Path

from api.choice import choose
from api.cli.ask import ask
from api.cli.output import report_lines
from api.cli.progress import ingest_progress
from api.footnote import Footnote
from rag.errors import ConfigError
from rag.settings import Settings

__all__ = ["run"]

EXAMPLES = Path(__file__).parents[2] / "examples"


async def run(args: argparse.Namespace, settings: Settings) -> int:
    """Ingest the examples, ask the two demo questions, say what to type next."""
    questions = _questions()
    collection = _collection_name(settings)
    shown = _shown(EXAMPLES / "docs")
    async with Footnote(settings) as footnote:
        _echo("ingest", shown, "-c", collection)
        with ingest_progress("reading the examples", quiet=args.quiet) as show:
            (report,) = await footnote.ingest(EXAMPLES / "docs", collection=collection, on_progress=show)
        print("\n".join(report_lines(report)))
        for question in questions:
            _echo("ask", question, "-c", collection)
            await ask(footnote, question, collection=collection)
    print("\nWhat to type next:")
    for command, purpose in _next_steps(collection, settings):
        print(f"  {command:<52} {purpose}")
    if choose(settings, "chat").kind == "local":
        print(
            "These answers quote the documents, for no model is set. With OPENAI_API_KEY (and OPENAI_BASE_URL for\n"
            "DeepSeek, Kimi, Qwen or a local server) the same commands write answers in words of their own."
        )
    return report.exit_code


def _next_steps(collection: str, settings: Settings) -> list[tuple[str, str]]:
    rag = ".venv/bin/rag"
    return [
        (f"{rag} ask 'YOUR QUESTION' -c {collection}", "another question about the examples"),
        (f"{rag} ingest FOLDER", "your own documents"),
        (f"{rag} ask 'YOUR QUESTION'", "and a question about them"),
        (f"{rag} chat -c {collection}", "a conversation"),
        (f"{rag} serve -c {collection}", f"the HTTP service, on http://127.0.0.1:{settings.server.port}"),
        (f"{rag} doctor", "which models are used, and how to use others"),
    ]


def _questions() -> list[str]:
    path = EXAMPLES / "questions.jsonl"
    if not path.is_file():
        raise ConfigError(f"the examples are not at {EXAMPLES}; run the demo from a checkout of the project")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [line["question"] for line in lines if line.get("demo")]


def _collection_name(settings: Settings) -> str:
    """Return "demo", and the name of the embedding model where it is not the embedded one: each has its own vectors."""
    choice = choose(settings, "embeddings")
    if choice.kind == "local":
        return "demo"
    return "demo-" + (re.sub(r"[^\w.-]+", "-", choice.model).strip("-.") or "endpoint")


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _echo(*words: str) -> None:
    print(f"\n$ rag {shlex.join(words)}", flush=True)
