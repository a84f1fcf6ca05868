"""A document's type is what its content says; its name decides between texts only."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from rag import formats
from rag.errors import DocumentRefused
from tests.rag import documents


@pytest.mark.parametrize(
    ("data", "name", "media_type"),
    [
        (documents.pdf(["hello"]), "hello.txt", formats.PDF),
        (b"\n\n" + documents.pdf(["hello"]), "hello", formats.PDF),
        (documents.docx(), "hello.pdf", formats.ARCHIVE),
        (b"<!DOCTYPE html><p>x", "page.txt", formats.HTML),
        (b"\xef\xbb\xbf <!-- a --> <HTML lang=en>", "page", formats.HTML),
        ("<html><p>x".encode("utf-16"), "page", formats.HTML),
        (b'<?xml version="1.0"?><html>', "page", formats.HTML),
        (b"<h1>Part</h1>", "part.html", formats.HTML),
        (b"<h1>Part</h1>", "part.txt", formats.TEXT),
        (b"no tags < here", "part.html", formats.TEXT),
        (b"# Title", "a.md", formats.MARKDOWN),
        (b"# Title", "A.MARKDOWN", formats.MARKDOWN),
        (b"a,b", "a.csv", formats.CSV),
        (b"a,b", "a.pdf", formats.TEXT),
        (b"plain", "", formats.TEXT),
        ("plain".encode("utf-16"), "a.txt", formats.TEXT),
        (b"", "a.txt", formats.TEXT),
    ],
)
def test_content_tells_the_type(data: bytes, name: str, media_type: str) -> None:
    assert formats.recognise(data, name) == media_type


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x7fELF\x02\x01\x01\0\0", "unsupported_type"),
        (b"\x89PNG\r\n\x1a\n\0\0", "unsupported_type"),
        (b"{\\rtf1 hello}", "unsupported_type"),
        (b"%!PS-Adobe-3.0", "unsupported_type"),
        (b'<?xml version="1.0"?><svg/>', "unsupported_type"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 WordDocument", "unsupported_type"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
            + "EncryptedPackage".encode("utf-16-le"),
            "encrypted",
        ),
    ],
)
def test_what_is_not_accepted_is_refused_whatever_its_name(
    data: bytes, code: str
) -> None:
    with pytest.raises(DocumentRefused) as refused:
        formats.recognise(data, "report.txt")
    assert refused.value.code == code


@given(st.binary(max_size=200), st.sampled_from(["a.html", "a.md", "a"]))
def test_any_bytes_have_a_type_or_a_refusal(data: bytes, name: str) -> None:
    answers = {*formats.ACCEPTED, formats.ARCHIVE, "unsupported_type", "encrypted"}
    assert answer_to(data, name) in answers


def answer_to(data: bytes, name: str) -> str:
    try:
        return formats.recognise(data, name)
    except DocumentRefused as refused:
        return refused.code
