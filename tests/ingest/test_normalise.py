"""Normalising: the rules one by one, the map back, and a slow obvious version to compare with."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.normalise import normalise

_PIECES = st.sampled_from(
    [
        *(
            "a",
            "Z",
            "9",
            " ",
            "  ",
            "\t",
            "\n",
            "\r\n",
            "\r",
            "\n\n\n",
            "\x0b",
            "\x0c",
            "\x85",
            "\u2028",
            "\xa0",
            "\u3000",
        ),
        *("\u200b", "\xad", "\ufeff", "\u202e", "\u200d", "\u200c", "\x00", "\ud800", "\ufe0f", "\U000e0041"),
        *("e\u0301", "\u0301", "é", "ﬁ", "Ａ", "１", "ｶ", "ﾞ", "⼀", "豈", "10²", "½", "①", "：", "℃", "㎡", "Ⅳ", "№"),
        *("中文", "한", "ᄒ", "ᅡ", "ᆫ", "👨", "👩", "م", "ی", "क", "\u094d", "﷼", "ﷺ", "ำ", "\u212b", "\u2329"),
    ]
)
_TEXTS = st.one_of(st.lists(_PIECES, max_size=30).map("".join), st.text(max_size=60))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("ofﬁce ﬂow", "office flow"),
        ("ＲＡＧ２０２４", "RAG2024"),
        ("ｶﾞｷﾞｸﾞ｡", "ガギグ。"),
        ("⼀⽂⺠", "一文民"),
        ("豈", "\u8c48"),
        ("ﻻ", "لا"),
        ("𝐀𝟏", "A1"),
        ("Ⅳ", "IV"),
        ("5㎏ 5㎡", "5kg 5m²"),
        ("a\xa0b\u3000c\u2009d", "a b c d"),
        ("e\u0301cole", "école"),
        ("ｶ\u200bﾞ", "ガ"),
    ],
)
def test_forms_that_a_reader_sees_as_the_same_letters_become_them(raw: str, text: str) -> None:
    assert normalise(raw).text == text


@pytest.mark.parametrize(
    "text",
    [
        "10² m³ H₂O xⁿ",
        "½ ⅓",
        "①②㈠⒈",
        "™ © ® № ℃ ℝ",
        "价格：￥１".replace("１", "1"),
        "“好”，是！（吗）？",
        "ㅋㅋ ㄱㅏ",
        "น้ำ",
        "և",
        "´¨",
    ],
)
def test_forms_whose_change_would_change_the_words_stay(text: str) -> None:
    assert normalise(text).text == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("a\r\nb\rc\nd\x0be\x0cf\x85g\u2028h\u2029i", "a\nb\nc\nd\ne\nf\ng\nh\ni"),
        ("a  b\t\tc\td", "a b c d"),
        ("if x:\n    y\n\tz  \n", "if x:\n    y\n\tz"),
        ("  first", "  first"),
        ("\n \n  first", "  first"),
        ("a\n\n\n\n\nb", "a\n\nb"),
        ("a\n \t\n \n  b", "a\n\n  b"),
        (" \n\t\r\n" * 50, ""),
        ("", ""),
    ],
)
def test_blanks_and_line_ends_are_tidied(raw: str, text: str) -> None:
    assert normalise(raw).text == text


def test_invisible_characters_go_and_shaping_joiners_stay() -> None:
    assert normalise("a\u200bb\u200dc\u202eevil\u202c\ufeffd\xad\x00 \U000e0049\U000e0067").text == "abcevild"
    assert normalise("👨\u200d👩\u200d👧 می\u200cخواهم क्\u200dष").text == "👨\u200d👩\u200d👧 می\u200cخواهم क्\u200dष"


def test_halves_of_characters_are_replaced_and_counted() -> None:
    normalised = normalise("a\ud800b\udfff")
    assert (normalised.text, normalised.n_surrogates) == ("a\ufffdb\ufffd", 2)


def test_text_that_looks_like_a_special_token_is_text() -> None:
    assert normalise("<|endoftext|> hello").text == "<|endoftext|> hello"


def test_the_map_leads_back_to_the_words_as_they_stood() -> None:
    raw = "An  ofﬁce\xad\r\n\r\n\r\nin  e\u0301cole"
    normalised = normalise(raw)
    assert normalised.text == "An office\n\nin école"
    start = normalised.text.index("office")
    assert raw[slice(*normalised.raw_span(start, start + 6))] == "ofﬁce\xad"
    start = normalised.text.index("école")
    assert raw[slice(*normalised.raw_span(start, start + 5))] == "e\u0301cole"


def test_both_halves_of_a_ligature_lead_to_it() -> None:
    normalised = normalise("ﬁ")
    assert [normalised.raw_span(0, 1), normalised.raw_span(1, 2), normalised.raw_span(1, 1)] == [(0, 1), (0, 1), (0, 0)]


def test_a_span_outside_the_text_is_refused() -> None:
    with pytest.raises(ValueError, match="span must lie in"):
        normalise("abc").raw_span(1, 4)


@settings(max_examples=400, deadline=None)
@given(_TEXTS)
def test_normalising_twice_changes_nothing(raw: str) -> None:
    once = normalise(raw).text
    again = normalise(once)
    assert again.text == once
    assert again.offsets.tolist() == list(range(len(once) + 1))


@settings(max_examples=400, deadline=None)
@given(_TEXTS)
def test_offsets_never_decrease_and_lie_in_the_raw_text(raw: str) -> None:
    normalised = normalise(raw)
    offsets = normalised.offsets
    assert (offsets.dtype, len(offsets)) == (np.int32, len(normalised.text) + 1)
    assert (np.diff(offsets) >= 0).all()
    assert offsets[-1] == len(raw)
    assert (offsets[:-1] < max(len(raw), 1)).all()


@settings(max_examples=400, deadline=None)
@given(_TEXTS)
def test_it_equals_the_slow_obvious_version(raw: str) -> None:
    assert normalise(raw).text == _slow(raw)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(categories=["Lu", "Ll"], max_codepoint=0x24F), min_size=1))
def test_ordinary_letters_only_compose(raw: str) -> None:
    kept = [char for char in raw if not unicodedata.decomposition(char).startswith("<")]
    assert normalise("".join(kept)).text == unicodedata.normalize("NFC", "".join(kept))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["word", "中文", "é", "ﬁ", "  ", "\r\n", "\xad", "👨"]), max_size=40))
def test_every_visible_word_is_found_at_its_raw_place(parts: list[str]) -> None:
    raw = "".join(parts)
    normalised = normalise(raw)
    for match in re.finditer("word|中文|é|fi|👨", normalised.text):
        start, end = normalised.raw_span(*match.span())
        assert normalise(raw[start:end]).text == match[0]


def test_clean_text_maps_onto_itself() -> None:
    text = "Plain ASCII.\n\nAnd 中文，也是。"
    assert normalise(text).text is text


# --- the slow version: a character at a time, no map ---------------------------------------------------------------


_SLOW_RADICALS = dict(
    zip(
        "⺠⻁⻄⻅⻆⻉⻋⻓⻔⻘⻚⻛⻜⻝⻢⻣⻤⻥⻦⻧⻨⻩⻬⻮⻰",
        "民虎西见角贝车长门青页风飞食马骨鬼鱼鸟卤麦黄齐齿龙",
        strict=True,
    )
)


def _slow(raw: str) -> str:
    text = re.sub("\r\n|[\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]", "\n", raw)
    text = "".join(_slow_char(text, place) for place in range(len(text)))
    text = unicodedata.normalize("NFC", text)
    lines = [line.rstrip(" \t") for line in text.split("\n")]
    lines = [re.match("[ \t]*", line)[0] + re.sub("[ \t]+", " ", line.lstrip(" \t")) for line in lines]  # type: ignore[index]
    return re.sub("\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def _slow_char(text: str, place: int) -> str:
    char = text[place]
    category, code = unicodedata.category(char), ord(char)
    if char in "\n\t":
        return char
    if category == "Zs":
        return " "
    if category == "Cs":
        return "\ufffd"
    if char in "\u200c\u200d":
        around = text[place - 1 : place] if place else "", text[place + 1 : place + 2]
        return char if all(map(_slow_shaped, around)) else ""
    if category == "Cc" or code in _slow_invisible():
        return ""
    if char in _SLOW_RADICALS:
        return _SLOW_RADICALS[char]
    form = _slow_form(char)
    return form if _slow_in_compatibility_block(code) else char


def _slow_form(char: str) -> str:
    tag, _, rest = unicodedata.decomposition(char).partition(" ")
    if not tag.startswith("<") or tag in ("<super>", "<sub>", "<fraction>", "<circle>"):
        return char
    if unicodedata.category(char) == "No":
        return char
    form = "".join(_slow_form(chr(int(code, 16))) for code in rest.split())
    words = all(unicodedata.category(c)[0] in "LMN" for c in form)
    return form if words or tag == "<narrow>" or form == "\u2010" else char


def _slow_in_compatibility_block(code: int) -> bool:
    blocks = [(0xB5, 0xB5), (0x132, 0x133), (0x17F, 0x17F), (0x1C4, 0x1CC), (0x1F1, 0x1F3), (0x3D0, 0x3F9)]
    blocks += [(0x2011, 0x2011), (0x2160, 0x217F), (0x2E80, 0x2FDF), (0x32C0, 0x32CB), (0x3300, 0x33FF)]
    blocks += [(0xFB00, 0xFDFF), (0xFE70, 0xFEFC), (0xFF01, 0xFF9F), (0x1D400, 0x1D7FF)]
    return any(first <= code <= last for first, last in blocks)


def _slow_invisible() -> set[int]:
    spans = [(0xAD, 0xAD), (0x61C, 0x61C), (0x180E, 0x180E), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F)]
    spans += [(0xFDD0, 0xFDEF), (0xFE00, 0xFE0D), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB), (0xFFFE, 0xFFFF)]
    spans += [(0xE0000, 0xE0FFF)]
    return {code for first, last in spans for code in range(first, last + 1)}


def _slow_shaped(char: str) -> bool:
    spans = [(0x590, 0x8FF), (0x900, 0xDFF), (0xF00, 0x109F), (0x1780, 0x18AF), (0xA8E0, 0xAAFF), (0xFB1D, 0xFDCF)]
    spans += [(0xFDF0, 0xFDFF), (0xFE70, 0xFEFC), (0xFE0F, 0xFE0F), (0x2190, 0x21FF), (0x2600, 0x27BF)]
    spans += [(0x2B00, 0x2BFF), (0x11000, 0x114FF), (0x1F000, 0x1FAFF)]
    return bool(char) and any(first <= ord(char) <= last for first, last in spans)
