"""Bytes to text in whatever encoding they are; the only importer of charset-normalizer.

Order of trust: a byte-order mark, strict UTF-8, seven-bit escapes, zeros that betray UTF-16 and UTF-32, then the
multi-byte encodings of East Asia judged by how common their characters are, damaged UTF-8, Western European text, and
at last charset-normalizer for the other single-byte code pages. charset-normalizer alone takes short GBK for Korean and
cp1252 for code pages of DOS (3.5.2), hence the steps before it.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass

__all__ = ["Decoded", "decode", "east_asian", "looks_binary"]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"\x84\x31\x95\x33", "gb18030"),
)
_SAMPLE_BYTES = 64 * 1024
_ODD = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r\x1b\x1a")
# Characters that make up most of any running text in their language: the judge of multi-byte guesses.
_FREQUENT = frozenset(
    "的一是不了在人有我他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可里后小么心多天而能"
    "好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长知民样现分将外但身些与高意进把"
    "法此实回二理美点月明其种声全工己话儿者向情部正名定女问力机给等几很业最间新什打便位因重被走电四第门相次东政海口使教"
    "西再平真听世气信北少关并内加化由却代军产入先山五太水万市眼体别处总才场师书比住员九笑性通目华报立马命张活难神数件安表"
    "原车白应路期叫死常提感金何更反合放做系计或司利受光王果亲界及今京务制解各任至清物台象记边共风战干接它许八特觉望直服毛"
    "林题建南度统色字请交爱让认算论百吃义科怎元社术结六功指思非流每青管夫连远资队跟带花快条院变联言权往展该领传近留红治决周"
    "保达办运武半候七必城父强步完革深区即求品士转量空甚众技轻程告江语英基派满式李息写呢识极令黄德收脸钱党倒未持取设始版双历"
    "文档标题内容检索引用来源系统价格测试简体章节描述说明使用默认配置安装"
    "這國來個們說為時會過還對後發沒經長開動樣現點實種聲話兒無與東門問間機給幾業進萬電車應場師書華報數記邊戰許覺題統論義術"
    "結隊帶條變聯權遠資運達辦頭體關產處總員馬張難計務據學當從將於見兩並該測試檢標檔繁簡價類單設語讀寫請認識線網頁"
    "のにはをたがでてとしれさあいうえおかきくけこなまもやよらりるんっアイウエオカキクケコサシスセソタチツテトナニノハヒフヘホマミム"
    "メモラリルレロンーッ"
    "이다는을의에가고하한지도로은를기사시어그나서리자인정있들해대아과수일전제보라주것으게구만여부상무면장안동적성스등경관년신원문"
    "，。、；：！？“”‘’（）《》「」『』【】·—…￥"
)
_PLAIN = frozenset(map(chr, range(0x20, 0x7F))) | frozenset("\t\n\r\f\u3000")
_EAST_ASIAN = ("gb18030", "big5hkscs", "cp932", "euc_jp", "cp949")
_JUDGED = [  # multi-byte: judged above, by characters and not by the look of their bytes
    *("big5", "big5hkscs", "cp932", "cp949", "cp950", "euc_jis_2004", "euc_jisx0213", "euc_jp", "euc_kr", "gb18030"),
    *("gb2312", "gbk", "hz", "iso2022_jp", "iso2022_kr", "johab", "shift_jis", "shift_jis_2004", "shift_jisx0213"),
    *("utf_16_le", "utf_16_be", "utf_32_le", "utf_32_be"),
]
_SEVEN_BIT = ((b"~{", "hz"), (b"\x1b$", "iso2022_jp_2"))
_VALID_UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


@dataclass(frozen=True, slots=True)
class Decoded:
    """A text, the encoding it was read with, and what was doubtful about it."""

    text: str
    encoding: str
    warnings: tuple[str, ...] = ()


def looks_binary(data: bytes) -> bool:
    """Tell whether the bytes cannot be text: zeros and controls that no text encoding explains."""
    sample = data[:_SAMPLE_BYTES]
    if not sample or _by_mark(data) or _wide_by_zeros(sample):
        return False
    n_odd = len(sample) - len(sample.translate(None, _ODD))
    if n_odd <= len(sample) * 0.05:
        return False
    return _wide_without_mark(sample) is None


def decode(data: bytes) -> Decoded:
    """Return the text of ``data``. Any bytes give a text; what could not be read is U+FFFD, with a warning."""
    if encoding := _by_mark(data):
        return _with(data, encoding)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        encoding = _by_zeros_or_escapes(data)
        return _with(data, encoding) if encoding else Decoded(text, "ascii" if data.isascii() else "utf-8")
    sample = data[:_SAMPLE_BYTES]
    if encoding := _wide_by_zeros(sample):
        return _with(data, encoding)
    if encoding := east_asian(data):
        return _with(data, encoding)
    return _line_by_line(data) if _is_damaged_utf8(data[:_SAMPLE_BYTES]) else _guess(data)


def _by_mark(data: bytes) -> str | None:
    return next((name for mark, name in _MARKS if data.startswith(mark)), None)


def _with(data: bytes, encoding: str, warnings: tuple[str, ...] = ()) -> Decoded:
    text = data.decode(encoding, errors="replace")
    n_lost = text.count("\ufffd") - data.count(b"\xef\xbf\xbd")
    if n_lost > 0:
        warnings = (*warnings, f"{n_lost} places are not valid {encoding}; they were replaced by U+FFFD")
    return Decoded(text, encoding, warnings)


def _by_zeros_or_escapes(data: bytes) -> str | None:
    """Return the encoding of what only happens to be valid UTF-8: wide encodings of ASCII, seven-bit escapes."""
    sample = data[:_SAMPLE_BYTES]
    if b"\0" in sample:
        return _wide_by_zeros(sample)
    if data.isascii():
        for sign, encoding in _SEVEN_BIT:
            if sign in sample and _decodes(data, encoding) and not data.decode(encoding).isascii():
                return encoding
    return None


def _wide_by_zeros(sample: bytes) -> str | None:
    """Return UTF-16 or UTF-32 when zeros stand where these put them in text that is partly ASCII."""
    n = len(sample)
    if n < 2 or b"\0" not in sample:
        return None
    if n >= 4 and n % 4 == 0:
        zeros = [sample[place::4].count(0) * 4 / n for place in range(4)]
        if zeros[3] > 0.95 and zeros[2] > 0.95 and zeros[0] < 0.2:
            return "utf-32-le"
        if zeros[0] > 0.95 and zeros[1] > 0.95 and zeros[3] < 0.2:
            return "utf-32-be"
    even, odd = sample[::2].count(0) * 2 / n, sample[1::2].count(0) * 2 / n
    if odd > 0.4 and even < 0.05:
        return "utf-16-le"
    if even > 0.4 and odd < 0.05:
        return "utf-16-be"
    return _wide_without_mark(sample)


def _wide_without_mark(sample: bytes) -> str | None:
    """Return the byte order of UTF-16 that is mostly not ASCII, when its characters are common ones."""
    even = sample[: len(sample) // 2 * 2]
    if len(even) < 4:
        return None
    scores = {name: _commonness(even.decode(name, "replace")) for name in ("utf-16-le", "utf-16-be")}
    best = max(scores, key=lambda name: scores[name])
    if scores[best] > 0.3 and scores[best] > 3 * min(scores.values()):
        return best
    # Alphabets: each has one high byte, below 0x20, and the other byte varies.
    high = {"utf-16-be": even[::2], "utf-16-le": even[1::2]}
    for name, other in (("utf-16-le", "utf-16-be"), ("utf-16-be", "utf-16-le")):
        n_low = len(high[name]) - len(high[name].translate(None, bytes(range(0x20))))
        if n_low > 0.9 * len(high[name]) and len(set(high[name])) < 8 < len(set(high[other])):
            letters = even.decode(name, "replace")
            return name if sum(map(str.isprintable, letters)) + letters.count("\n") > 0.9 * len(letters) else None
    return None


def _is_damaged_utf8(data: bytes) -> bool:
    """Tell whether the bytes are UTF-8 in the main: chance makes few valid sequences out of another encoding."""
    valid = _VALID_UTF8.sub(b"", data)
    n_bad = len(valid) - len(valid.translate(None, bytes(range(0x80, 0x100))))
    n_valid = len(_VALID_UTF8.findall(data))
    return n_valid > 0 and 2 * n_valid >= n_bad


def _line_by_line(data: bytes) -> Decoded:
    """Read a file of mixed or damaged encodings: lines of valid UTF-8 as such, others by what they look like alone."""
    lines: list[str] = []
    others: set[str] = set()
    n_lost = 0
    for line in data.splitlines(keepends=True):
        try:
            lines.append(line.decode("utf-8"))
            continue
        except UnicodeDecodeError:
            guess = None if _is_damaged_utf8(line) else east_asian(line)
        if guess:
            others.add(guess)
        lines.append(line.decode(guess or "utf-8", errors="replace"))
        n_lost += lines[-1].count("\ufffd")
    warnings = [f"UTF-8 with lines in {name}" for name in sorted(others)]
    if n_lost:
        warnings.append(f"damaged UTF-8: {n_lost} places were replaced by U+FFFD")
    return Decoded("".join(lines), "utf-8", tuple(warnings))


def _guess(data: bytes) -> Decoded:
    """Choose among the encodings that are neither UTF-8 nor marked."""
    if len(data) % 2 == 0 and (encoding := _wide_without_mark(data[:_SAMPLE_BYTES])):
        return _with(data, encoding)
    if (western := _western(data)) is not None:
        return western
    # Imported late: its tables take longer to load than most texts to read, and most texts are UTF-8.
    from charset_normalizer import from_bytes

    best = from_bytes(data[:_SAMPLE_BYTES], cp_exclusion=_JUDGED).best()
    if best is None:
        return _with(data, "cp1252", ("the encoding is unknown; read as cp1252",))
    doubt = () if len(data) >= 64 and best.chaos < 0.2 else (f"the encoding is a guess: {best.encoding}",)
    return _with(data, best.encoding, doubt)


def east_asian(data: bytes) -> str | None:
    """Return the multi-byte encoding whose reading has the most common characters, None where none convinces."""
    best, best_score = None, 0.2
    for encoding in _EAST_ASIAN:
        text = _strict_sample(data, encoding)
        if text is not None and (score := _commonness(text)) > best_score:
            best, best_score = encoding, score
    return best


def _strict_sample(data: bytes, encoding: str) -> str | None:
    """Decode a sample strictly; a character cut at its end is no error."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    try:
        return decoder.decode(data[:_SAMPLE_BYTES], final=len(data) <= _SAMPLE_BYTES)
    except UnicodeDecodeError:
        return None


