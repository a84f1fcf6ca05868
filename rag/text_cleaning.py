"""Text as we keep it: decoded, normalised, one kind of line end (pure)."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterable, Sequence

import charset_normalizer

from rag.errors import DocumentRefused
from rag.formats import unsupported
from rag.parsed import Content, PageSpan

MAX_TITLE_CHARS = 300
PAGE_BREAK = "\n\n"
# UTF-32 first: its little-endian mark begins with UTF-16's.
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Guessing takes long, and a beginning is as good as the whole.
_SAMPLE_BYTES = 32_768
# With fewer letters beyond ASCII a guess is a lottery, and this is the usual one.
_MIN_TELLING_BYTES = 64
_USUAL = "cp1252"
_LINE_END = re.compile("\r\n|[\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")
# Controls but tab and newline, lone surrogates, noncharacters and stray byte-order marks.
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
_MAX_CONTROL_SHARE = 0.01
_HEADING = re.compile(r"^# +(.+)$", re.MULTILINE)


def decode(data: bytes, *, declared: str = "") -> str:
    """Decode a text by its mark, as UTF-8, as `declared`, or by what it looks like.

    Raises:
        DocumentRefused: It is no text in any encoding.

    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    tries = (_decoded(data, encoding) for encoding in _candidates(data, declared))
    text = next(filter(None, tries), "")
    if data and (not text or _control_share(text) > _MAX_CONTROL_SHARE):
        raise unsupported("it is no text")
    return text


def normalise(text: str) -> str:
    """Give the text in the form that `Parsed` promises."""
    lines = _LINE_END.sub("\n", text)
    return unicodedata.normalize("NFC", _UNWANTED.sub("", lines))


def assemble(content: Content, max_chars: int) -> tuple[str, tuple[PageSpan, ...]]:
    """Join what a reader found; stops reading where the limit is passed.

    Raises:
        DocumentRefused: It is too much text.

    """
    between = PAGE_BREAK if content.is_paged else "\n"
    texts: list[str] = []
    spans: list[PageSpan] = []
    at = 0
    for number, piece in enumerate(content.pieces, start=1):
        text = normalise(piece)
        spans.append(PageSpan(number, at, at + len(text)))
        texts.append(text)
        at += len(text) + len(between)
        if at - len(between) > max_chars:
            raise _too_much_text(max_chars)
    return between.join(texts), tuple(spans) if content.is_paged else ()


def title_of(text: str) -> str:
    """Give a Markdown text's first main heading, empty without one."""
    found = _HEADING.search(text)
    return found[1] if found else ""


def clean_title(title: str) -> str:
    """Give a title in one line of at most 300 characters."""
    return " ".join(normalise(title).split())[:MAX_TITLE_CHARS].rstrip()


def table_lines(rows: Iterable[Sequence[str]]) -> Iterable[str]:
    """Write a table in Markdown, its first row as the heading; empty rows are left out."""
    has_heading = False
    for row in rows:
        cells = [" ".join(cell.split()).replace("|", "\\|") for cell in row]
        if not any(cells):
            continue
        yield f"| {' | '.join(cells)} |"
        if not has_heading:
            yield "|" + " --- |" * len(cells)
            has_heading = True


def _candidates(data: bytes, declared: str) -> Iterable[str]:
    yield "utf-8"
    if declared:
        yield declared
    letters = sum(byte > 127 for byte in data[:_SAMPLE_BYTES])
    if letters < _MIN_TELLING_BYTES:
        yield _USUAL
    guesses = charset_normalizer.from_bytes(data[:_SAMPLE_BYTES])
    # The alphabets of Europe look so alike to it that the usual one wins where it can.
    if any(_USUAL in guess.could_be_from_charset for guess in guesses):
        yield _USUAL
    yield from (guess.encoding for guess in guesses)
    yield _USUAL


def _decoded(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except (UnicodeError, LookupError):
        return ""


def _control_share(text: str) -> float:
    return len(_UNWANTED.findall(text)) / len(text)


def _too_much_text(max_chars: int) -> DocumentRefused:
    return DocumentRefused(
        "too_much_text",
        f"This file holds more than {max_chars:,} characters of text: split it.",
    )
