"""A text as search terms: words without their endings, or pairs of characters (pure)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

# Scripts that put no spaces between words, and Hangul, where endings hide them:
# Thai, Lao, Burmese, Khmer, kana, Han, Hangul.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U000323af"
)
# Vowel signs and accents that belong to a word, which `\w` leaves out.
_MARKS = (
    "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963"
    "\u0966-\u0dff"
)
_LETTER = rf"[^\W_{_UNSPACED}]"
_PIECE = re.compile(
    rf"[{_UNSPACED}]+|{_LETTER}(?:{_LETTER}|[{_MARKS}]|'(?={_LETTER}))*"
)
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*")
_UNSPACED_CHARACTER = re.compile(f"[{_UNSPACED}]")
_VOWEL = re.compile("[aeiouy]")
_SHORTEST_STEM = 3

_STOP_WORDS = frozenset(
    """
    a about am an and any are as at be been but by can could did do does doing for from
    had has have having he her here hers him his how i if in into is it its just me my
    no not of on or our out she so some than that the their them then there these they
    this those to too up us was we were what when where which who whom why will with
    would you your yours i'm i've i'll i'd you're it's he's she's that's don't didn't
    doesn't isn't wasn't can't
    """.split()  # noqa: SIM905 - a list of a hundred quoted words is harder to read
)


def terms_of(text: str) -> list[str]:
    """Give a text's terms in order, with repetitions and without stop words.

    English endings are cut crudely; where words are not spaced the terms are
    pairs of neighbouring characters.
    """
    if text.isascii():
        return [
            term for word in _ASCII_WORD.findall(text.lower()) if (term := _term(word))
        ]
    folded = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
    return [term for piece in _PIECE.findall(folded) for term in _terms(piece)]


def word_count(text: str) -> int:
    """Count words; where they are not spaced, two characters count as one."""
    unspaced = len(_UNSPACED_CHARACTER.findall(text))
    return len(_UNSPACED_CHARACTER.sub(" ", text).split()) + (unspaced + 1) // 2


def _terms(piece: str) -> Iterator[str]:
    if not _UNSPACED_CHARACTER.match(piece):
        if term := _term(piece):
            yield term
    elif len(piece) == 1:
        yield piece
    else:
        for index in range(len(piece) - 1):
            yield piece[index : index + 2]


@lru_cache(maxsize=50_000)
def _term(word: str) -> str:
    """Give a word's stem, empty for a stop word."""
    return "" if word in _STOP_WORDS else _stem(word.removesuffix("'s"))


def _stem(word: str) -> str:
    """Cut plural, past and -ing endings, and a last e, so that the forms meet."""
    if len(word) <= _SHORTEST_STEM:
        return word
    if word.endswith(("ies", "ied")) and len(word) > _SHORTEST_STEM + 1:
        return word[:-3] + "y"
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) >= _SHORTEST_STEM and _VOWEL.search(stem):
            return _single(stem).removesuffix("e")
    return word.removesuffix("e") if len(word) > _SHORTEST_STEM else word


def _single(stem: str) -> str:
    """Undo a doubled last consonant, as in stopped; falling and missing keep theirs."""
    is_doubled = stem[-1] == stem[-2] and stem[-1] not in "aeioulsz"
    return stem[:-1] if is_doubled else stem
