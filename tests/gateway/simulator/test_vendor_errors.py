"""Each vendor's error bodies."""

from __future__ import annotations

import orjson
import pytest

from gateway.simulator import Vendor
from gateway.simulator.exchange import RefusalError
from gateway.simulator.vendor_errors import render

STATUSES = (400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529)


@pytest.mark.parametrize("status", STATUSES)
def test_every_vendor_has_its_own_shape_for_every_status(status: int) -> None:
    openai, anthropic, ollama = (
        orjson.loads(render(vendor, RefusalError(status), number=7).body)
        for vendor in (Vendor.OPENAI, Vendor.ANTHROPIC, Vendor.OLLAMA)
    )
    assert set(openai["error"]) == {"message", "type", "param", "code"}
    assert openai["error"]["type"]
    assert anthropic["type"] == "error"
    assert set(anthropic["error"]) == {"type", "message"}
    assert anthropic["request_id"] == "req_sim_7"
    assert isinstance(ollama["error"], str)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "overloaded_error"),
        (529, "overloaded_error"),
    ],
)
def test_anthropic_names_the_kind_of_each_status(status: int, kind: str) -> None:
    answer = render(Vendor.ANTHROPIC, RefusalError(status), number=1)
    assert orjson.loads(answer.body)["error"]["type"] == kind


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "context_length_exceeded", "invalid_request_error"),
        (401, "invalid_api_key", "invalid_request_error"),
        (404, "model_not_found", "invalid_request_error"),
        (429, "insufficient_quota", "insufficient_quota"),
        (429, "rate_limit_exceeded", "requests"),
    ],
)
def test_openai_names_code_and_type(status: int, code: str, kind: str) -> None:
    given = None if code in ("invalid_api_key", "rate_limit_exceeded") else code
    answer = render(Vendor.OPENAI, RefusalError(status, code=given), number=1)
    error = orjson.loads(answer.body)["error"]
    assert (error["code"], error["type"]) == (code, kind)


def test_an_unsupported_parameter_is_named_by_every_vendor() -> None:
    refusal = RefusalError(400, code="unsupported_parameter", param="temperature")
    for vendor in Vendor:
        assert b"temperature" in render(vendor, refusal, number=1).body


def test_retry_after_is_sent_as_it_stands_beside_the_vendors_limits() -> None:
    refusal = RefusalError(429, retry_after="soon")
    openai = render(Vendor.OPENAI, refusal, number=1).headers
    anthropic = render(Vendor.ANTHROPIC, refusal, number=1).headers
    assert openai["retry-after"] == anthropic["retry-after"] == "soon"
    assert openai["x-ratelimit-remaining-requests"] == "0"
    assert anthropic["anthropic-ratelimit-requests-remaining"] == "0"


def test_a_context_overflow_reads_as_the_vendor_says_it() -> None:
    refusal = RefusalError(400, code="context_length_exceeded")
    assert b"prompt is too long" in render(Vendor.ANTHROPIC, refusal, number=1).body
    assert b"maximum context length is" in render(Vendor.OPENAI, refusal, number=1).body
