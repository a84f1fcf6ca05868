"""The fence in a prompt: what is quoted stays inside, and shows all that it says."""

from __future__ import annotations

import re
import time
import unicodedata

import pytest
from hypothesis import given, strategies as st

from rag.fencing import MEMORY, SOURCES, confine, delimiter_of, fence, sanitise

DELIMITER = delimiter_of("secret", "collection", "question")
EVIL = st.lists(
    st.sampled_from(
        [
            DELIMITER,
            DELIMITER.upper(),
            DELIMITER[:6],
            DELIMITER[6:],
            "<<",
            "<",
            "\uff1c",
            "memory",
            "sources",
            "end",
            "END",
            " ",
            "\n",
            "\r",
            "\u2028",
            "\u200b",
            "\U000e0065",
            f"<<end {DELIMITER}>>",
        ]
    )
    | st.characters(),
    max_size=12,
).map("".join)


@pytest.mark.parametrize("kind", [MEMORY, SOURCES])
def test_a_fence_has_a_mark_of_its_kind_and_an_end(kind):
    assert fence(kind, "a\nb", delimiter="abc").split("\n") == [
        f"<<{kind} abc>>",
        "a",
        "b",
        "<<end abc>>",
    ]


@given(EVIL)
def test_no_mark_of_any_kind_is_left_in_what_is_confined(text):
    inside = confine(text, delimiter=DELIMITER)
    assert DELIMITER not in inside.lower()
    mark = r"[<\uff1c]{2}\s*(memory|sources|end)\b"
    assert not re.search(mark, inside, re.IGNORECASE)
    assert len(inside) <= len(text)


@given(EVIL)
def test_what_is_confined_twice_is_confined_once(text):
    once = confine(text, delimiter=DELIMITER)
    assert confine(once, delimiter=DELIMITER) == once


def test_ordinary_text_is_confined_as_it_is():
    code = "if a << 1 < b:\n\tcout << end_of << sourced;  # é 日本\n<memory> [x]"
    assert confine(code, delimiter=DELIMITER) == code


@pytest.mark.parametrize("text", ["<" * 100_000, "<< " * 50_000, "<<" + " " * 100_000])
def test_no_text_takes_long_to_confine(text):
    started = time.perf_counter()
    assert confine(text, delimiter=DELIMITER) == text
    assert time.perf_counter() - started < 2


def test_a_delimiter_is_equal_for_equal_parts_only():
    marks = {
        delimiter_of("secret", "1", "23"),
        delimiter_of("secret", "12", "3"),
        delimiter_of("secret", "123"),
        delimiter_of("secret", "1", "23", ""),
        delimiter_of("other", "1", "23"),
    }
    assert len(marks) == 5
    assert all(re.fullmatch("[0-9a-f]{12}", mark) for mark in marks)
    assert delimiter_of(b"secret", "1", "23") == delimiter_of("secret", "1", "23")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("a\r\nb\rc\u2028d\u2029e\x85f", "a\nb\nc\nd\ne\nf"),
        ("a\u200bb\u200dc\ufeffd\u2060e", "abcde"),
        ("\u202eevil\u202c \u2066x\u2069", "evil x"),
        ("a\x00\x1b[31mb\x7f", "a[31mb"),
        ("tag\U000e0041\U000e007fged \U000e0101", "tagged "),
        ("\ud800", ""),
        ("naïve 日本 🙂 «x»", "naïve 日本 🙂 «x»"),
    ],
)
def test_what_cannot_be_seen_is_stripped(text, clean):
    assert sanitise(text) == clean


# Letters and signs of their own, although Unicode calls them format characters.
VISIBLE_FORMATS = {
    *range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD,
    *range(0x13430, 0x13440),
}  # fmt: skip


def test_no_control_or_format_character_is_left():
    left = [
        code
        for code in range(0x110000)
        if unicodedata.category(chr(code)) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        and sanitise(chr(code)) == chr(code)
        and code not in VISIBLE_FORMATS
    ]
    assert left == [ord("\t"), ord("\n")]


@given(st.text())
def test_sanitising_twice_is_sanitising_once(text):
    assert sanitise(sanitise(text)) == sanitise(text)