def _commonness(text: str) -> float:
    """Return the share of frequent characters among those that are not ASCII, in [0, 1]."""
    foreign = [char for char in text if char not in _PLAIN]
    return sum(char in _FREQUENT for char in foreign) / len(foreign) if foreign else 0.0


def _western(data: bytes) -> Decoded | None:
    """Return the reading as cp1252 or Mac Roman when every letter then stands as Western European text has it.

    Letters outside ASCII are few, lower case inside words, and dashes, quotes and signs stand outside words.
    """
    n_high = len(data) - len(data.translate(None, bytes(range(0x80, 0x100))))
    if n_high > 0.3 * len(data):
        return None
    scores = {encoding: _western_score(data, encoding) for encoding in ("cp1252", "mac_roman")}
    best = max(scores, key=lambda name: scores[name])
    if scores[best] < 0.9:
        return None
    doubt = () if n_high >= 8 else (f"the encoding is a guess: {best}",)
    return _with(data, best, doubt)


_WESTERN_LETTERS = frozenset("àâäáãåæçèéêëìíîïñòóôöõøœùúûüýÿßÀÂÄÁÃÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÖÕØŒÙÚÛÜÝ")
_WESTERN_SIGNS = frozenset("“”‘’„‚«»‹›–—…•·€£§©®™°±²³¼½¾×¿¡ªº\xa0")


def _western_score(data: bytes, encoding: str) -> float:
    """Return the share of characters outside ASCII that stand where such characters do, in [0, 1]."""
    text = _strict_sample(data, encoding)
    if text is None:
        return 0.0
    places = [place for place, char in enumerate(text) if not char.isascii()]
    return sum(_stands_well(text, place) for place in places) / len(places) if places else 0.0


def _stands_well(text: str, place: int) -> bool:
    before, char, after = text[place - 1 : place], text[place], text[place + 1 : place + 2]
    if char in _WESTERN_LETTERS:
        return char.islower() or not before.islower()
    return char in _WESTERN_SIGNS and not (before.isalpha() and after.isalpha() and char not in "’·—–…\xa0")


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return not any(unicodedata.category(char) == "Cn" for char in text[:1000])
