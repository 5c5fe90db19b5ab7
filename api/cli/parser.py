"""The words of the command line. Imports nothing but argparse, so that help and mistakes answer at once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from api.cli.conversation_options import (
    CHAT_EXAMPLES,
    THREADS_EXAMPLES,
    add_chat_options,
    add_threads_options,
    threads_problem,
)

__all__ = ["build_parser", "usage_problem"]

DESCRIPTION = """\
Footnote answers questions from a folder of documents, and every statement carries a footnote: file, page, exact words.
Works without a key (embedded models); uses any OpenAI-compatible endpoint when OPENAI_API_KEY or rag.toml names one."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``rag``; the chosen command is in ``command``."""
    parser = argparse.ArgumentParser(prog="rag", description=DESCRIPTION, formatter_class=_Formatter)
    parser.add_argument("--version", action="store_true", help="print the version and end")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for add in _COMMANDS:
        add(commands)
    return parser


def usage_problem(args: argparse.Namespace) -> str | None:
    """Return what is wrong with arguments that do not go together; None when they do."""
    if args.command == "collections" and args.more and args.action not in ("set", "unset"):
        return f"unrecognized arguments: {' '.join(args.more)}"
    if args.command == "threads":
        return threads_problem(args)
    if args.command != "ingest":
        return None
    if not args.paths and not args.batch_cancel:
        return "the following arguments are required: PATH"
    if args.watch and (args.batch or args.rebuild or args.dry_run or args.batch_cancel):
        return "--watch does not go with --batch, --rebuild or --dry-run: run those first, then watch"
    if args.watch and (urls := [str(path) for path in args.paths if str(path).startswith(("http:/", "https:/"))]):
        return f"--watch follows folders and files, not pages of the web: {', '.join(urls)}"
    if args.no_wait and not (args.batch or args.batch_cancel):
        return "--no-wait goes with --batch"
    if args.batch and (args.rebuild or args.dry_run):
        return (
            "--batch does not go with --rebuild or --dry-run; to rebuild at half the price, ingest into another "
            "collection with --batch first (-c NAME): the rebuild then finds the vectors"
        )
    return None


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=110)


Commands = Any  # argparse's own type for it is private


def _command(commands: Commands, name: str, summary: str, examples: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + examples,
        formatter_class=_Formatter,
    )
    group = parser.add_argument_group("settings")
    group.add_argument("--library", type=Path, metavar="DIR", help="folder that holds the collections (.footnote)")
    group.add_argument("--config", type=Path, metavar="FILE", help="settings file (rag.toml of the working folder)")
    group.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any setting, as in retrieval.k=5"
    )
    return parser


def _collection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--collection", action=_Once, metavar="NAME", help="collection to use (default)")


class _Once(argparse.Action):
    """An option of which a second one would silently replace the first."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Store the value; end with a word on wrong usage where there is one already."""
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option} names one collection here, found {getattr(namespace, self.dest)!r} and {values!r}")
        setattr(namespace, self.dest, values)


def _narrowing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--filter", metavar="FILTER", help="only documents that match, as in 'year >= 2020'")
    parser.add_argument("--min-score", type=float, metavar="R", help="only passages of at least this relevance, 0 to 1")


def _seen_by(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seen-by",
        metavar="LABELS",
        help="show what somebody with these access labels, separated by commas, sees; none: ''",
    )


def _several(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c",
        "--collection",
        dest="collections",
        action="append",
        default=[],
        metavar="NAME",
        help="collection to use (default); several are searched as one",
    )


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line")


