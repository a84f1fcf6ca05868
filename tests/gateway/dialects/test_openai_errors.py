"""OpenAI's errors as faults: status and code first, prose last."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, strategies as st

from gateway.dialects.faults import MAX_MESSAGE_CHARS
from gateway.dialects.openai.errors import read_error, read_stream_error
from gateway.kinds import Fault


def body(**error: object) -> bytes:
    return orjson.dumps({"error": error})


@pytest.mark.parametrize(
    ("status", "code", "fault"),
    [
        (400, None, Fault.REJECTED),
        (400, "context_length_exceeded", Fault.CONTEXT_LENGTH),
        (400, "unsupported_parameter", Fault.UNSUPPORTED_PARAMETER),
        (400, "unsupported_value", Fault.UNSUPPORTED_PARAMETER),
        (400, "content_policy_violation", Fault.CONTENT_POLICY),
        (400, "model_not_found", Fault.MODEL_MISSING),
        (401, "invalid_api_key", Fault.CREDENTIAL_REJECTED),
        (402, None, Fault.QUOTA_EXHAUSTED),
        (403, None, Fault.CREDENTIAL_REJECTED),
        (404, "model_not_found", Fault.MODEL_MISSING),
        (408, None, Fault.CONFLICT),
        (409, None, Fault.CONFLICT),
        (413, None, Fault.REJECTED),
        (422, None, Fault.REJECTED),
        (425, None, Fault.CONFLICT),
        (429, "rate_limit_exceeded", Fault.RATE_LIMITED),
        (429, "insufficient_quota", Fault.QUOTA_EXHAUSTED),
        (500, None, Fault.SERVER_ERROR),
        (500, "context_length_exceeded", Fault.SERVER_ERROR),
        (502, None, Fault.UNAVAILABLE),
        (503, None, Fault.UNAVAILABLE),
        (504, None, Fault.UNAVAILABLE),
        (529, None, Fault.UNAVAILABLE),
        (307, None, Fault.INVALID_RESPONSE),
        (204, None, Fault.INVALID_RESPONSE),
    ],
)
def test_status_and_code_decide(status: int, code: str | None, fault: Fault) -> None:
    error = read_error(status, body(message="m", code=code, param="p"), 3.0)
    assert error.fault is fault
    assert (error.upstream_status, error.retry_after_s) == (status, 3.0)
    assert (error.message, error.provider_code, error.param) == ("m", code, "p")


@pytest.mark.parametrize(
    "text",
    [
        "This model's maximum context length is 8192 tokens. However, you ...",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "the request exceeds the available context size",
    ],
)
def test_documented_texts_of_servers_without_codes_are_known(text: str) -> None:
    assert read_error(400, body(message=text), None).fault is Fault.CONTEXT_LENGTH


@pytest.mark.parametrize(
    "text",
    [
        "Bad request: 'Error 429: rate limit, 401 unauthorized, 500'",
        "Invalid role in: 'maximum context length is'",
    ],
)
def test_an_echoed_prompt_decides_nothing(text: str) -> None:
    assert read_error(400, body(message=text), None).fault is Fault.REJECTED


@given(status=st.integers(300, 599), data=st.binary(max_size=200))
def test_any_bytes_are_classified(status: int, data: bytes) -> None:
    error = read_error(status, data, None)
    assert error.message
    assert len(error.message) <= MAX_MESSAGE_CHARS


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"error": "plain text"}', "plain text"),
        (b'{"message": "at the top", "code": "c"}', "at the top"),
        (body(message="x" * 2 * MAX_MESSAGE_CHARS), "x" * MAX_MESSAGE_CHARS),
    ],
)
def test_the_message_is_found_and_shortened(data: bytes, message: str) -> None:
    assert read_error(400, data, None).message == message


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        ({"code": "rate_limit_exceeded"}, Fault.RATE_LIMITED),
        ({"type": "invalid_request_error"}, Fault.REJECTED),
        ({"code": "insufficient_quota"}, Fault.QUOTA_EXHAUSTED),
        ({"message": "overloaded"}, Fault.SERVER_ERROR),
        ("just text", Fault.SERVER_ERROR),
        (True, Fault.SERVER_ERROR),
    ],
)
def test_an_error_inside_a_200_is_classified(error: object, fault: Fault) -> None:
    found = read_stream_error({"error": error})
    assert found.fault is fault
    assert found.message
