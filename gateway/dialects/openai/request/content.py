"""The parts of a message, from OpenAI's words to the record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gateway.dialects.openai.request.fields import (
    missing,
    read_object,
    read_string,
    wrong_type,
    wrong_value,
)
from gateway.dialects.record import Audio, File, Image, Part, Text
from gateway.errors import UpstreamError
from gateway.kinds import Fault

_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*+={0,2}")


def read_parts(content: object, path: str) -> tuple[tuple[Part, ...], str | None]:
    """Give the parts in order, and the text of the refusal parts if there are any.

    Raises:
        InvalidRequest: Names the part at fault, as in `messages[0].content[1].text`.
        UpstreamError: UNSUPPORTED_PARAMETER for a kind of part that has no place in the
            record; a same-dialect upstream may know it.

    """
    if content is None:
        return (), None
    if isinstance(content, str):
        return ((Text(content),) if content else ()), None
    if not isinstance(content, list):
        raise wrong_type(path, "a string or an array of objects", content)
    parts: list[Part] = []
    refusals: list[str] = []
    for index, entry in enumerate(content):
        at = f"{path}[{index}]"
        part = read_object(entry, at)
        if part.get("type") == "refusal":
            refusals.append(read_string(part.get("refusal"), f"{at}.refusal"))
        else:
            parts.append(_read_part(part, at))
    return tuple(parts), "\n".join(refusals) or None


def _read_part(part: Mapping[str, object], path: str) -> Part:
    kind = read_string(part.get("type"), f"{path}.type")
    match kind:
        case "text":
            return Text(read_string(part.get("text"), f"{path}.text"))
        case "image_url":
            return _read_image(part.get("image_url"), f"{path}.image_url")
        case "input_audio":
            return _read_audio(part.get("input_audio"), f"{path}.input_audio")
        case "file":
            return _read_file(part.get("file"), f"{path}.file")
        case _:
            raise UpstreamError(
                Fault.UNSUPPORTED_PARAMETER,
                f"'{path}.type': this provider cannot be given a part of this type.",
                param="messages",
            )


def _read_image(image: object, path: str) -> Image:
    # Several clients send the bare address instead of the object around it.
    if isinstance(image, str):
        url = image
    else:
        url = read_string(read_object(image, path).get("url"), f"{path}.url")
        path = f"{path}.url"
    scheme = url.partition(":")[0].lower()
    if scheme in {"http", "https"}:
        return Image(url=url)
    if scheme != "data":
        raise wrong_value(path, "must be an http(s) URL or a data: URL")
    media_type, data = _read_data_url(url, path)
    return Image(media_type=media_type, data=data)


def _read_audio(audio: object, path: str) -> Audio:
    given = read_object(audio, path)
    return Audio(
        format=read_string(given.get("format"), f"{path}.format"),
        data=_read_base64(
            read_string(given.get("data"), f"{path}.data"), f"{path}.data"
        ),
    )


def _read_file(file: object, path: str) -> File:
    given = read_object(file, path)
    filename = given.get("filename")
    file_id = given.get("file_id")
    data = given.get("file_data")
    if data is None and file_id is None:
        raise missing(f"{path}.file_data")
    media_type = None
    if data is not None:
        data = read_string(data, f"{path}.file_data")
        if data[:5].lower() == "data:":
            media_type, data = _read_data_url(data, f"{path}.file_data")
        else:
            data = _read_base64(data, f"{path}.file_data")
    return File(
        filename=filename if isinstance(filename, str) else None,
        media_type=media_type,
        data=data,
        file_id=file_id if isinstance(file_id, str) else None,
    )


def _read_data_url(url: str, path: str) -> tuple[str | None, str]:
    """Split `data:<media type>;base64,<data>` (RFC 2397)."""
    header, comma, data = url[5:].partition(",")
    attributes = [attribute.strip() for attribute in header.split(";")]
    if not comma or attributes[-1].lower() != "base64":
        raise wrong_value(path, "a data: URL must read data:<media type>;base64,<data>")
    media_type = attributes[0].lower() if len(attributes) > 1 else ""
    return media_type or None, _read_base64(data, path)


def _read_base64(data: str, path: str) -> str:
    if not _BASE64.fullmatch(data):
        data = "".join(data.split())  # some encoders break lines
    if not data or len(data) % 4 or not _BASE64.fullmatch(data):
        raise wrong_value(path, "must be base64 data, padded, in the standard alphabet")
    return data
