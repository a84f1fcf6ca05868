"""The terms that a text is found by."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from rag.terms import terms_of, word_count


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("The Cat, and a DOG!", ["cat", "dog"]),
        ("Caroline's bag", ["carolin", "bag"]),
        ("Caroline\u2019s bag", ["carolin", "bag"]),
        ("user_id=42, 3.5", ["user", "id", "42", "3", "5"]),
        ("who are you", []),
        ("I don\u2019t", []),
        ("", []),
        ("Zürich ist schön", ["zürich", "ist", "schön"]),
        ("\uff21\uff22\uff23", ["abc"]),
        ("Привет, мир", ["привет", "мир"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("私は猫が好き", ["私は", "は猫", "猫が", "が好", "好き"]),
        ("猫", ["猫"]),
        ("iPhone用の充電器", ["iphon", "用の", "の充", "充電", "電器"]),
        ("ฉันรักแมว", ["ฉั", "ัน", "นร", "รั", "ัก", "กแ", "แม", "มว"]),
    ],
)
def test_a_text_has_its_terms_in_order(text, terms):
    assert terms_of(text) == terms


@pytest.mark.parametrize(
    "forms",
    [
        ["run", "runs", "running"],
        ["stop", "stops", "stopped", "stopping"],
        ["city", "cities"],
        ["try", "tries", "tried", "trying"],
        ["make", "makes", "making"],
        ["love", "loves", "loved", "loving"],
        ["box", "boxes"],
        ["class", "classes"],
        ["call", "calls", "called", "calling"],
        ["miss", "missed", "missing"],
    ],
)
def test_the_forms_of_a_word_meet(forms):
    assert len({tuple(terms_of(form)) for form in forms}) == 1


@pytest.mark.parametrize(
    "word",
    ["sing", "red", "bus", "thing", "need", "bed", "king", "gas", "ed", "ing", "s"],
)
def test_a_short_word_keeps_its_end(word):
    assert terms_of(word) == [word]


@given(st.text())
def test_no_term_is_empty(text):
    assert all(terms_of(text))


@given(st.from_regex(r"[a-z]{1,12}('s)?", fullmatch=True))
def test_a_stem_is_never_empty(word):
    terms = terms_of(f"zebra {word}")
    assert terms == terms_of("zebra") + terms_of(word)
    assert all(terms)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("what is my name", 4),
        ("私は猫が好き", 3),
        ("猫", 1),
        ("iPhone用の箱", 3),
    ],
)
def test_words_are_counted_also_where_they_are_not_spaced(text, count):
    assert word_count(text) == count
