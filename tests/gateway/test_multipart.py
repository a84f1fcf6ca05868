"""Forms with files: taken to the byte, or refused; never half of one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from gateway.errors import InvalidRequest, UnsupportedMediaType
from gateway.multipart import MAX_HEADER_BYTES, MAX_PARTS, Part, boundary_in, parse_form

BOUNDARY = b"AaB03x"
DISPOSITION = b'Content-Disposition: form-data; name="file"; filename="a.txt"'
FILE = Part("file", "a.txt", b"hello")


def form(*parts: tuple[bytes, bytes], boundary: bytes = BOUNDARY) -> bytes:
    """Write a form of headers and contents."""
    lines = [b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary, *part) for part in parts]
    return b"".join(lines) + b"--%b--\r\n" % boundary


def filename_in(parameters: str) -> str | None:
    header = f'Content-Disposition: form-data; name="file"; {parameters}'
    (part,) = parse_form(form((header.encode(), b"x")), BOUNDARY)
    return part.filename


# --- What is taken -------------------------------------------------------------------------


def test_a_form_is_taken_apart() -> None:
    body = form(
        (b'Content-Disposition: form-data; name="attributes"', b'{"a": 1}'),
        (DISPOSITION + b"\r\nContent-Type: text/plain", b"hello"),
    )
    assert parse_form(body, BOUNDARY) == [Part("attributes", None, b'{"a": 1}'), FILE]


def test_a_form_may_begin_with_a_line_end_and_end_without_one() -> None:
    body = b"\r\n" + form((DISPOSITION, b"hello"))
    assert parse_form(body, BOUNDARY) == [FILE]
    assert parse_form(body.removesuffix(b"\r\n"), BOUNDARY) == [FILE]


def test_blanks_may_follow_a_boundary() -> None:
    body = form((DISPOSITION, b"hello")).replace(BOUNDARY, BOUNDARY + b" \t", 1)
    assert parse_form(body, BOUNDARY) == [FILE]


def test_a_part_may_be_empty() -> None:
    body = form((DISPOSITION, b""))
    assert parse_form(body, BOUNDARY) == [Part("file", "a.txt", b"")]


def test_a_form_may_hold_nothing() -> None:
    assert parse_form(b"--AaB03x--\r\n", BOUNDARY) == []


@pytest.mark.parametrize(
    "content",
    [
        b"--AaB03x",
        b"\r\n--AaB03xy\r\n",
        b"\r\n--AaB03",
        b"\r\n--AaB03x-\r\n",
        b"\r\n--AaB03x.\r\n--AaB03x \tx\r\n",
        b"\n--AaB03x\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"--\r\n",
        bytes(range(256)) * 3,
    ],
)
def test_a_file_may_hold_what_looks_like_a_boundary(content: bytes) -> None:
    body = form(
        (DISPOSITION, content), (b'Content-Disposition: form-data; name="a"', b"")
    )
    parts = parse_form(body, BOUNDARY)
    assert [part.data for part in parts] == [content, b""]


@given(contents=st.lists(st.binary(max_size=200), max_size=MAX_PARTS))
def test_every_file_is_given_to_the_byte(contents: list[bytes]) -> None:
    body = form(*((DISPOSITION, content) for content in contents), boundary=b"?" * 9)
    parts = parse_form(body, b"?" * 9)
    assert [part.data for part in parts] == contents


@pytest.mark.parametrize(
    ("parameters", "filename"),
    [
        ('filename="Müller.txt"', "Müller.txt"),
        ("filename=plain.txt", "plain.txt"),
        ('filename=""', ""),
        ('filename="a; name=b.txt"', "a; name=b.txt"),
        (r'filename="say \"hi\".txt"', 'say "hi".txt'),
        (r'filename="C:\docs\new.txt"', r"C:\docs\new.txt"),
        (r'filename="\\server\a.txt"', r"\server\a.txt"),
        ("filename*=UTF-8''%e2%82%ac%20rates.txt", "€ rates.txt"),
        ("filename*=iso-8859-1'en'%A3.txt", "£.txt"),
        ("filename=\"x.txt\"; filename*=utf-8''y.txt", "y.txt"),
        ("filename*=utf-8''y.txt; filename=\"x.txt\"", "y.txt"),
        ('FileName = "a.txt" ; other=1;', "a.txt"),
        ("other=1", None),
    ],
)
def test_file_names_are_read_as_clients_write_them(
    parameters: str, filename: str | None
) -> None:
    assert filename_in(parameters) == filename


# --- What is refused -----------------------------------------------------------------------

WHOLE = form((DISPOSITION, b"hello"))
TWICE = DISPOSITION + b"\r\n" + DISPOSITION
BAD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "does not begin"),
    "another boundary": (WHOLE.replace(b"AaB03x", b"other"), "does not begin"),
    "something before it": (b"preamble\r\n" + WHOLE, "does not begin"),
    "something after it": (WHOLE + b"epilogue", "follows its end"),
    "only a beginning": (b"--AaB03x", "cut off"),
    "no last line": (WHOLE[: WHOLE.rindex(b"\r\n--")], "cut off"),
    "half of the last boundary": (WHOLE[:-6], "cut off"),
    "a last boundary that is none": (WHOLE.removesuffix(b"--\r\n"), "cut off"),
    "line feeds alone": (WHOLE.replace(b"\r\n", b"\n"), "cut off"),
    "headers without an end": (
        b"--AaB03x\r\n" + DISPOSITION + b"\r\n--AaB03x--\r\n",
        "do not end",
    ),
    "long headers": (
        form((DISPOSITION + b"\r\nX: " + b"x" * MAX_HEADER_BYTES, b"hello")),
        "do not end within",
    ),
    "a long file name": (
        form((DISPOSITION.replace(b"a.txt", b"a" * MAX_HEADER_BYTES), b"hello")),
        "do not end within",
    ),
    "a header twice": (form((TWICE, b"hello")), "stands twice"),
    "a folded header": (
        form((DISPOSITION.replace(b"; file", b";\r\n file"), b"hello")),
        "malformed",
    ),
    "a header without a name": (form((b": x\r\n" + DISPOSITION, b"")), "malformed"),
    "a control character": (
        form((DISPOSITION.replace(b"a.txt", b"a\0.txt"), b"hello")),
        "malformed",
    ),
    "Latin-1": (form((DISPOSITION.replace(b"a.", b"\xe4."), b"hello")), "not UTF-8"),
    "no disposition": (form((b"Content-Type: text/plain", b"hello")), "no name"),
    "no headers": (b"--AaB03x\r\n\r\nhello\r\n--AaB03x--\r\n", "do not end"),
    "an attachment": (
        form((DISPOSITION.replace(b"form-data", b"attachment"), b"hello")),
        "no name",
    ),
    "no name": (
        form((b'Content-Disposition: form-data; filename="a"', b"")),
        "no name",
    ),
    "an empty name": (
        form((b'Content-Disposition: form-data; name=""', b"")),
        "no name",
    ),
    "a quote that is open": (
        form((b'Content-Disposition: form-data; name="file; x=1', b"")),
        "malformed",
    ),
    "a name twice": (form((DISPOSITION + b"; name=b", b"hello")), "stands twice"),
    "a name in no encoding": (
        form((b"Content-Disposition: form-data; name=a; filename*=utf-8''%ff", b"")),
        "not in the encoding",
    ),
    "a name in another encoding": (
        form((b"Content-Disposition: form-data; name=a; filename*=big5''a", b"")),
        "RFC 8187",
    ),
    "a form in the form": (
        form((DISPOSITION + b"\r\nContent-Type: Multipart/Mixed; boundary=y", b"")),
        "one file at a time",
    ),
    "base64": (
        form((DISPOSITION + b"\r\nContent-Transfer-Encoding: Base64", b"aGk=")),
        "'base64': send the file as it is",
    ),
    "quoted-printable": (
        form((DISPOSITION + b"\r\ncontent-transfer-encoding:quoted-printable", b"=3D")),
        "send the file as it is",
    ),
    "too many parts": (form(*[(DISPOSITION, b"")] * (MAX_PARTS + 1)), "more than 16"),
}


@pytest.mark.parametrize(("body", "why"), BAD.values(), ids=BAD)
def test_a_form_that_is_not_whole_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(why)) as refused:
        parse_form(body, BOUNDARY)
    assert refused.value.message.startswith("The form cannot be read: ")


def test_no_beginning_of_a_form_is_taken_for_a_form() -> None:
    whole = form((DISPOSITION, b"hello"), (DISPOSITION, b"\r\n--AaB03"))
    least = len(whole.removesuffix(b"\r\n"))
    for length in range(least):
        with pytest.raises(InvalidRequest):
            parse_form(whole[:length], BOUNDARY)


@given(
    body=st.lists(
        st.sampled_from(
            [b"--AaB03x", b"\r\n", b"--", DISPOSITION, b"x", b" ", b"\n", b";", b'"']
        ),
        max_size=20,
    ).map(b"".join)
)
def test_whatever_comes_is_a_form_or_a_refusal(body: bytes) -> None:
    try:
        parts = parse_form(body, BOUNDARY)
    except InvalidRequest:
        return
    assert all(part.name for part in parts)
    assert all(b"\r\n--AaB03x\r\n" not in part.data for part in parts)


def test_encodings_that_change_nothing_are_taken() -> None:
    for encoding in (b"binary", b"8bit", b"7bit"):
        header = DISPOSITION + b"\r\nContent-Transfer-Encoding: " + encoding
        assert parse_form(form((header, b"hello")), BOUNDARY) == [FILE]


# --- The boundary --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=AaB03x", b"AaB03x"),
        ('Multipart/Form-Data; charset=utf-8; Boundary="a b:c"', b"a b:c"),
        ("multipart/form-data;boundary=" + "x" * 70, b"x" * 70),
    ],
)
def test_the_boundary_is_read_from_the_content_type(
    content_type: str, boundary: bytes
) -> None:
    assert boundary_in(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary="a "',
        'multipart/form-data; boundary="é"',
        "multipart/form-data; boundary=" + "x" * 71,
        "multipart/form-data; boundary=a; boundary=b",
        'multipart/form-data; boundary="a',
    ],
)
def test_a_form_names_its_boundary(content_type: str) -> None:
    with pytest.raises(InvalidRequest):
        boundary_in(content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "multipart/mixed; boundary=a",
        "text/plain; a=multipart/form-data",
    ],
)
def test_what_is_no_form_is_another_type(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        boundary_in(content_type)
