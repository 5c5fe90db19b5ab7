"""Tesseract as a program: found, asked, limited, and what is made of what it says."""

from __future__ import annotations

import asyncio
import io
import os
import shutil

import pytest
from PIL import Image, ImageDraw, ImageFont

from rag.errors import ConfigError, MediaError, MediaRefusedError
from rag.local.tesseract import TesseractReader, find_tesseract, text_of_tsv
from rag.types import Medium
from tests.tesseract import Tesseract, picture_bytes

REAL = shutil.which("tesseract")
HEAD = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n"


def page(text: str) -> Medium:
    return Medium("page", "image/jpeg", picture_bytes(text))


def reader(**options: object) -> TesseractReader:
    found = find_tesseract()
    assert found is not None
    return TesseractReader(found, **options)  # type: ignore[arg-type]


def table(*rows: tuple[int, int, str, float]) -> str:
    """Return Tesseract's table for words of (paragraph, line, word, confidence)."""
    return HEAD + "".join(f"5\t1\t1\t{par}\t{line}\t1\t0\t0\t9\t9\t{conf}\t{word}\n" for par, line, word, conf in rows)


def test_without_the_program_there_is_none(no_tesseract: None) -> None:
    assert find_tesseract() is None


async def test_a_page_is_read_in_the_languages_that_are_there(tesseract: Tesseract) -> None:
    tesseract.languages("eng", "chi_sim", "osd", "chi_sim_vert")
    read = reader()
    assert read.profile.title == "tesseract 5.9.0 (chi_sim+eng)"
    assert (await read.read(page("the harbour"))).text == "the harbour"
    assert tesseract.calls[0].startswith("stdin stdout -l chi_sim+eng --psm 1 tsv")


def test_of_many_languages_english_and_chinese_are_taken_and_others_when_named(tesseract: Tesseract) -> None:
    tesseract.languages("afr", "chi_tra", "deu", "eng", "fra", "osd")
    assert reader().profile.title == "tesseract 5.9.0 (chi_tra+eng)"
    assert reader(languages=("deu", "fra")).profile.title == "tesseract 5.9.0 (deu+fra)"
    with pytest.raises(ConfigError, match=r"ocr.languages names jpn, and Tesseract has afr, chi_tra, deu, eng, fra"):
        reader(languages=("jpn", "eng"))


async def test_a_page_whose_orientation_cannot_be_found_is_read_as_it_stands(tesseract: Tesseract) -> None:
    tesseract.mode("no osd")
    assert (await reader().read(page("the harbour"))).text == "the harbour"
    assert [call.split()[5] for call in tesseract.calls] == ["1", "3"]


async def test_a_program_that_fails_says_why(tesseract: Tesseract) -> None:
    tesseract.mode("fail")
    with pytest.raises(MediaError, match=r"^tesseract 5.9.0 .eng. could not read it: Too few characters"):
        await reader().read(page("the harbour"))


async def test_a_page_that_takes_too_long_is_ended_and_not_remembered_as_refused(tesseract: Tesseract) -> None:
    tesseract.mode("hang")
    with pytest.raises(MediaRefusedError, match=r"within 0.5 s") as caught:
        await reader(timeout_s=0.5).read(page("the harbour"))
    assert not caught.value.lasting
    assert_gone(tesseract)


async def test_a_page_that_nobody_waits_for_any_more_is_ended(tesseract: Tesseract) -> None:
    tesseract.mode("hang")
    reading = asyncio.create_task(reader().read(page("the harbour")))
    while not tesseract.calls:
        await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert_gone(tesseract)


def assert_gone(tesseract: Tesseract) -> None:
    (call,) = tesseract.calls
    with pytest.raises(ProcessLookupError):
        os.kill(int(call.split()[-1]), 0)


def test_lines_and_paragraphs_are_kept() -> None:
    text, _ = text_of_tsv(table((1, 1, "The", 96), (1, 1, "harbour", 96), (1, 2, "opened.", 96), (2, 1, "Later", 96)))
    assert text == "The harbour\nopened.\n\nLater"


def test_chinese_stands_without_blanks_and_other_words_keep_them() -> None:
    words = ("元朝", "由", "忽必烈", "于", "1271", "年", "建立", "。", "Yuan", "dynasty")
    text, _ = text_of_tsv(table(*((1, 1, word, 90.0) for word in words)))
    assert text == "元朝由忽必烈于 1271 年建立。 Yuan dynasty"


def test_what_is_seen_in_dirt_is_left_out_and_counted() -> None:
    text, n_illegible = text_of_tsv(table((1, 1, "The", 96), (2, 1, "~;|", 21)))
    assert (text, n_illegible) == ("The", 1)


def test_a_word_that_was_taken_for_two_paragraphs_is_parted_by_a_line_end() -> None:
    assert text_of_tsv(table((1, 1, "sym-", 90), (2, 1, "bol", 90)))[0] == "sym-\nbol"


def test_no_table_is_no_text() -> None:
    assert text_of_tsv("") == text_of_tsv(HEAD) == ("", 0)


# --- the real program, where it is installed


@pytest.mark.skipif(REAL is None, reason="Tesseract is not installed (apt install tesseract-ocr)")
@pytest.mark.parametrize("turned", [0, 90, 180])
async def test_the_real_program_reads_a_page_whichever_way_up(turned: int) -> None:
    found = find_tesseract()
    assert found is not None
    if turned and "osd" not in found.languages:
        pytest.skip("needs Tesseract's data for orientation (tesseract-ocr-osd)")
    image = Image.new("L", (1400, 800), 255)
    words = (
        "The harbour of Genoa was rebuilt in 1992 by an architect\nfrom there. Its lighthouse is 77 metres high,\n"
        "and was built in 1543. Ships leave for Corsica and\nSardinia every day, and in summer for other islands.\n"
        "The old town behind it is one of the largest in Europe,\nand its palaces were painted by many travellers."
    )
    ImageDraw.Draw(image).multiline_text((100, 100), words, fill=0, font=ImageFont.load_default(40), spacing=16)
    out = io.BytesIO()
    image.rotate(turned, expand=True, fillcolor=255).save(out, "JPEG", quality=90)
    text = (await TesseractReader(found).read(Medium("page", "image/jpeg", out.getvalue()))).text
    assert "harbour of Genoa was rebuilt in 1992" in text
    assert "77 metres high" in text
