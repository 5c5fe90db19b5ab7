"""Reads the numbers of a text, however they are written: ``1,000``, ``１０００``, ``one thousand``, ``一千``, ``1千``.

English and Chinese. A number has a value and, where one is written beside it, a unit; units are spelled out, never
converted. Offsets are those of the text given.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from decimal import Decimal

__all__ = ["CHINESE_DIGITS", "Number", "chinese_value", "fold", "numbers_in"]

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}

_UNIT_SPELLINGS = {
    "percent": "% percent per cent 个百分点",
    "usd": "$ us$ dollar dollars usd 美元",
    "eur": "€ euro euros eur 欧元",
    "gbp": "£ pound sterling gbp 英镑",
    "cny": "yuan rmb cny 元人民币 人民币",
    "km": "km kilometre kilometres kilometer kilometers 公里 千米",
    "m": "metre metres meter meters 米",
    "cm": "cm centimetre centimetres centimeter centimeters 厘米",
    "mm": "mm millimetre millimetres millimeter millimeters 毫米",
    "mile": "mi mile miles 英里",
    "foot": "ft foot feet 英尺",
    "kg": "kg kilogram kilograms 公斤 千克",
    "hour": "h hour hours hr hrs 小时",
    "minute": "min minute minutes 分钟",
    "second": "second seconds sec 秒",
    "day": "day days 天",
    "week": "week weeks 周 星期",
    "month": "month months 个月",
    "year": "year years 年 岁",
    "kb": "kb kilobytes",
    "mb": "mb megabytes",
    "gb": "gb gigabytes",
    "ms": "ms millisecond milliseconds 毫秒",
}
_UNITS = {
    spelling: unit
    for unit, spellings in _UNIT_SPELLINGS.items()
    for spelling in [*spellings.replace("per cent", "per_cent").replace("pound sterling", "pounds").split()]
} | {"per cent": "percent"}
_UNITS.pop("per_cent")
_LATIN_UNITS = "|".join(sorted((re.escape(u) for u in _UNITS if u.isascii() and u[0].isalpha()), key=len, reverse=True))
_OTHER_UNITS = "|".join(sorted((re.escape(u) for u in _UNITS if not u[0].isalpha() or not u.isascii()), key=len)[::-1])
_UNIT = re.compile(rf"[ \u00a0\u202f-]?(?:(?P<latin>{_LATIN_UNITS})(?![A-Za-z])|(?P<other>{_OTHER_UNITS}))", re.I)
_CURRENCY = {"$": "usd", "€": "eur", "£": "gbp"}

_DIGITS = re.compile(
    r"(?<![A-Za-z0-9_])(?P<minus>(?:(?<=\s)|(?<=^)|(?<=\())[-−])?"
    r"(?P<digits>\d{1,3}(?:[,\u00a0\u202f]\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?)(?P<part>[½¼¾])?"
)
_PARTS = {"½": Decimal("0.5"), "¼": Decimal("0.25"), "¾": Decimal("0.75")}
_SCALES = {
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "bn": 10**9,
    "百": 100,
    "千": 1000,
    "万": 10**4,
    "萬": 10**4,
    "亿": 10**8,
    "億": 10**8,
}
_SCALE = re.compile(
    r"[ \u00a0\u202f-]?(?P<word>hundred|thousand|million|billion|trillion|bn)s?\b|(?P<cjk>[百千万萬亿億]+)", re.I
)

_SMALL_LISTED = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_SMALL = {word: value for value, word in enumerate(_SMALL_LISTED.split())}
_TENS_LISTED = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS = {word: 10 * value for value, word in enumerate(_TENS_LISTED.split(), 2)}
_ORDINALS_LISTED = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
)
_ORDINALS = {
    word: value
    for value, word in enumerate(
        _ORDINALS_LISTED.split(),
        1,
    )
}
_BIG = {word: scale for word, scale in _SCALES.items() if word.isascii() and word != "bn"}
_SPOKEN = "|".join(sorted([*_SMALL, *_TENS, *_BIG], key=len, reverse=True))
_WORDS = re.compile(rf"\b(?:{_SPOKEN})(?:(?:[ -]|(?:[ ]and[ ]))(?:{_SPOKEN}))*\b", re.I)
_ORDINAL = re.compile(rf"\b(?:{'|'.join(sorted(_ORDINALS, key=len, reverse=True))})\b", re.I)
_DOZEN = re.compile(r"\bdozen\b", re.I)

CHINESE_DIGITS = "零〇一二两兩三四五六七八九十百千万萬亿億"
_CHINESE_VALUES = {
    "零": 0, "〇": 0, "一": 1, "二": 2, "两": 2, "兩": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9,
}  # fmt: skip
_CHINESE_SCALES = {"十": 10, "百": 100, "千": 1000, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_CHINESE = re.compile(
    rf"(?P<percent>百分之)?(?P<run>[{CHINESE_DIGITS}]+)(?:点(?P<decimals>[零〇一二三四五六七八九]+))?"
)
_CLASSIFIER = "年月日号天周岁个次人分元章名位家所座条项种枚场届只台部本世米公里英吨秒小倍度层万"
_PERCENT_DIGITS = re.compile(r"百分(?!之[^\d])")


@dataclass(frozen=True, slots=True)
class Number:
    """A number at ``[start, end)``. ``is_sure`` is False for what may be no number at all: "one of them", "统一"."""

    value: Decimal
    unit: str | None
    start: int
    end: int
    is_sure: bool = True

    def is_met_by(self, other: Number) -> bool:
        """Tell whether another number says the same; a unit that one side leaves out is no difference."""
        return self.value == other.value and (self.unit == other.unit or not (self.unit and other.unit))


def fold(text: str) -> str:
    """Return the text with full-width letters, digits and marks as ASCII, character for character.

    >>> fold("１００％，ok")
    '100%,ok'
    """
    return text.translate(_FULL_WIDTH)


def numbers_in(text: str) -> list[Number]:
    """Return the numbers of a text in its order; a date is read as its numbers.

    >>> [(str(n.value), n.unit) for n in numbers_in("1.5 million people, 百分之二十 and forty-two km")]
    [('1500000.0', None), ('20', 'percent'), ('42', 'km')]
    """
    folded = fold(text)
    found = [*_written_in_digits(folded), *_spoken(folded), *_in_chinese(folded)]
    return sorted(map(_sorted_out, found), key=lambda number: number.start)


def chinese_value(run: str) -> int:
    """Return the value of Chinese numerals, by place (二〇一五) or by scale (二千零一十五, 三万).

    >>> chinese_value("一九六九"), chinese_value("十二"), chinese_value("三万五千")
    (1969, 12, 35000)
    """
    if not any(char in _CHINESE_SCALES for char in run):
        return int("".join(str(_CHINESE_VALUES[char]) for char in run))
    total = section = digit = 0
    for place, char in enumerate(run):
        if char in _CHINESE_VALUES:
            digit = _CHINESE_VALUES[char]
            continue
        scale = _CHINESE_SCALES[char]
        if scale < 10**4:
            section += (digit or (1 if place == 0 or digit == 0 else 0)) * scale
        else:
            total = (total + section + digit or 1) * scale
            section = 0
        digit = 0
    return total + section + digit


def _written_in_digits(text: str) -> list[Number]:
    found = []
    for match in _DIGITS.finditer(text):
        value = Decimal(re.sub(r"[,\u00a0\u202f]", "", match["digits"]))
        value += _PARTS.get(match["part"] or "", Decimal(0))
        start, end = match.span()
        if scale := _SCALE.match(text, end):
            for word in [scale["word"].lower()] if scale["word"] else list(scale["cjk"]):
                value *= _SCALES[word]
            end = scale.end()
        unit, after = _unit(text, end)
        before = text[:start].rstrip(" ")[-1:]
        if before in _CURRENCY:
            unit = _CURRENCY[before]
        if text[max(0, start - 3) : start] == "百分之":
            unit = "percent"
        found.append(Number(-value if match["minus"] else value, unit, start, after))
    return found


def _spoken(text: str) -> list[Number]:
    found = []
    for match in _WORDS.finditer(text):
        words = [word for word in re.split(r"[ -]", match[0].lower()) if word != "and"]
        if words[0] in _BIG and text[: match.start()].rstrip(" -\u00a0\u202f")[-1:].isdigit():
            continue  # "5 million": read with its digits
        for value in _spoken_values(words):
            unit, end = _unit(text, match.end())
            sure = value > 1 and not (words[0] in _BIG and match[0].lower() in ("hundred", "thousand"))
            found.append(Number(Decimal(value), unit, match.start(), end, sure))
    for match in _ORDINAL.finditer(text):
        value = _ORDINALS[match[0].lower()]
        found.append(Number(Decimal(value), None, *match.span(), value > 3))
    found += [Number(Decimal(12), None, *match.span(), False) for match in _DOZEN.finditer(text)]
    return found


def _spoken_values(words: list[str]) -> list[int]:
    """Return the numbers that a run of number words holds: "two thousand five" is one, "two three" are two."""
    values, total, section, last = [], 0, 0, 10**15
    for word in words:
        if word in _BIG:
            scale = _BIG[word]
            if scale == 100:
                section = (section or 1) * 100
            else:
                total, section = total + (section or 1) * scale, 0
            last = scale
            continue
        value = _SMALL.get(word, _TENS.get(word, 0))
        if value >= last or (0 < section % 100 < 20 and last < 100) or (value >= 10 and section % 100 >= 20):
            values.append(total + section)
            total = section = 0
        section += value
        last = 10 if value >= 20 else 1 if value < 20 else value
    return [*values, total + section]


def _in_chinese(text: str) -> list[Number]:
    found = []
    for match in _CHINESE.finditer(text):
        if text[: match.start()][-1:].isdigit():
            continue  # "3万": read with its digits
        if _PERCENT_DIGITS.match(text, match.start()):
            continue
        run, percent = match["run"], bool(match["percent"])
        value = Decimal(chinese_value(run))
        if match["decimals"]:
            value += Decimal("0." + "".join(str(_CHINESE_VALUES[char]) for char in match["decimals"]))
        unit, end = _unit(text, match.end())
        counted = text[match.end() : match.end() + 1] in tuple(_CLASSIFIER) or text[: match.start()].endswith("第")
        sure = percent or (counted and value > 2) or (len(run) > 2 and value > 10)
        found.append(Number(value, "percent" if percent else unit, match.start(), end, sure))
    return found


def _unit(text: str, place: int) -> tuple[str | None, int]:
    match = _UNIT.match(text, place)
    if match is None:
        return None, place
    return _UNITS[(match["latin"] or match["other"]).lower()], match.end()


def _sorted_out(number: Number) -> Number:
    """Take a number of four digits before 年 for the name of a year, not for a length of time."""
    if number.unit == "year" and 1000 <= number.value <= 2100:
        return dataclasses.replace(number, unit=None)
    return number
