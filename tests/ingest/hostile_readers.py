"""A reader that does what the file it is given tells it to: the worst that parsers are known for."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ingest.readers.media import Media, Want
from rag.errors import ConfigError
from rag.types import Document, Medium


def read(path: Path, *, document_id: str, name: str, data: bytes | None, media: Media) -> Document:
    order, _, argument = path.read_text(encoding="utf-8").partition(" ")
    if order in MEDIA_ORDERS:
        media.read_by("hostile/1")
        return MEDIA_ORDERS[order](document_id, argument, media)
    return ORDERS[order](document_id, argument)


def _document(document_id: str, text: str) -> Document:
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return Document(document_id, "t", text, sha256, media_type="text/plain", reader="hostile/1")


def _say(document_id: str, argument: str) -> Document:
    return _document(document_id, argument)


def _sleep(document_id: str, argument: str) -> Document:
    time.sleep(float(argument))
    return _document(document_id, "slept")


def _hold_the_interpreter(document_id: str, argument: str) -> Document:
    seconds, _, pid_file = argument.partition(" ")
    if pid_file:
        Path(f"{pid_file}.new").write_text(str(os.getpid()), encoding="utf-8")
        os.rename(f"{pid_file}.new", pid_file)
    ctypes.PyDLL(None).sleep(int(seconds))  # as C code does that hangs: no other thread runs meanwhile
    return _document(document_id, "slept")


def _segfault(document_id: str, argument: str) -> Document:
    ctypes.string_at(0)
    raise AssertionError("reading address 0 ends a process")


def _signal(document_id: str, argument: str) -> Document:
    os.kill(os.getpid(), int(argument))
    raise AssertionError("the signal ends the process")


def _exit(document_id: str, argument: str) -> Document:
    os._exit(int(argument))


def _eat(document_id: str, argument: str) -> Document:
    return _document(document_id, "x" * len(bytearray(int(argument) * 1024 * 1024)))


def _leak(document_id: str, argument: str) -> Document:
    LEAKED.append(bytearray(int(argument) * 1024 * 1024))
    return _document(document_id, "leaked")


def _print(document_id: str, argument: str) -> Document:
    print("noise" * 10_000)
    os.write(1, b"noise from C" * 10_000)
    os.write(2, b"complaints from C" * 10_000)
    return _document(document_id, f"printed, stdin {sys.stdin.read()!r}")


def _start(document_id: str, argument: str) -> Document:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(argument).write_text(f"{os.getpid()} {child.pid}", encoding="utf-8")
    time.sleep(60)
    raise AssertionError("ended with its parent")


def _multiply(document_id: str, argument: str) -> Document:
    return _document(document_id, "lol" * int(argument))


def _smuggle(document_id: str, argument: str) -> Document:
    """Return what becomes a call of ``os.mkdir`` where it is unpickled."""

    class Call:
        def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
            return os.mkdir, (argument,)

    return replace(_document(document_id, "innocent"), metadata={"author": Call()})


def _number(document_id: str, argument: str) -> Document:
    return _document(document_id, f"pid {os.getpid()}")


def _refuse(document_id: str, argument: str) -> Document:
    raise ConfigError(argument)


def _raise(document_id: str, argument: str) -> Document:
    raise ValueError("not even a RagError")


def _want(document_id: str, argument: str, media: Media) -> Document:
    """Ask for pages of so many bytes each; the document says what came back, page by page."""
    found = [
        media.text(place, "page", lambda size=size: Medium("page", "image/png", b"x" * int(size)))  # type: ignore[misc]
        for place, size in enumerate(argument.split())
    ]
    said = " ".join("-" if text is None else text.text or text.refusal for text in found)
    return replace(_document(document_id, f"{said}{media.given_up}"), unread=media.unread)


def _want_and(order: str) -> Callable[[str, str, Media], Document]:
    """Return a reader that does its worst while it makes a page."""

    def read(document_id: str, argument: str, media: Media) -> Document:
        text = media.text(0, "page", lambda: ORDERS[order](document_id, argument))  # type: ignore[arg-type,return-value]
        return _document(document_id, f"{text}, for {media.given_up}")

    return read


def _want_junk(document_id: str, argument: str, media: Media) -> Document:
    document = _document(document_id, argument)
    media.wants.append(Want("page", 0, document))  # type: ignore[arg-type]
    return document


MEDIA_ORDERS: dict[str, Callable[[str, str, Media], Document]] = {
    "want": _want,
    **{f"want-{order}": _want_and(order) for order in ("sleep", "exit", "eat", "raise")},
    "want-junk": _want_junk,
}
LEAKED: list[bytearray] = []
ORDERS: dict[str, Callable[[str, str], Document]] = {
    "say": _say,
    "sleep": _sleep,
    "hold": _hold_the_interpreter,
    "segfault": _segfault,
    "signal": _signal,
    "exit": _exit,
    "eat": _eat,
    "leak": _leak,
    "print": _print,
    "start": _start,
    "multiply": _multiply,
    "smuggle": _smuggle,
    "number": _number,
    "refuse": _refuse,
    "raise": _raise,
}
