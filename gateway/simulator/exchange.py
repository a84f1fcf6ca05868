"""What passes between a vendor's wire format and the server: answers and refusals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from gateway.simulator.plan import Behaviour

JSON_TYPE = "application/json"


class Vendor(StrEnum):
    """Whose wire format is spoken."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    OLLAMA = "ollama"


@dataclass(frozen=True, slots=True)
class Event:
    """One piece of a body, written at once; `tokens` paces it."""

    data: bytes
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: a whole body is one event, a stream any number of them.

    `failure` is what the vendor sends when a stream breaks inside (empty: nothing).
    """

    events: tuple[Event, ...]
    status: int = HTTPStatus.OK
    content_type: str = JSON_TYPE
    is_stream: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    failure: bytes = b""

    @property
    def body(self) -> bytes:
        """The whole body at once."""
        return b"".join([event.data for event in self.events])


class RefusalError(Exception):
    """The vendor would not serve this request; rendered in its own error shape.

    `code` and `param` are OpenAI's; `message` None takes the vendor's usual words.
    """

    def __init__(
        self,
        status: int,
        message: str | None = None,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: str | None = None,
    ) -> None:
        """Say what is wrong with the request as the vendor says it."""
        super().__init__(message or f"status {status}")
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Call:
    """One parsed request and all that its answer may depend on.

    `number` is unique on the server; `models` None means that any model is known;
    `path_tail` is the model in the path; `cached_before` remembers a prompt's digest
    and tells whether it was known.
    """

    number: int
    now: datetime
    behaviour: Behaviour
    models: tuple[str, ...] | None
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    path_tail: str = ""
    cached_before: Callable[[bytes], bool] = lambda _: False


def text_of(content: object) -> str:
    """Join the text of a message's content: a string, or parts in any dialect."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(filter(None, (text_of(part) for part in content)))
    if isinstance(content, Mapping):
        if isinstance(text := content.get("text"), str):
            return text
        return text_of(content.get("content"))
    return ""


def is_number(value: object) -> bool:
    """Tell JSON numbers from booleans, which Python counts as integers."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_count(value: object) -> bool:
    """Tell whether the value is a JSON integer of 0 or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
