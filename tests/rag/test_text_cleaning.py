"""Text is decoded as it was meant and kept in one form."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given, strategies as st

from rag.errors import DocumentRefused
from rag.parsed import Content
from rag.text_cleaning import assemble, clean_title, decode, normalise, table_lines

FRENCH = "L'été, où les élèves dînent à la forêt, ça coûte 5 € « déjà »."


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"],
)
@pytest.mark.parametrize("times", [1, 40])
def test_the_usual_encodings_are_understood(encoding: str, times: int) -> None:
    assert decode((FRENCH * times).encode(encoding)) == FRENCH * times


def test_other_encodings_are_guessed_or_declared() -> None:
    russian = "Поезд на Лиссабон отправляется в полдень из первого дома. " * 5
    assert decode(russian.encode("cp1251")) == russian
    polish = "Zażółć gęślą jaźń, pociąg odjeżdża w południe. " * 5
    assert decode(polish.encode("cp1250")) == polish
    assert decode("ж".encode("koi8-r"), declared="koi8-r") == "ж"
    assert decode("é".encode("cp1252"), declared="no-such-encoding") == "é"


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(DocumentRefused) as refused:
        decode(bytes(range(1, 32)) * 20)
    assert refused.value.code == "unsupported_type"
    assert decode(b"") == ""


@given(st.text(st.characters(), max_size=60))
def test_normalised_text_has_one_form(text: str) -> None:
    found = normalise(text)
    assert unicodedata.is_normalized("NFC", found)
    assert not {c for c in found if unicodedata.category(c) in {"Cc", "Cs"}} - {
        "\n",
        "\t",
    }
    assert normalise(found) == found


@given(st.lists(st.text(max_size=20), max_size=6))
def test_page_spans_are_where_the_pages_texts_are(pages: list[str]) -> None:
    text, spans = assemble(Content(pages, is_paged=True), 10_000)
    assert [span.number for span in spans] == list(range(1, len(pages) + 1))
    assert [text[span.start : span.end] for span in spans] == list(
        map(normalise, pages)
    )
    assert unicodedata.is_normalized("NFC", text)


def test_reading_stops_at_the_first_piece_over_the_limit() -> None:
    taken = []

    def pieces() -> Iterator[str]:
        for number in range(100):
            taken.append(number)
            yield "x" * 10

    with pytest.raises(DocumentRefused) as refused:
        assemble(Content(pieces()), 32)
    assert refused.value.code == "too_much_text"
    assert taken == [0, 1, 2, 3]
    assert assemble(Content(["x" * 10] * 3), 32)[0] == "\n".join(["x" * 10] * 3)


def test_a_table_is_markdown_without_its_empty_rows() -> None:
    rows = [["", ""], ["a", "b|c"], [], ["d\ne", ""]]
    assert list(table_lines(rows)) == [r"| a | b\|c |", "| --- | --- |", "| d e |  |"]


def test_a_title_is_one_short_line() -> None:
    assert clean_title(" a\r\n b\0 ") == "a b"
    assert len(clean_title("x" * 1000)) == 300