def _generation(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("generation")
    group.add_argument("--temperature", type=float, metavar="T", help="0 is most certain, 2 most random")
    group.add_argument("--top-p", type=float, metavar="P", help="share of likely words to draw from, 0 to 1")
    group.add_argument("--max-tokens", type=int, metavar="N", help="longest answer")
    group.add_argument("--frequency-penalty", type=float, metavar="X", help="-2 to 2, above 0 repeats less")
    group.add_argument("--presence-penalty", type=float, metavar="X", help="-2 to 2, above 0 brings up new topics")
    group.add_argument("--seed", type=int, metavar="N", help="for answers that repeat, where the endpoint can")
    group.add_argument("--instructions", metavar="TEXT", help="wishes for this answer, added to answer.instructions")
    group.add_argument("--language", metavar="NAME", help="language to answer in (that of the question)")
    group.add_argument(
        "--reasoning-effort",
        choices=("none", "minimal", "low", "medium", "high", "xhigh", "max"),
        help="how long a model that thinks may think",
    )
    group.add_argument("--verbosity", choices=("low", "medium", "high"), help="how long answers are")
    group.add_argument("--stop", action="append", metavar="TEXT", help="end the answer before this text; up to four")
    group.add_argument(
        "--unsupported",
        choices=("flag", "remove", "regenerate"),
        help="statements that their sources do not bear out are shown as such, left out, or written again (flag)",
    )


def _queries(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("queries", "what a chat model writes to search with")
    group.add_argument(
        "--rewrite", choices=("auto", "off", "always"), help="make a follow-up stand alone (auto: where it must)"
    )
    group.add_argument("--alternatives", type=int, metavar="N", help="search other wordings too, up to five")
    group.add_argument("--hyde", action="store_true", help="search a passage such as might answer the question, too")
    group.add_argument(
        "--translate", choices=("auto", "off"), help="ask in the language of the documents, too, where it is another"
    )


def _ingest(commands: Commands) -> None:
    parser = _command(
        commands,
        "ingest",
        "bring a collection in step with folders, files or pages of the web",
        "  rag ingest docs\n"
        "  rag ingest docs notes.md --collection manuals --exclude 'drafts/**'\n"
        "  rag ingest https://example.org/sitemap.xml --include 'guide/**'\n"
        "  rag ingest docs --dry-run                  # what it would do and cost\n"
        "  rag ingest docs --max-cost 0.50            # and no more\n"
        "  rag ingest docs --batch                    # half the price, within a day\n"
        "  rag ingest docs --watch                    # and again whenever files change\n"
        "  rag ingest docs --json | jq .counts\n"
        "exit status: 0 all files dealt with, 1 a file failed (it is tried again next time), 2 wrong usage, "
        "130 or 143 stopped by Ctrl-C or SIGTERM",
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="folder, file, or address of a page or sitemap")
    _collection(parser)
    parser.add_argument("--include", action="append", metavar="GLOB", help="only these paths")
    parser.add_argument("--exclude", action="append", metavar="GLOB", help="not these paths")
    parser.add_argument(
        "--watch", action="store_true", help="then follow the paths, and ingest what changes; until Ctrl-C"
    )
    parser.add_argument("--rebuild", action="store_true", help="make the collection anew with today's settings")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done and what it would cost; embed and write nothing"
    )
    parser.add_argument(
        "--max-cost", type=float, metavar="AMOUNT", help="stop before more than this would be spent on models"
    )
    parser.add_argument(
        "--batch", action="store_true", help="embed through the endpoint's Batch API, and wait; goes on if interrupted"
    )
    parser.add_argument("--no-wait", action="store_true", help="with --batch: end at once; the same command collects")
    parser.add_argument("--batch-cancel", action="store_true", help="cancel the batches and keep what they finished")
    parser.add_argument("--chunk-tokens", type=int, metavar="N", help="tokens a chunk holds at most (new collections)")
    parser.add_argument("--chunk-overlap", type=int, metavar="N", help="tokens shared by neighbours (new collections)")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="list every file, not only those with something to say"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    _json(parser)


def _ask(commands: Commands) -> None:
    parser = _command(
        commands,
        "ask",
        "answer a question with citations",
        "  rag ask 'How long is the warranty?'\n"
        "  rag ask 保修期有多长？ --collection manuals\n"
        "  echo 'How long is the warranty?' | rag ask - --json",
    )
    parser.add_argument("question", help="the question; - reads it from standard input")
    _several(parser)
    parser.add_argument("-k", type=int, metavar="N", help="hits to answer from")
    _seen_by(parser)
    _narrowing(parser)
    parser.add_argument(
        "--sources", action="store_true", help="also list the passages that the answer was written from"
    )
    parser.add_argument("--links", action="store_true", help="also print where the service shows each quote")
    parser.add_argument("--open", action="store_true", help="also show the answer with what it cites in a browser")
    _agent(parser)
    parser.add_argument("--events", action="store_true", help="with --json: print the events as they happen")
    _json(parser)
    _queries(parser)
    _generation(parser)


def _chat(commands: Commands) -> None:
    parser = _command(commands, "chat", "ask one question after another", CHAT_EXAMPLES)
    add_chat_options(parser)
    _several(parser)
    parser.add_argument("-k", type=int, metavar="N", help="hits to answer from")
    _narrowing(parser)
    _agent(parser)
    _json(parser)
    _queries(parser)
    _generation(parser)


def _threads(commands: Commands) -> None:
    parser = _command(
        commands,
        "threads",
        "list, show, export, import, rename or delete stored conversations",
        THREADS_EXAMPLES,
    )
    add_threads_options(parser)
    _json(parser)


def _agent(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--agent", action="store_true", help="the model looks for its sources itself, by tools; steps go to stderr"
    )


def _search(commands: Commands) -> None:
    parser = _command(
        commands,
        "search",
        "find passages, without writing an answer",
        "  rag search 'battery life' -k 5\n  rag search 电池 --json\n  rag search warranty -c manuals -c contracts",
    )
    parser.add_argument("query", help="what to look for; - reads it from standard input")
    _several(parser)
    parser.add_argument("-k", type=int, metavar="N", help="hits to show")
    _seen_by(parser)
    _narrowing(parser)
    _json(parser)


def _status(commands: Commands) -> None:
    parser = _command(
        commands,
        "status",
        "show what a collection holds and whether it is whole",
        "  rag status\n  rag status --files failed\n  rag status --check\n  rag status --repair\n"
        "exit status: 0 everything agrees, 1 something does not, 2 wrong usage",
    )
    _collection(parser)
    parser.add_argument(
        "--files",
        choices=("all", "indexed", "empty", "failed", "unsupported", "skipped", "warnings"),
        help="list the files in this state, or those with warnings",
    )
    parser.add_argument("--check", action="store_true", help="compare every document, vector and keyword (slow)")
    parser.add_argument(
        "--repair", action="store_true", help="mend what does not agree, and say what was done and what to run next"
    )
    _json(parser)


def _collections(commands: Commands) -> None:
    parser = _command(
        commands,
        "collections",
        "list, create, show, copy, rename, export, import or delete collections, their settings and snapshots",
        "  rag collections\n"
        "  rag collections show manuals\n"
        "  rag collections copy manuals manuals-2\n"
        "  rag collections rename manuals handbooks\n"
        "  rag collections export manuals manuals.zip\n"
        "  rag collections import manuals.zip handbooks\n"
        "  rag collections set manuals answer.temperature=0 answer.language=French\n"
        "  rag collections settings manuals\n"
        "  rag collections unset manuals answer.language\n"
        "  rag collections snapshot manuals before-the-move\n"
        "  rag collections snapshots manuals\n"
        "  rag collections restore manuals before-the-move\n"
        "  rag collections prune manuals --keep 5\n"
        "  rag collections delete-snapshot manuals before-the-move\n"
        "  rag collections change-model manuals --dry-run\n"
        "  rag collections delete manuals --yes",
    )
    actions = (
        *("list", "create", "show", "copy", "rename", "export", "import", "delete"),
        *("settings", "set", "unset"),
        *("snapshot", "snapshots", "restore", "delete-snapshot", "prune", "change-model"),
    )
    parser.add_argument("action", nargs="?", choices=actions, default="list", help="what to do (list)")
    parser.add_argument("name", nargs="?", help="the collection; with import: the file")
    parser.add_argument(
        "target",
        nargs="?",
        help="the new name, file, label of a snapshot, or setting",
    )
    parser.add_argument("more", nargs="*", help="with set and unset: more settings")
    parser.add_argument("--yes", action="store_true", help="delete without asking")
    parser.add_argument("--replace", action="store_true", help="import in the place of a collection of that name")
    parser.add_argument("--no-keep", action="store_true", help="restore without a snapshot of what is replaced")
    parser.add_argument("--keep", type=int, metavar="N", help="prune all snapshots but the newest N")
    parser.add_argument("--dry-run", action="store_true", help="say what a change of model would cost, and do nothing")
    parser.add_argument("--max-cost", type=float, metavar="AMOUNT", help="stop a change of model before it costs more")
    _json(parser)


def _cache(commands: Commands) -> None:
    parser = _command(
        commands,
        "cache",
        "show, prune, export or import the vectors and readings that were paid for",
        "  rag cache\n"
        "  rag cache prune --yes\n"
        "  rag cache export vectors.sqlite\n"
        "  rag cache import vectors.sqlite --library other",
    )
    parser.add_argument("action", nargs="?", choices=("show", "prune", "export", "import"), default="show")
    parser.add_argument("file", nargs="?", type=Path, help="the file to export to or import from")
    parser.add_argument("--yes", action="store_true", help="prune without asking")
    _json(parser)


def _eval(commands: Commands) -> None:
    parser = _command(
        commands,
        "eval",
        "measure how well questions with known answers are found",
        "  rag eval questions.jsonl -c manuals\n"
        "  rag eval questions.jsonl --compare retrieval.vector_weight=0.5\n"
        "  rag eval questions.jsonl --compare collection=manuals-256 --plot sizes.svg\n"
        "  rag eval beir/scifact                      # a BEIR folder brings its own documents\n"
        "  rag eval make questions.jsonl --limit 50   # a chat model drafts questions from your documents",
    )
    parser.add_argument("questions", metavar="QUESTIONS", help="JSON Lines file, BEIR folder, or the word make")
    parser.add_argument("file", nargs="?", type=Path, help="with make: the new file")
    _collection(parser)
    parser.add_argument("-k", type=int, metavar="N", help="hits that count (10)")
    _narrowing(parser)
    parser.add_argument(
        "--compare", action="append", default=[], metavar="NAME=VALUE", help="and once more with this set"
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="only the first questions; with make: passages to ask about"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the measures (.svg, .png, .pdf)")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    _json(parser)


def _answers(commands: Commands) -> None:
    parser = _command(
        commands,
        "answers",
        "list recorded answers, show one, or export the rated ones for rag eval",
        "  rag answers --rated down\n  rag answers show answer-5f0c\n  rag answers export",
    )
    parser.add_argument(
        "action", nargs="?", choices=("list", "show", "export"), default="list", help="what to do (list)"
    )
    parser.add_argument("id", nargs="?", default="", help="the answer to show")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="answers to list, newest first (20)")
    parser.add_argument("--rated", choices=("up", "down"), help="only answers that were rated so")
    _json(parser)


def _feedback(commands: Commands) -> None:
    parser = _command(
        commands,
        "feedback",
        "say whether a recorded answer was right, and what it should have been",
        "  rag feedback answer-5f0c up\n  rag feedback answer-5f0c down --text 'It lasts 24 months.'",
    )
    parser.add_argument("id", help="the answer, as rag answers lists it")
    parser.add_argument("rating", choices=("up", "down"), help="right or wrong")
    parser.add_argument("--text", default="", metavar="ANSWER", help="the right answer; - reads it from standard input")
    parser.add_argument("--comment", default="", metavar="WORDS", help="anything else there is to say")


def _keys(commands: Commands) -> None:
    parser = _command(
        commands,
        "keys",
        "list, make and take back readers' keys of the service, each with access labels",
        "  rag keys\n  rag keys add payroll --label hr --label finance\n  rag keys remove payroll",
    )
    parser.add_argument(
        "action", nargs="?", choices=("list", "add", "remove"), default="list", help="what to do (list)"
    )
    parser.add_argument("name", nargs="?", help="whose key it is")
    parser.add_argument(
        "--label", action="append", default=[], metavar="LABEL", help="an access label that the key has; repeatable"
    )
    _json(parser)


def _serve(commands: Commands) -> None:
    parser = _command(
        commands,
        "serve",
        "answer over HTTP",
        "  rag serve\n  rag serve --port 9000\n  RAG_SERVER_API_KEY=secret rag serve --host 0.0.0.0",
    )
    _collection(parser)
    parser.add_argument("--host", help="address to listen on (127.0.0.1); any other needs server.api_key")
    parser.add_argument("--port", type=int, help="port to listen on (8000)")


def _doctor(commands: Commands) -> None:
    parser = _command(
        commands,
        "doctor",
        "check settings, endpoints, keys, models and collections, and say what to do",
        "  rag doctor\n  rag doctor --offline",
    )
    parser.add_argument("--offline", action="store_true", help="do not call endpoints")
    _json(parser)


def _demo(commands: Commands) -> None:
    parser = _command(
        commands,
        "demo",
        "read the example documents and ask two questions",
        "  rag demo",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")


_COMMANDS = (
    *(_ingest, _ask, _chat, _threads, _search, _status, _collections),
    *(_cache, _eval, _answers, _feedback, _keys, _serve, _doctor, _demo),
)
