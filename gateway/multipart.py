"""Forms with files, `multipart/form-data` by the letter (RFC 7578 and 2046; pure).

Django's own parser takes a form that broke off for a whole one, and a part in
quoted-printable for what it stands for: either would keep a damaged file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from gateway.errors import InvalidRequest, UnsupportedMediaType

MAX_PARTS = 16
MAX_HEADER_BYTES = 4096  # of one part, all its headers together

_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105 - the standard's word for it
_PARAMETER = re.compile(rf'\s*;\s*({_TOKEN})\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;"]*)')
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_HEADER = re.compile(rf"({_TOKEN}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_EXTENDED = re.compile(r"(utf-8|iso-8859-1)'[A-Za-z0-9-]*'(.*)", re.IGNORECASE)
_AS_IT_IS = frozenset({"", "7bit", "8bit", "binary"})  # encodings that change nothing


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form; `filename` is None unless it is a file."""

    name: str
    filename: str | None
    data: bytes


def boundary_in(content_type: str) -> bytes:
    """Read what stands between the parts from a request's Content-Type.

    Raises:
        UnsupportedMediaType: It is no form with files.
        InvalidRequest: It does not say what stands between the parts.

    """
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        raise UnsupportedMediaType(
            "Send the file in a form, as Content-Type: multipart/form-data."
        )
    boundary = _valued(content_type)[1].get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise InvalidRequest(
            "The Content-Type must name a boundary of 1 to 70 characters; HTTP libraries "
            "write the whole header themselves when they are given the file."
        )
    return boundary.encode("ascii")


def parse_form(body: bytes, boundary: bytes) -> list[Part]:
    """Take a form apart; what a file holds is given to the byte.

    Raises:
        InvalidRequest: It is cut off, malformed, or has too many parts.

    """
    delimiter = b"\r\n--" + boundary
    # The first delimiter need not begin with a line end, which some write all the same.
    start = 0 if body.startswith(b"\r\n") else 2
    if not body.startswith(delimiter[start:]):
        raise _malformed("it does not begin with its boundary")
    place = len(delimiter) - start
    parts: list[Part] = []
    while (place := _next_part(body, place)) >= 0:
        if len(parts) == MAX_PARTS:
            raise _malformed(f"it has more than {MAX_PARTS} parts")
        header, place = _header(body, place)
        end = _find_delimiter(body, delimiter, place)
        parts.append(_part(header, body[place:end]))
        place = end + len(delimiter)
    return parts


def _next_part(body: bytes, place: int) -> int:
    """Give where the part behind a delimiter begins; -1 behind the last one."""
    if body.startswith(b"--", place):
        if body[place + 2 :].strip(b" \t\r\n"):
            raise _malformed("something follows its end")
        return -1
    end = body.find(b"\r\n", place, place + MAX_HEADER_BYTES)
    if end < 0 or body[place:end].strip(b" \t"):
        raise _malformed("it is cut off, or its boundary is not followed by a line end")
    return end + 2


def _header(body: bytes, place: int) -> tuple[bytes, int]:
    """Give a part's headers, and where its content begins."""
    end = body.find(b"\r\n\r\n", place, place + MAX_HEADER_BYTES)
    if end < 0:
        raise _malformed(
            f"the headers of a part do not end within {MAX_HEADER_BYTES} bytes"
        )
    return body[place:end], end + 4


def _find_delimiter(body: bytes, delimiter: bytes, place: int) -> int:
    """Find the next delimiter; a line of the file may well begin like one."""
    while (place := body.find(delimiter, place)) >= 0:
        end = place + len(delimiter)
        rest = body[end : body.find(b"\r\n", end, end + MAX_HEADER_BYTES) + 1]
        if body.startswith(b"--", end) or (rest and not rest.strip(b" \t\r")):
            return place
        place = end
    raise _malformed("it is cut off: its last line is missing")


def _part(header: bytes, data: bytes) -> Part:
    headers = _headers(header)
    disposition, parameters = _valued(headers.get("content-disposition", ""))
    if disposition != "form-data" or not parameters.get("name"):
        raise _malformed("a part has no name")
    if headers.get("content-type", "").lower().startswith("multipart/"):
        raise _malformed("a part holds several files: send one file at a time")
    encoding = headers.get("content-transfer-encoding", "").strip().lower()
    if encoding not in _AS_IT_IS:
        raise _malformed(
            f"a part is encoded as '{encoding[:40]}': send the file as it is"
        )
    return Part(parameters["name"], parameters.get("filename"), data)


def _headers(header: bytes) -> dict[str, str]:
    """Read a part's headers by lower-case name."""
    try:
        lines = header.decode("utf-8").split("\r\n")
    except UnicodeDecodeError as error:
        raise _malformed("the headers of a part are not UTF-8") from error
    headers: dict[str, str] = {}
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None or match[1].lower() in headers:
            raise _malformed("a part has a header that is malformed or stands twice")
        headers[match[1].lower()] = match[2]
    return headers


def _valued(header: str) -> tuple[str, dict[str, str]]:
    """Read a header's value, in lower case, and its parameters; `name*` wins over `name`."""
    value = header.partition(";")[0]
    parameters, extended = dict[str, str](), dict[str, str]()
    place, end = len(value), len(header.rstrip(" \t;"))
    while place < end:
        match = _PARAMETER.match(header, place)
        if match is None:
            raise _malformed("a header's parameters are malformed")
        name, given = match[1].lower(), match[2]
        is_extended = name.endswith("*")
        known = extended if is_extended else parameters
        if (name := name.removesuffix("*")) in known:
            raise _malformed("a header's parameter stands twice")
        known[name] = _extended(given) if is_extended else _unquoted(given)
        place = match.end()
    return value.strip().lower(), parameters | extended


def _unquoted(value: str) -> str:
    """Take the quotes off; a backslash before anything else is of a path in Windows."""
    if not value.startswith('"'):
        return value
    return re.sub(r'\\(["\\])', r"\1", value[1:-1])


def _extended(value: str) -> str:
    """Read a value that names its own encoding (RFC 8187)."""
    match = _EXTENDED.fullmatch(value)
    if match is None:
        raise _malformed("a name with * is not encoded as RFC 8187 has it")
    try:
        return unquote_to_bytes(match[2]).decode(match[1])
    except UnicodeDecodeError as error:
        raise _malformed("a name with * is not in the encoding it names") from error


def _malformed(what: str) -> InvalidRequest:
    return InvalidRequest(f"The form cannot be read: {what}.")
