"""What is found of statements that are true of their sources, and of such as are not."""

import pytest

from rag.answering.citations import cite, is_statement
from rag.answering.dates import dates_in
from rag.answering.numerals import numbers_in
from rag.answering.support import support_of
from rag.answering.verdicts import Evidence, judge
from rag.types import Document, Source
from tests.fakes import Shelf

TOWER = (
    "The tower was built in 1889 and is 330 metres tall. It was designed by Maurice Koechlin. "
    "It opened on 31 March 1889. Visitors may not bring dogs. About 1,500,000 people, 25% of them French, came in 2010."
)
ZH = "展览馆于1998年5月1日开放，面积约三万五千平方米。馆内不允许拍照。百分之二十的观众来自北京大学。"


def found(statement: str, source: str = TOWER) -> tuple[str, list[tuple[str, str]]]:
    shelf = shelf_of(whole(1, source))
    cited = cite(f"{statement} [1]", [whole(1, source)], documents=shelf).citations[0]
    return cited.verdict, [(one.kind, one.where) for one in cited.missing]


def shelf_of(*sources: Source) -> Shelf:
    return Shelf(*(Document(s.document_id, s.title, s.text, "0" * 64, "text/plain", "plain") for s in sources))


def whole(marker: int, text: str, document: str = "a.txt") -> Source:
    return Source(marker, document, "Tower", 0, len(text), text, None, (), 1.0, (f"c{marker}",), (0,))


@pytest.mark.parametrize(
    "statement",
    [
        "The tower is 330 m tall and was built in 1889.",
        "The tower was built in 1889 and is three hundred and thirty metres tall",
        "It opened on March 31st, 1889",
        "It opened on 1889-03-31",
        "About １５０００００ people came in 2010, 25 percent of them French",
        "About 1.5 million people came in 2010",
        "Dogs: visitors may not bring them",
        "The source says “designed by Maurice Koechlin”",
    ],
)
def test_the_same_said_otherwise_is_supported(statement: str) -> None:
    assert found(statement) == ("supported", [])


@pytest.mark.parametrize(
    ("statement", "missing"),
    [
        ("The tower was built in 1889 and is 340 metres tall", ("number", "nowhere")),
        ("The tower was built in 1889 and is 330 kilometres tall", ("number", "nowhere")),
        ("It opened on 30 March 1889", ("date", "nowhere")),
        ("It was designed by Gustave Koechlin", ("name", "nowhere")),
        ("Visitors may bring dogs", ("negation", "dropped")),
        ("The tower was not built in 1889", ("negation", "nowhere")),
        ("The source says “built by seven giants”", ("quote", "nowhere")),
        ("The source says “tower was designed by Maurice Koechlin”", ("quote", "stitched")),
    ],
)
def test_what_the_source_does_not_say_is_unsupported(statement: str, missing: tuple[str, str]) -> None:
    verdict, lacks = found(statement)
    assert verdict == "unsupported"
    assert missing in lacks


@pytest.mark.parametrize(
    ("statement", "verdict"),
    [
        ("展览馆于一九九八年五月一日开放，面积约3.5万平方米", "supported"),
        ("展览馆于1998年5月2日开放", "unsupported"),
        ("馆内允许拍照", "unsupported"),
        ("20%的观众来自北京大学", "supported"),
        ("20%的观众来自清华大学", "unsupported"),
        ("资料称“馆内不允许拍照”", "supported"),
        ("资料称“馆内允许拍照”", "unsupported"),
    ],
)
def test_chinese_statements(statement: str, verdict: str) -> None:
    assert found(statement, ZH)[0] == verdict


def test_a_fact_that_stands_elsewhere_in_the_source_supports_partly() -> None:
    verdict, missing = found(
        "The tower is 330 metres tall and visitors came in 2010 from Paris by train", TOWER + " Paris."
    )
    assert (verdict, ("number", "elsewhere") in missing) == ("partly", True)


def test_a_quote_of_another_source_is_told_from_an_invented_one() -> None:
    sources = [whole(1, TOWER), whole(2, "Cats sleep most of the day.", "b.txt")]
    shelf = shelf_of(*sources)
    citation = cite("It says “cats sleep most of the day” [1].", sources, documents=shelf).citations[0]
    assert citation.missing[0].where == "another source"
    assert "another source" in citation.reason


def test_two_sources_support_one_statement_together() -> None:
    sources = [whole(1, "The bridge was built in 1901."), whole(2, "The bridge is 80 metres long.", "b.txt")]
    shelf = shelf_of(*sources)
    together = cite("The bridge, built in 1901, is 80 metres long [1][2].", sources, documents=shelf)
    apart = cite("The bridge was built in 1901 [1], and is 80 metres long [1].", sources, documents=shelf)
    assert [one.verdict for one in together.statements] == ["supported"]
    assert [one.verdict for one in apart.statements] == ["unsupported"]


def test_words_after_the_last_marker_are_judged_too() -> None:
    shelf = shelf_of(whole(1, TOWER))
    cited = cite("According to [1], the tower is 930 metres tall.", [whole(1, TOWER)], documents=shelf)
    assert cited.statements[0].verdict == "unsupported"


def test_an_answer_says_how_much_of_it_is_supported() -> None:
    shelf = shelf_of(whole(1, TOWER))
    text = "## Height\nThe tower is 330 metres tall [1]. It is painted every seven years. It was built in 1889 [7]."
    support = support_of(cite(text, [whole(1, TOWER)], documents=shelf).statements)
    assert (support.n_statements, support.n_supported, support.n_uncited, support.n_unknown_marker) == (3, 1, 1, 1)
    assert support.share == pytest.approx(1 / 3)


def test_a_source_in_another_language_is_compared_by_numbers_and_dates_alone() -> None:
    assert found("这座塔高330米，建于1889年")[0] == "partly"
    assert found("这座塔高340米")[0] == "unsupported"


def test_judging_needs_cited_words() -> None:
    with pytest.raises(ValueError, match="got none"):
        judge("It is.", [])
    assert judge("It is.", [Evidence("It is.", "It is.")]).verdict == "supported"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("two thousand and five", ["2005"]),
        ("三万五千", ["35000"]),
        ("3.5万", ["35000.0"]),
        ("二〇一五", ["2015"]),
        ("$5 billion", ["5000000000"]),
        ("百分之20", ["20"]),
        ("6½", ["6.5"]),
        ("1,2,3", ["1", "2", "3"]),
    ],
)
def test_numbers_are_read_however_written(text: str, values: list[str]) -> None:
    assert [str(number.value) for number in numbers_in(text)] == values


def test_dates_with_impossible_months_are_none() -> None:
    assert dates_in("version 2024-13-01") == []
    assert [(d.month, d.day) for d in dates_in("07/20/1969")] == [(7, 20)]


@pytest.mark.parametrize("words", ["## Sources", "Why is that so, then?", "There are three ways:", "Yes."])
def test_what_states_nothing_needs_no_marker(words: str) -> None:
    assert not is_statement(words)
