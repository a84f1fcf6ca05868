"""A chat request at the door: checked, with what routing and AILB itself need of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.dialects.openai.request.body import read_object
from gateway.dialects.openai.request.fields import (
    Check,
    check_boolean,
    check_integer,
    check_known,
    check_name,
    check_number,
    check_object,
    check_objects,
    check_string,
    missing,
    read_optional,
    wrong_type,
    wrong_value,
)
from gateway.dialects.openai.request.scan import (
    count_characters,
    scan_messages,
    scan_switches,
    scan_tools,
)
from gateway.errors import InvalidRequest
from gateway.kinds import Operation
from gateway.routing.needs import Needs
from rag.attributes import Filter, parse_filter

OWN_FIELDS = frozenset({"session_id", "rag_collection", "rag_top_k", "rag_filters"})
"""Fields of the body that are AILB's own and never reach an upstream."""

MAX_STOPS = 4  # as OpenAI documents
MAX_COLLECTIONS = 64
CHARS_PER_TOKEN = 4

Messages = Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class ChatCall:
    """A checked chat request, still in OpenAI's words.

    `body` is the whole JSON object as it came, unknown fields included; nobody changes
    it, because another attempt will use it again. `include_usage` says whether the client
    wants the usage chunk of a stream. `rag_top_k` and `rag_filters` are None when the
    client did not say; where they are not, `rag_collections` has a name at least.
    """

    dialect: str
    body: Mapping[str, object] = field(repr=False)
    model: str
    stream: bool
    include_usage: bool
    needs: Needs
    max_tokens: int | None
    session_id: str | None
    rag_collections: tuple[str, ...]
    rag_top_k: int | None
    rag_filters: Filter | None

    @property
    def messages(self) -> Messages:
        """The checked messages."""
        messages = self.body["messages"]
        assert isinstance(messages, list)
        return messages

    def with_messages(self, messages: Messages) -> ChatCall:
        """Give the call with other messages, and what it then needs of a context."""
        added = count_characters(messages) - count_characters(self.messages)
        tokens = self.needs.prompt_tokens + math.ceil(added / CHARS_PER_TOKEN)
        return replace(
            self,
            body={**self.body, "messages": messages},
            needs=replace(self.needs, prompt_tokens=max(tokens, 0)),
        )


def parse_chat(body: bytes, *, has_documents: bool = True) -> ChatCall:
    """Check the body of `POST /v1/chat/completions`.

    Fields that OpenAI documents are checked for type and range, null counts as absent,
    and fields that are not known pass. `max_tokens` may be 0, as in OpenAI's own tests.
    Without `has_documents` the fields that ask for some are refused, whatever they hold.

    Raises:
        InvalidRequest: Names the field at fault; nothing else is ever raised.

    """
    parsed = read_object(body)
    checks = _CHECKS if has_documents else _CHECKS_WITHOUT_DOCUMENTS
    check_known(parsed, checks, required="model")
    needed: set[str] = set()
    chars = scan_messages(parsed.get("messages"), needed) + scan_tools(parsed, needed)
    scan_switches(parsed, needed)
    stream_options = parsed.get("stream_options")
    max_tokens = read_optional(parsed, "max_completion_tokens", int)
    if max_tokens is None:
        max_tokens = read_optional(parsed, "max_tokens", int)
    collections = _collections(parsed.get("rag_collection"))
    rag_top_k = read_optional(parsed, "rag_top_k", int)
    rag_filters = _filters(parsed.get("rag_filters"))
    if not collections and (rag_top_k is not None or rag_filters is not None):
        raise missing("rag_collection")
    return ChatCall(
        dialect="openai",
        body=parsed,
        model=str(parsed["model"]),
        stream=parsed.get("stream") is True,
        include_usage=isinstance(stream_options, dict)
        and stream_options.get("include_usage") is True,
        needs=Needs(
            operation=Operation.CHAT,
            capabilities=frozenset(needed),
            prompt_tokens=chars // CHARS_PER_TOKEN,
            max_tokens=max_tokens,
            choices=read_optional(parsed, "n", int) or 1,
        ),
        max_tokens=max_tokens,
        session_id=read_optional(parsed, "session_id", str),
        rag_collections=collections,
        rag_top_k=rag_top_k,
        rag_filters=rag_filters,
    )


def _check_stop(path: str, value: object) -> None:
    if type(value) is str:
        return
    if type(value) is not list:
        raise wrong_type(path, "a string or an array of strings", value)
    if len(value) > MAX_STOPS:
        raise wrong_value(path, f"must hold at most {MAX_STOPS} sequences")
    for index, entry in enumerate(value):
        check_string(f"{path}[{index}]", entry)


def _check_tool_choice(path: str, value: object) -> None:
    if type(value) is not str and type(value) is not dict:
        raise wrong_type(path, "a string or an object", value)


def _check_stream_options(path: str, value: object) -> None:
    check_object(path, value)
    assert isinstance(value, dict)
    if (include_usage := value.get("include_usage")) is not None:
        check_boolean(f"{path}.include_usage", include_usage)


def _check_collections(path: str, value: object) -> None:
    if type(value) is str:
        names, paths = value.split(",", MAX_COLLECTIONS), None
        names = [name.strip() for name in names if name.strip()]
    elif type(value) is list:
        names = value
        paths = [
            f"{path}[{index}]" for index in range(min(len(value), MAX_COLLECTIONS))
        ]
    else:
        raise wrong_type(path, "a string or an array of strings", value)
    if len(names) > MAX_COLLECTIONS:
        raise wrong_value(path, f"must name at most {MAX_COLLECTIONS} collections")
    for index, name in enumerate(names):
        check_name(paths[index] if paths else path, name)


def _collections(value: object) -> tuple[str, ...]:
    """Give the names without repetition, in the client's order."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list):
        return ()
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


def _filters(value: object) -> Filter | None:
    if value is None:
        return None
    try:
        return parse_filter(value)
    except ValueError as error:
        raise InvalidRequest(
            f"Invalid value for 'rag_filters': {error}",
            param="rag_filters",
            code="invalid_value",
        ) from error


def _refuse(path: str, value: object) -> None:
    raise InvalidRequest(
        f"'{path}' cannot be used: documents are switched off here. Leave it out, or "
        "have the operator set ENABLE_RAG=true.",
        param=path,
        code="rag_disabled",
    )


_CHECKS: Mapping[str, Check] = {
    "model": check_name,
    "stream": check_boolean,
    "stream_options": _check_stream_options,
    "temperature": check_number(0, 2),
    "top_p": check_number(0, 1),
    "frequency_penalty": check_number(-2, 2),
    "presence_penalty": check_number(-2, 2),
    "n": check_integer(1, 128),
    "max_tokens": check_integer(0),
    "max_completion_tokens": check_integer(0),
    "logprobs": check_boolean,
    "top_logprobs": check_integer(0, 20),
    "seed": check_integer(),
    "stop": _check_stop,
    "tools": check_objects,
    "tool_choice": _check_tool_choice,
    "parallel_tool_calls": check_boolean,
    "functions": check_objects,
    "function_call": _check_tool_choice,
    "response_format": check_object,
    "user": check_string,
    "reasoning_effort": check_string,
    "service_tier": check_string,
    "store": check_boolean,
    "session_id": check_name,
    "rag_collection": _check_collections,
    "rag_top_k": check_integer(1, 20),
    "rag_filters": check_object,
}
_CHECKS_WITHOUT_DOCUMENTS: Mapping[str, Check] = {
    **_CHECKS,
    "rag_collection": _refuse,
    "rag_top_k": _refuse,
    "rag_filters": _refuse,
}
