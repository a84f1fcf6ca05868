"""How the Ollama dialect classifies errors."""

from __future__ import annotations

import orjson
import pytest

from gateway.dialects.ollama import OllamaDialect
from gateway.kinds import Fault

DIALECT = OllamaDialect()

CONTEXT = (
    '{"error":{"code":400,"message":"request (351 tokens) exceeds the available '
    'context size (256 tokens), try increasing it","type":"exceed_context_size_error"}}'
)


@pytest.mark.parametrize(
    ("status", "text", "fault", "param"),
    [
        (400, "invalid options", Fault.REJECTED, None),
        (413, "too much", Fault.REJECTED, None),
        (400, CONTEXT, Fault.CONTEXT_LENGTH, "messages"),
        (
            500,
            "the input length exceeds the context length",
            Fault.CONTEXT_LENGTH,
            "messages",
        ),
        (400, "x does not support tools", Fault.UNSUPPORTED_PARAMETER, "tools"),
        (
            400,
            '"x" does not support thinking',
            Fault.UNSUPPORTED_PARAMETER,
            "reasoning_effort",
        ),
        (
            400,
            'think value "low" is not supported for this model',
            Fault.UNSUPPORTED_PARAMETER,
            "reasoning_effort",
        ),
        (400, '"x" does not support chat', Fault.UNSUPPORTED_PARAMETER, "model"),
        (400, "x does not support you", Fault.REJECTED, None),
        (401, "unauthorized", Fault.CREDENTIAL_REJECTED, None),
        (403, "forbidden", Fault.CREDENTIAL_REJECTED, None),
        (402, "pay", Fault.QUOTA_EXHAUSTED, None),
        (404, 'model "x" not found, try pulling it first', Fault.MODEL_MISSING, None),
        (409, "conflict", Fault.CONFLICT, None),
        (429, "slow down", Fault.RATE_LIMITED, None),
        (500, "x does not support tools", Fault.SERVER_ERROR, None),
        (500, "llama runner terminated", Fault.SERVER_ERROR, None),
        (502, "bad gateway", Fault.UNAVAILABLE, None),
        (503, "maximum pending requests exceeded", Fault.UNAVAILABLE, None),
        (529, "overloaded", Fault.UNAVAILABLE, None),
        (307, "elsewhere", Fault.INVALID_RESPONSE, None),
    ],
)
def test_errors_are_classified_by_status_and_documented_text(
    status, text, fault, param
):
    error = DIALECT.read_error(status, orjson.dumps({"error": text}), 2.5)
    assert (error.fault, error.param) == (fault, param)
    assert (error.upstream_status, error.retry_after_s) == (status, 2.5)


def test_an_error_within_an_error_is_unwrapped():
    error = DIALECT.read_error(400, orjson.dumps({"error": CONTEXT}), None)
    assert error.provider_code == "exceed_context_size_error"
    assert error.message.startswith("request (351 tokens) exceeds")


@pytest.mark.parametrize(
    "data",
    [b"", b"<html>", b"[]", b"null", b'{"error": 5}', b'{"error": "{x"}', b"\xff"],
)
def test_an_unreadable_error_is_still_an_error(data):
    error = DIALECT.read_error(500, data, None)
    assert error.fault is Fault.SERVER_ERROR
    assert error.message


def test_an_error_does_not_show_the_runners_address_nor_run_on_for_ever():
    text = 'Post "http://127.0.0.1:37113/completion": EOF ' + "x" * 9_000
    error = DIALECT.read_error(500, orjson.dumps({"error": text}), None)
    assert "127.0.0.1" not in error.message
    assert len(error.message) == 2_000
