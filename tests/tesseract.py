"""A stand-in for the program ``tesseract``: a real process with its command line, and answers that are known before.

What it reads off a picture is in the picture: ``picture("some words")`` writes them as grey bars, one for each letter.
"""

from __future__ import annotations

import io
import stat
import sys
from pathlib import Path

from PIL import Image

__all__ = ["Tesseract", "picture", "picture_bytes"]

ALPHABET = " abcdefghijklmnopqrstuvwxyz0123456789"
_BARS = 64

_SCRIPT = """#!{python}
import io, os, sys, time
from pathlib import Path

here = Path(__file__).parent
if "--version" in sys.argv:
    print("tesseract 5.9.0\\n leptonica-1.84")
    sys.exit()
if "--list-langs" in sys.argv:
    print("List of available languages in \\"/data/\\" (4):\\n" + (here / "languages").read_text())
    sys.exit()
mode = (here / "mode").read_text()
with (here / "calls").open("a") as calls:
    calls.write(" ".join(sys.argv[1:]) + " " + str(os.getpid()) + "\\n")
if mode == "hang":
    time.sleep(60)
if mode == "fail" or (mode == "no osd" and sys.argv[sys.argv.index("--psm") + 1] == "1"):
    sys.exit("Too few characters. Skipping this page")
sys.path.insert(0, {root!r})
from tests.tesseract import words_in
words = words_in(sys.stdin.buffer.read())
names = "level page_num block_num par_num line_num word_num left top width height conf text"
print("\\t".join(names.split()))
for place, word in enumerate(words.split(), start=1):
    print("5\\t1\\t1\\t1\\t1\\t%d\\t0\\t0\\t9\\t9\\t%s\\t%s" % (place, 20 if mode == "illegible" else 96, word))
"""


class Tesseract:
    """The stand-in in ``folder``. ``mode`` is "", "hang", "fail", "no osd" or "illegible"."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        script = folder / "tesseract"
        script.write_text(_SCRIPT.format(python=sys.executable, root=str(Path(__file__).parents[1])), encoding="utf-8")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        self.languages("eng", "osd")
        self.mode("")

    def mode(self, mode: str) -> None:
        (self.folder / "mode").write_text(mode)

    def languages(self, *names: str) -> None:
        (self.folder / "languages").write_text("\n".join(names))

    @property
    def calls(self) -> list[str]:
        """The command lines of the pages that were read, with the process at the end of each."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []


def picture(text: str, *, width: int = 1280, height: int = 400) -> Image.Image:
    """Return a picture in which the stand-in reads ``text``: up to 63 letters of ALPHABET."""
    codes = [ALPHABET.index(letter) for letter in text.ljust(_BARS - 1)]
    row = Image.frombytes("L", (_BARS, 1), bytes([20, *(40 + 5 * code for code in codes)]))  # the first says it is one
    return row.resize((width, height), Image.Resampling.NEAREST)


def picture_bytes(text: str, *, format: str = "JPEG", **options: object) -> bytes:
    out = io.BytesIO()
    picture(text).save(out, format, **({"quality": 95} | options if format == "JPEG" else options))
    return out.getvalue()


def words_in(data: bytes) -> str:
    """Return what is written in a picture, whatever was done to its size and quality; "" for any other picture."""
    image = Image.open(io.BytesIO(data)).convert("L")
    middle = image.crop((0, image.height * 2 // 5, image.width, image.height * 3 // 5))
    shades = middle.resize((4 * _BARS, 1), Image.Resampling.BOX).tobytes()
    bars = [(shades[4 * place + 1] + shades[4 * place + 2]) / 2 for place in range(_BARS)]
    codes = [round((bar - 40) / 5) for bar in bars[1:]]
    if abs(bars[0] - 20) > 8 or not all(0 <= code < len(ALPHABET) for code in codes):
        return ""
    return "".join(ALPHABET[code] for code in codes).strip()
