"""Anthropic's errors as faults."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, strategies as st

from gateway.dialects.anthropic import AnthropicDialect
from gateway.kinds import Fault

read_error = AnthropicDialect().read_error


def body(kind: str, message: str = "Something.", **more: object) -> bytes:
    error = {"type": kind, "message": message, **more}
    return orjson.dumps({"type": "error", "error": error, "request_id": "req_011C"})


@pytest.mark.parametrize(
    ("status", "kind", "fault"),
    [
        (400, "invalid_request_error", Fault.REJECTED),
        (401, "authentication_error", Fault.CREDENTIAL_REJECTED),
        (402, "billing_error", Fault.QUOTA_EXHAUSTED),
        (403, "permission_error", Fault.CREDENTIAL_REJECTED),
        (404, "not_found_error", Fault.MODEL_MISSING),
        (408, "timeout_error", Fault.CONFLICT),
        (409, "conflict_error", Fault.CONFLICT),
        (413, "request_too_large", Fault.REJECTED),
        (422, "invalid_request_error", Fault.REJECTED),
        (429, "rate_limit_error", Fault.RATE_LIMITED),
        (500, "api_error", Fault.SERVER_ERROR),
        (501, "api_error", Fault.SERVER_ERROR),
        (503, "overloaded_error", Fault.UNAVAILABLE),
        (504, "timeout_error", Fault.UNAVAILABLE),
        (529, "overloaded_error", Fault.UNAVAILABLE),
        (500, "overloaded_error", Fault.UNAVAILABLE),  # the type says more
        (429, "billing_error", Fault.QUOTA_EXHAUSTED),
        (404, "invalid_request_error", Fault.MODEL_MISSING),
        (400, "a_new_error", Fault.REJECTED),
    ],
)
def test_an_error_is_classified_by_status_and_type(status, kind, fault):
    error = read_error(status, body(kind), None)
    assert (error.fault, error.upstream_status) == (fault, status)
    assert (error.message, error.provider_code) == ("Something.", kind)


@pytest.mark.parametrize(
    ("code", "status", "kind", "fault"),
    [
        (
            "enforced_spend_limit_reached",
            429,
            "rate_limit_error",
            Fault.QUOTA_EXHAUSTED,
        ),
        (
            "contract_spend_limit_reached",
            429,
            "rate_limit_error",
            Fault.QUOTA_EXHAUSTED,
        ),
        ("ramp_limit_exceeded", 429, "rate_limit_error", Fault.RATE_LIMITED),
        (
            "organization_on_hold",
            400,
            "invalid_request_error",
            Fault.CREDENTIAL_REJECTED,
        ),
    ],
)
def test_the_detail_tells_a_spent_account_from_a_busy_one(code, status, kind, fault):
    data = body(kind, details={"error_code": code})
    assert read_error(status, data, None).fault is fault


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("prompt is too long: 208656 tokens > 200000 maximum", Fault.CONTEXT_LENGTH),
        ("Prompt is too long", Fault.CONTEXT_LENGTH),
        ("input is too long for requested model", Fault.CONTEXT_LENGTH),
        (
            "input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000",
            Fault.CONTEXT_LENGTH,
        ),
        ('messages.0: "prompt is too long" is no role', Fault.REJECTED),
        ("stop_sequences: rate_limit_error 429", Fault.REJECTED),
        ("max_tokens: 99999 > 8192", Fault.REJECTED),
    ],
)
def test_only_the_documented_texts_mean_a_prompt_that_is_too_long(message, fault):
    assert read_error(400, body("invalid_request_error", message), None).fault is fault


def test_a_server_failure_that_speaks_of_length_is_a_server_failure():
    data = body("api_error", "prompt is too long")
    assert read_error(500, data, None).fault is Fault.SERVER_ERROR


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (302, Fault.INVALID_RESPONSE),
        (400, Fault.REJECTED),
        (401, Fault.CREDENTIAL_REJECTED),
        (403, Fault.CREDENTIAL_REJECTED),
        (404, Fault.MODEL_MISSING),
        (429, Fault.RATE_LIMITED),
        (502, Fault.UNAVAILABLE),
        (599, Fault.SERVER_ERROR),
    ],
)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>Bad gateway</html>",
        b"[]",
        b'{"error": "text"}',
        b'{"error": {}}',
        b"\xff",
    ],
)
def test_an_unreadable_error_is_classified_by_its_status(status, fault, data):
    error = read_error(status, data, None)
    assert error.fault is fault
    assert error.message == (
        f"The provider answered with status {status} and no readable error."
    )


def test_the_message_is_shortened_and_the_wait_is_kept():
    error = read_error(429, body("rate_limit_error", "x" * 5_000), 12.5)
    assert (error.message, error.retry_after_s) == ("x" * 2_000, 12.5)


@given(st.integers(100, 999), st.binary())
def test_reading_an_error_never_fails(status, data):
    assert read_error(status, data, None).upstream_status == status


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["error", "type", "message", "details", "error_code"]),
            inner,
        )
    ),
)


@given(st.integers(400, 599), anything)
def test_an_error_of_any_shape_is_read(status, value):
    assert read_error(status, orjson.dumps({"error": value}), None).message
