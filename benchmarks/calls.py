"""What is asked over and over: the bodies of the requests, and where they go."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.processes import BEARER, BenchmarkFailed, post
from benchmarks.upstream import Answer

_PROMPT_BYTES = 10_000
_IMAGE_BYTES = 750_000  # 1 MB in base64
_EXPECTED = {True: "data: [DONE]", False: '"chat.completion"'}
_SENTENCE = "Write a sentence with every letter in it."


class Size(StrEnum):
    """How much a request says."""

    SMALL = "small"
    PROMPT = "10 KB prompt"
    IMAGE = "1 MB image"


@dataclass(frozen=True, slots=True)
class Call:
    """One request, ready to be sent."""

    url: str
    headers: Mapping[str, str]
    body: bytes


def chat_body(answer: Answer, size: Size = Size.SMALL) -> bytes:
    """Write a chat that asks for this answer."""
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": _content(size)},
    ]
    body: dict[str, object] = {"model": answer.model, "messages": messages}
    body["temperature"] = 0.5
    if answer.is_stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(body).encode()


def headers_of(extra: Mapping[str, str]) -> dict[str, str]:
    """Give the headers of every request, and those that one server asks for."""
    usual = {"Content-Type": "application/json", "Authorization": f"Bearer {BEARER}"}
    return {**usual, **extra}


def refuse_wrong_answer(call: Call, *, is_stream: bool) -> None:
    """Ask once and read the whole answer: a fast error is not a result.

    Raises:
        BenchmarkFailed: The answer is not a 200 that is whole.

    """
    status, headers, data = post(call.url, call.body, call.headers)
    text = data.decode(errors="replace")
    if status != 200 or _EXPECTED[is_stream] not in text:
        raise BenchmarkFailed(f"{call.url} answered {status}: {text[:500]}")
    if "x-ailb-simulated" in {name.lower() for name in headers}:
        raise BenchmarkFailed("the simulator answered, not the benchmark's upstream")


def _content(size: Size) -> str | list[dict[str, object]]:
    match size:
        case Size.SMALL:
            return _SENTENCE
        case Size.PROMPT:
            return (f"{_SENTENCE} " * (_PROMPT_BYTES // len(_SENTENCE)))[:_PROMPT_BYTES]
        case Size.IMAGE:
            noise = random.Random(1).randbytes(_IMAGE_BYTES)  # noqa: S311 - no secret
            url = f"data:image/png;base64,{base64.b64encode(noise).decode()}"
            return [
                {"type": "text", "text": _SENTENCE},
                {"type": "image_url", "image_url": {"url": url}},
            ]
