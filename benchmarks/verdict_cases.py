"""Makes labelled statements from question-answering sets, by rule: true ones, and true ones that were corrupted.

A statement that is true of its source: one of its sentences (``verbatim``); the same with its clauses in another
order (``reordered``), with its numbers or dates spelled otherwise (``respelled number``, ``respelled date``: words for
digits, thousands marks, full width, Chinese numerals, percent); part of it quoted (``quoted``); a question and its
answer (``question and answer``). One that is not: a number changed to another of the corpus or by one (``number
changed``); a date moved by years or days (``date shifted``); a name put in the place of another (``name swapped``); a
denial put in or taken out (``negated``, ``negation dropped``); the answer to another question (``other answer``); a
word of a quote changed (``quote altered``), a quote of the halves of two sentences (``quote stitched``), a quote that
another source says (``quote misattributed``).

The half of a set that a case belongs to follows from its passage: nothing of one half is in the other.
"""

from __future__ import annotations

import json
import random
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.answering.sentences import sentence_spans
from rag.types import Source

__all__ = ["Case", "cases_of"]

_MONTH_LIST = "January February March April May June July August September October November December"
_MONTHS = _MONTH_LIST.split()
_DATE_EN = re.compile(rf"\b({'|'.join(_MONTHS)}) (\d{{1,2}}), (\d{{4}})|\b(\d{{1,2}}) ({'|'.join(_MONTHS)}) (\d{{4}})")
_DATE_CN = re.compile(r"(\d{4}) ?年 ?(\d{1,2}) ?月(?: ?(\d{1,2}) ?日)?")
_NUMBER = re.compile(r"(?<![\w.,\-–/:])\d[\d,]*(?:\.\d+)?(?![\w.,\-–/:]*\d)(?![A-Za-z])")
_NAME_EN = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,}(?: [A-Z][a-z]{2,}){0,2}\b")
_NAME_CN = re.compile(r"[\u4e00-\u9fff]{1,5}[·•][\u4e00-\u9fff]{1,6}|《[^》]{2,20}》|[A-Z][A-Za-z]{3,}")
_AUX = re.compile(r"\b(is|are|was|were|has|have|had|can|could|will|would|did|does|do)\b(?! not)")
_AUX_NOT = re.compile(r"\b(is|are|was|were|has|have|had|could|will|would|did|does|do) not (?!only)")
_AUX_CN = re.compile(r"(?<![不没未还就也要只可])(是|有|会|能|可以)(?![否的人效关机])")
_NOT_CN = re.compile(r"(?:没有|并未|并不|不(?=[是能会再]))")
_CN_DIGITS = "零一二三四五六七八九"
_ONE_LIST = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_ONES = _ONE_LIST.split()
_TENS = ["_", "_", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


@dataclass(frozen=True, slots=True)
class Case:
    """An answer of one statement, the sources it was given, and whether they bear it out."""

    kind: str
    is_true: bool
    text: str
    sources: tuple[Source, ...]
    is_tuning: bool


def cases_of(folder: Path, *, n_passages: int) -> Iterator[Case]:
    """Yield the cases of ``n_passages`` passages of a set, in an order that is always the same."""
    corpus = _rows(folder / "corpus.jsonl")
    questions = _questions(folder)
    rng = random.Random(7)
    rng.shuffle(corpus)
    chinese = folder.name.startswith(("xquad_zh", "cmrc"))
    maker = _Maker(corpus, chinese=chinese)
    for place, passage in enumerate(corpus[:n_passages]):
        other = corpus[(place + 1) % len(corpus)]
        sources = (_source(1, passage), _source(2, other))
        is_tuning = zlib.crc32(str(passage["_id"]).encode()) % 2 == 0
        for kind, is_true, text in maker.statements(passage, other, questions.get(str(passage["_id"]), [])):
            yield Case(kind, is_true, text, sources, is_tuning)


class _Maker:
    """Makes statements of one corpus; what is put in place of names and numbers comes from it."""

    def __init__(self, corpus: Sequence[dict[str, Any]], *, chinese: bool) -> None:
        self._chinese = chinese
        self._name = _NAME_CN if chinese else _NAME_EN
        texts = [str(row["text"]) for row in corpus]
        self._names = sorted({name for text in texts for name in self._name.findall(text)})
        self._numbers = sorted({number for text in texts for number in _NUMBER.findall(text)})

    def statements(
        self, passage: dict[str, Any], other: dict[str, Any], asked: Sequence[tuple[str, str]]
    ) -> Iterator[tuple[str, bool, str]]:
        rng = random.Random(str(passage["_id"]))
        text = str(passage["text"])
        sentences = [text[a:b] for a, b in sentence_spans(text) if 30 <= (b - a) * (3 if self._chinese else 1) <= 400]
        sentences = [one for one in sentences if not re.search(r"[\[\]\n\"“”「」]", one) and one[-1] in ".。!！"]
        if not sentences:
            return
        rng.shuffle(sentences)
        rules: tuple[tuple[str, bool, Callable[[str, str, random.Random], str | None]], ...] = (
            ("verbatim", True, lambda one, whole, rng: one),
            ("reordered", True, self._reordered),
            ("respelled number", True, self._respelled),
            ("respelled date", True, self._redated),
            ("quoted", True, self._quoted),
            ("number changed", False, self._renumbered),
            ("date shifted", False, self._shifted),
            ("name swapped", False, self._swapped),
            ("negated", False, self._negated),
            ("negation dropped", False, self._affirmed),
            ("quote altered", False, self._altered),
        )
        for kind, is_true, rule in rules:
            made = next((new for one in sentences if (new := rule(one, text, rng))), None)
            if made:
                yield kind, is_true, self._cited(made, 1)
        if quoted := self._quoted(sentences[0], text, rng):
            yield "quote misattributed", False, self._cited(quoted, 2)
        if len(sentences) > 1:
            first, second = (self._words(one) for one in sentences[:2])
            stitched = [*first[: len(first) // 2], *second[len(second) // 2 :]]
            yield "quote stitched", False, self._cited(self._said(self._joined(stitched)), 1)
        if asked:
            question, answer = asked[0]
            yield "question and answer", True, self._cited(self._answered(question, answer), 1)
            wrong = [a for _, a in asked[1:] if a not in answer and answer not in a and a not in question]
            if wrong:
                yield "other answer", False, self._cited(self._answered(question, wrong[0]), 1)

    def _cited(self, statement: str, marker: int) -> str:
        body = statement.rstrip()
        return f"{body} [{marker}]" if body[-1] not in ".。" else f"{body[:-1]} [{marker}]{body[-1]}"

    def _answered(self, question: str, answer: str) -> str:
        asked = question.strip().rstrip("?？")
        return f"{asked}：{answer}。" if self._chinese else f"{asked}: {answer}."

    def _reordered(self, sentence: str, whole: str, rng: random.Random) -> str | None:
        comma, stop = ("，", "。") if self._chinese else (", ", ".")
        clauses = sentence.rstrip(".。").split(comma)
        if len(clauses) < 2:
            return None
        return comma.join([*clauses[1:], clauses[0]]) + stop

    def _respelled(self, sentence: str, whole: str, rng: random.Random) -> str | None:
        match = _NUMBER.search(sentence)
        if match is None or _DATE_EN.search(sentence) or _DATE_CN.search(sentence):
            return None
        digits = match[0].replace(",", "")
        forms = [match[0].translate({ord(c): ord(c) + 0xFEE0 for c in "0123456789."})]
        is_year = len(digits) == 4 and match[0] == digits
        if len(digits) > 3 and "." not in digits and not is_year:
            forms.append(f"{int(digits):,}" if match[0] == digits else digits)
        if digits.isdigit() and not is_year and int(digits) < 100:
            forms += [_chinese(int(digits))] * 2 if self._chinese else [_english(int(digits))] * 2
        after = sentence[match.end() :]
        if after.startswith("%"):
            return sentence[: match.start()] + (
                f"百分之{digits}{after[1:]}" if self._chinese else f"{digits} percent{after[1:]}"
            )
        return sentence[: match.start()] + rng.choice(forms) + after

    def _redated(self, sentence: str, whole: str, rng: random.Random) -> str | None:
        if (match := _DATE_CN.search(sentence)) is not None:
            year, month, day = match.groups()
            written = "".join(_CN_DIGITS[int(digit)] for digit in year) + f"年{_chinese(int(month))}月"
            new = rng.choice([written + (f"{_chinese(int(day))}日" if day else ""), match[0].replace(" ", "")])
        elif (match := _DATE_EN.search(sentence)) is not None:
            year, month, day = _parts(match)
            number = _MONTHS.index(month) + 1
            new = rng.choice(
                [f"{year}-{number:02}-{int(day):02}", f"{day} {month[:3]} {year}", f"{day} {month} {year}"]
            )
        else:
            return None
        return sentence[: match.start()] + new + sentence[match.end() :]

    def _shifted(self, sentence: str, whole: str, rng: random.Random) -> str | None:
        by = rng.choice([-3, -2, -1, 1, 2, 3])
        if (match := _DATE_CN.search(sentence)) is not None:
            new = str(int(match[1]) + by) + match[0][4:]
        elif (match := _DATE_EN.search(sentence)) is not None:
            year, month, day = _parts(match)
            moved = (int(day) + by - 1) % 28 + 1
            new = f"{month} {moved}, {year}" if rng.random() < 0.5 else f"{month} {day}, {int(year) + by}"
            if moved == int(day):
                return None
        else:
            return None
        return sentence[: match.start()] + new + sentence[match.end() :]

    def _renumbered(self, sentence: str, whole: str, rng: random.Random) -> str | None:
        match = _NUMBER.search(sentence)
        if match is None:
            return None
        near = str(int(match[0]) + 1) if match[0].isdigit() else rng.choice(self._numbers)
        new = rng.choice([near, rng.choice(self._numbers)])
        if new.replace(",", "") in sentence.replace(",", ""):
            return None
        return sentence[: match.start()] + new + sentence[match.end() :]

    def _swapped(self, sentence: str, whole: str, rng: random.Random) -> str | None:
        match = self._name.search(sentence)
        if match is None:
            return None
        new = rng.choice([name for name in self._names if name not in whole and match[0] not in name])
        return sentence[: match.start()] + str(new) + sentence[match.end() :]

    def _negated(self, sentence: str, whole: str, rng: random.Random) -> str | None:
        match = (_AUX_CN if self._chinese else _AUX).search(sentence)
        if match is None:
            return None
        if self._chinese:
            new = "没有" if match[0] == "有" else f"不{match[0]}"
            return sentence[: match.start()] + new + sentence[match.end() :]
        return sentence[: match.end()] + " not" + sentence[match.end() :]

    def _affirmed(self, sentence: str, whole: str, rng: random.Random) -> str | None:
        match = (_NOT_CN if self._chinese else _AUX_NOT).search(sentence)
        if match is None:
            return None
        new = "" if self._chinese and match[0] != "没有" else "有" if self._chinese else f"{match[1]} "
        return sentence[: match.start()] + new + sentence[match.end() :]

    def _quoted(self, sentence: str, whole: str, rng: random.Random) -> str | None:
        words = self._words(sentence.rstrip(".。"))
        if len(words) < 8:
            return None
        first = rng.randrange(len(words) - 6)
        return self._said(self._joined(words[first : first + rng.randint(5, 12)]))

    def _altered(self, sentence: str, whole: str, rng: random.Random) -> str | None:
        words = self._words(sentence.rstrip(".。"))
        if len(words) < 8:
            return None
        place = rng.randrange(2, len(words) - 2)
        taken = [word for word in self._words(whole) if word.isalpha() and word != words[place]]
        words[place] = rng.choice(taken)
        return self._said(self._joined(words[max(0, place - 5) : place + 6]))

    def _said(self, quote: str) -> str:
        return f"资料称“{quote.rstrip('。，')}”。" if self._chinese else f"The source says “{quote.rstrip('., ')}”."

    def _words(self, text: str) -> list[str]:
        return list(text.replace(" ", "")) if self._chinese else text.split(" ")

    def _joined(self, words: Sequence[str]) -> str:
        return ("" if self._chinese else " ").join(words)


def _chinese(value: int) -> str:
    tens, ones = divmod(value, 10)
    head = "" if tens == 0 else "十" if tens == 1 else f"{_CN_DIGITS[tens]}十"
    return head + (_CN_DIGITS[ones] if ones or not tens else "")


def _english(value: int) -> str:
    if value < 20:
        return _ONES[value]
    return _TENS[value // 10] + (f"-{_ONES[value % 10]}" if value % 10 else "")


def _parts(match: re.Match[str]) -> tuple[str, str, str]:
    """Return year, month and day of an English date."""
    if match[1]:
        return match[3], match[1], match[2]
    return match[6], match[5], match[4]


def _questions(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Return questions with their answers by passage."""
    queries = {str(row["_id"]): row for row in _rows(folder / "queries.jsonl")}
    asked: dict[str, list[tuple[str, str]]] = {}
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query_id, passage_id = line.split("\t")[:2]
        query = queries.get(query_id)
        if query and (answers := query.get("metadata", {}).get("answers")):
            asked.setdefault(passage_id, []).append((str(query["text"]), str(answers[0])))
    return asked


def _rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _source(marker: int, passage: dict[str, Any]) -> Source:
    text, key = str(passage["text"]), str(passage["_id"])
    return Source(marker, key, str(passage["title"]), 0, len(text), text, None, (), 1.0, (key,), (0,))
