"""A process with everything imported and the shim preloaded; it forks for each order: ``-m tests.faults.worker``.

An order is a line of JSON; so is the answer. The child does the work, and may be killed in it; the worker lives on.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import signal
import sys
import time
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from api.cli.main import main as rag
from api.footnote import Footnote
from rag.errors import RagError
from tests.faults import damage, shim, verify
from tests.faults.readers import forked

TIMEOUT_S = 120.0
_IMPORTED_LATE = (
    "index.vectors",
    "index.keywords",
    "ingest.run",
    "ingest.uploads",
    "ingest.readers",
    "rag.gateway.http",
    "api.cli.ingest",
    "api.cli.status",
    "encodings.idna",
    "pypdfium2",
    "selectolax.lexbor",
)


def command(order: dict[str, Any]) -> dict[str, Any]:
    """Run `rag`, as its users do, with a fault."""
    strike(order)
    return {"exit_code": rag(order["arguments"]), "seen": shim.seen()}


def ingest(order: dict[str, Any]) -> dict[str, Any]:
    """Ingest with a fault, writing down each document as soon as it is reported to be stored."""
    log = os.open(order["done"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    n_done = 0

    def note(progress: Any) -> None:
        nonlocal n_done
        if progress.n_done > n_done:
            n_done = progress.n_done
            os.write(log, f"{progress.path}\n".encode())

    async def run() -> int:
        async with Footnote.open(environ=os.environ) as footnote:
            reports = await footnote.ingest(order["docs"], rebuild=order["rebuild"], on_progress=note)
        return max(report.exit_code for report in reports)

    strike(order)
    try:
        return {"exit_code": asyncio.run(run()), "seen": shim.seen()}
    except RagError as error:
        return {"exit_code": 1, "error": str(error), "seen": shim.seen()}


def strike(order: dict[str, Any]) -> None:
    shim.arm(order["mode"], order["at"], under=Path(order["library"]), log=Path(order["struck"]))


def check(order: dict[str, Any]) -> dict[str, Any]:
    library, reference = Path(order["library"]), Path(order["reference"])
    return verify.problems_in(library, reference, done=order["done"], finished=order["finished"])


def portrait(order: dict[str, Any]) -> dict[str, Any]:
    return verify.portrait(Path(order["library"]))


def damaged(order: dict[str, Any]) -> dict[str, Any]:
    return damage.outcome(Path(order["library"]), order["expected"])


def particulars(order: dict[str, Any]) -> dict[str, Any]:
    return {"particulars": damage.particulars(Path(order["library"]))}


ACTIONS = {
    "command": command,
    "ingest": ingest,
    "check": check,
    "portrait": portrait,
    "damaged": damaged,
    "particulars": particulars,
}


READING = ("command", "ingest")
"""The actions that read files."""


def in_child(order: dict[str, Any], result: Path) -> None:
    """Do the order and leave the process; an exception that gets here is a finding."""
    with open(result.with_suffix(".out"), "wb", buffering=0) as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.environ.clear()
    os.environ.update(order["environ"])
    try:
        with forked() if order["do"] in READING else nullcontext():
            answer = ACTIONS[order["do"]](order)
    except BaseException:
        answer = {"crash": traceback.format_exc()}
    shim.arm("off", 0, under=result, log=result)
    result.write_text(json.dumps(answer), encoding="utf-8")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def serve(order: dict[str, Any]) -> dict[str, Any]:
    result = Path(order["result"])
    result.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        in_child(order, result)
    deadline = time.monotonic() + TIMEOUT_S
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return {"crash": f"no end after {TIMEOUT_S:g} s"}
        time.sleep(0.002)
    answer = json.loads(result.read_text(encoding="utf-8")) if result.exists() else {}
    output = result.with_suffix(".out").read_text(encoding="utf-8", errors="replace")
    return {**answer, "output": output, "pid": pid, "signal": -os.waitstatus_to_exitcode(ended[1])}


def main() -> None:
    for name in _IMPORTED_LATE:
        importlib.import_module(name)
    from rag.tokens import tokenizer

    tokenizer("cl100k_base").count("warm")
    gc.freeze()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    for line in sys.stdin:
        answers.write(json.dumps(serve(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
