"""Text off page images by Tesseract, a program that is there where somebody has installed it.

It reads strangers' pictures, so it runs alone, one process a page, with limits on time and memory; what it was sent has
been drawn anew by us (``ingest.readers``), and is a plain PNG or JPEG.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby

from rag.errors import ConfigError, MediaError, MediaRefusedError
from rag.types import MediaLimits, MediaProfile, MediaText, MediaUsage, Medium

__all__ = ["Tesseract", "TesseractReader", "find_tesseract", "text_of_tsv"]

COMMAND = "tesseract"
INSTALL = "install Tesseract (Debian and Ubuntu: apt install tesseract-ocr, macOS: brew install tesseract)"
_ASKING_S = 20.0
_MEMORY_BYTES = 2 << 30
_LAYOUT = 1  # version of what is made of the output: a part of the identity
_MOST_BY_ITSELF = 4
_USUAL = ("chi_sim", "chi_tra", "eng")
_NO_LANGUAGE = frozenset({"osd", "equ"})
_ILLEGIBLE = 40.0
"""Mean confidence of 100 below which a paragraph is what Tesseract sees in dirt and pictures, not text."""
_HAN = "\u2e80-\u312f\u31a0-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff"
_PARTED_WORD = re.compile(r"(?<=[^\W\d_])-\n\n(?=[^\W\d_A-Z])")
"""A word that Tesseract has taken for the end of one paragraph and the beginning of another."""
_CJK_GAP = re.compile(rf"(?<=[{_HAN}])[ \t]+(?=[{_HAN}])")


@dataclass(frozen=True, slots=True)
class Tesseract:
    """The program that was found: its path, its version, and the languages it has data for."""

    path: str
    version: str
    languages: tuple[str, ...]

    def chosen(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """Return the languages to read in.

        Those wanted; else all that are installed, where they are few, or of the many English and Chinese. Chinese goes
        first, as Tesseract reads mixed lines better so. Raises ConfigError for one that is not installed.
        """
        installed = [name for name in self.languages if name not in _NO_LANGUAGE and not name.endswith("_vert")]
        if missing := [name for name in wanted if name not in self.languages]:
            raise ConfigError(
                f"ocr.languages names {', '.join(missing)}, and Tesseract has {', '.join(installed) or 'none'}; "
                "install the data (Debian and Ubuntu: tesseract-ocr-LANGUAGE), or name others"
            )
        if wanted:
            return tuple(wanted)
        usual = [name for name in _USUAL if name in installed]
        if len(installed) > _MOST_BY_ITSELF and usual:
            return tuple(usual)
        return tuple(sorted(installed, key=lambda name: (not name.startswith("chi"), name)))


def find_tesseract() -> Tesseract | None:
    """Return the program on the PATH; None where there is none. Raises ConfigError for one that does not work."""
    path = shutil.which(COMMAND)
    if path is None:
        return None
    version = re.search(r"tesseract v?(\d[\w.-]*)", _asked(path, "--version"))
    listed = _asked(path, "--list-langs").splitlines()
    languages = tuple(sorted(line.strip() for line in listed if re.fullmatch(r"[\w/]+", line.strip())))
    if version is None:
        raise ConfigError(f"{path} does not tell its version, so it is not Tesseract; set ocr.provider to 'off'")
    return Tesseract(path, version[1], languages)


def _asked(path: str, option: str) -> str:
    try:
        done = subprocess.run(
            [path, option], stdin=subprocess.DEVNULL, capture_output=True, timeout=_ASKING_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{path} {option} failed: {error}; {INSTALL}, or set ocr.provider to 'off'") from error
    return (done.stdout + b"\n" + done.stderr).decode(errors="replace")


class TesseractReader:
    """Satisfies ``rag.contracts.MediaReader`` for pages. ``timeout_s`` is what one page may take."""

    def __init__(self, program: Tesseract, *, languages: Sequence[str] = (), timeout_s: float = 120.0) -> None:
        chosen = program.chosen(languages)
        if not chosen:
            raise ConfigError("Tesseract has no language data; install some (tesseract-ocr-eng), or set ocr.provider")
        joined = "+".join(chosen)
        self._program = program
        self._languages = joined
        self._timeout_s = timeout_s
        self._profile = MediaProfile(
            title=f"tesseract {program.version} ({joined})",
            identity=f"tesseract {program.version} {joined} {_LAYOUT}",
            limits=MediaLimits(),
            concurrency=_n_processors(),
            max_concurrency=_n_processors(),
        )

    @property
    def profile(self) -> MediaProfile:
        return self._profile

    def expected_usage(self, medium: Medium) -> MediaUsage:
        return MediaUsage()

    async def read(self, medium: Medium) -> MediaText:
        """Return the text of a page, with an empty line between paragraphs.

        Raises MediaRefusedError for a page that is not read in time, MediaError where the program fails.
        """
        turning = ("1", "3") if "osd" in self._program.languages else ("3",)
        problem = ""
        for mode in turning:  # finding out which way up a page is fails where there is next to no text
            code, out, problem = await self._run(medium.data, mode)
            if code == 0:
                text, n_illegible = text_of_tsv(out.decode("utf-8", "replace"))
                left_out = f"{n_illegible} illegible paragraphs were left out" if n_illegible else ""
                return MediaText(text, note=left_out)
        raise MediaError(f"{self._profile.title} could not read it: {problem}")

    async def _run(self, image: bytes, mode: str) -> tuple[int, bytes, str]:
        command = [self._program.path, "stdin", "stdout", "-l", self._languages, "--psm", mode, "tsv"]
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={
                    **os.environ,
                    "OMP_THREAD_LIMIT": "1",
                },  # a page a processor; more threads only wait for each other
                start_new_session=True,  # so that Ctrl-C is not for it, and all that it starts ends with it
            )
        except OSError as error:
            raise MediaError(f"{self._program.path} cannot be started: {error.strerror or error}; {INSTALL}") from error
        _limit(process.pid, seconds=2 * self._timeout_s)
        try:
            async with asyncio.timeout(self._timeout_s):
                out, errors = await process.communicate(image)
        except TimeoutError:
            raise MediaRefusedError(
                f"{COMMAND} did not read it within {self._timeout_s:g} s (ocr.timeout_s)", lasting=False
            ) from None
        finally:
            if process.returncode is None:
                _kill(process)
                await process.wait()
        assert process.returncode is not None
        return process.returncode, out, _problem(process.returncode, errors)


def text_of_tsv(table: str) -> tuple[str, int]:
    """Return the text of Tesseract's table of words, and how many paragraphs were left out as illegible.

    Lines keep their ends, an empty line parts paragraphs, and Chinese characters stand without blanks between them.
    """
    n_illegible = 0
    paragraphs: list[str] = []
    for _, words in groupby(_words(table), key=lambda word: word.paragraph):
        found = list(words)
        lines = [_CJK_GAP.sub("", " ".join(word.text for word in line)) for _, line in groupby(found, lambda w: w.line)]
        weight = sum(len(word.text) for word in found)
        if sum(word.confidence * len(word.text) for word in found) / weight < _ILLEGIBLE:
            n_illegible += 1
        else:
            paragraphs.append("\n".join(lines))
    return _PARTED_WORD.sub("-\n", "\n\n".join(paragraphs)), n_illegible


@dataclass(frozen=True, slots=True)
class _Word:
    paragraph: tuple[str, ...]
    line: str
    confidence: float
    text: str


def _words(table: str) -> Iterable[_Word]:
    rows = table.splitlines()
    names = rows[0].split("\t") if rows else []
    for row in rows[1:]:
        cells: Mapping[str, str] = dict(zip(names, row.split("\t", len(names) - 1), strict=False))
        if cells.get("level") == "5" and cells.get("text", "").strip():
            paragraph = (cells["page_num"], cells["block_num"], cells["par_num"])
            yield _Word(paragraph, cells["line_num"], float(cells["conf"]), cells["text"].strip())


def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _limit(pid: int, *, seconds: float) -> None:
    """Limit memory and, for the case that we are killed before it, seconds of work."""
    if sys.platform == "linux":
        import resource  # late: not on Windows

        limits = {resource.RLIMIT_AS: _MEMORY_BYTES, resource.RLIMIT_CPU: math.ceil(seconds)}
        for name, most in limits.items():
            with suppress(OSError, ValueError):  # it has ended already, or has a lower limit
                resource.prlimit(pid, name, (most, most))


def _problem(code: int, errors: bytes) -> str:
    """Return the last line that it said, or how it ended."""
    lines = [line for line in errors.decode(errors="replace").splitlines() if line.strip()]
    if code < 0:
        return f"it was ended by signal {-code}"
    return lines[-1].strip()[:200] if lines else f"it ended with exit code {code}"


def _n_processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
