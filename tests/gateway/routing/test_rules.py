"""The classification table: a rule for every fault."""

from __future__ import annotations

import pytest

from gateway.kinds import Fault, FaultDomain
from gateway.routing.breaker import Verdict
from gateway.routing.rules import RULES, Cooldown, Other, Same

# Fault: other, same, verdict, cooldown, status, code.
TABLE = {
    Fault.UNREACHABLE: ("any", "never", "failure", "none", 502, "upstream_unreachable"),
    Fault.STALE_CONNECTION: (
        "any",
        "at_once",
        "repeated_failure",
        "none",
        502,
        "upstream_unreachable",
    ),
    Fault.TIMEOUT: ("any", "never", "failure", "none", 504, "upstream_timeout"),
    Fault.SERVER_ERROR: (
        "any",
        "if_alone",
        "failure",
        "none",
        502,
        "upstream_error",
    ),
    Fault.UNAVAILABLE: (
        "any",
        "if_alone",
        "failure",
        "retry_after_if_sent",
        503,
        "upstream_unavailable",
    ),
    Fault.CONFLICT: (
        "any",
        "if_alone",
        "soft_failure",
        "none",
        409,
        "upstream_conflict",
    ),
    Fault.RATE_LIMITED: (
        "any",
        "if_alone",
        "ignored",
        "retry_after_or_default",
        429,
        "rate_limit_exceeded",
    ),
    Fault.QUOTA_EXHAUSTED: (
        "other_provider",
        "never",
        "ignored",
        "provider",
        502,
        "upstream_credentials_exhausted",
    ),
    Fault.CREDENTIAL_REJECTED: (
        "other_provider",
        "never",
        "ignored",
        "provider",
        502,
        "upstream_credentials_exhausted",
    ),
    Fault.MODEL_MISSING: (
        "any",
        "never",
        "ignored",
        "model_missing",
        404,
        "model_not_found",
    ),
    Fault.CONTEXT_LENGTH: (
        "larger_window",
        "never",
        "success",
        "none",
        400,
        "context_length_exceeded",
    ),
    Fault.UNSUPPORTED_PARAMETER: (
        "any",
        "never",
        "success",
        "none",
        400,
        "unsupported_parameter",
    ),
    Fault.CONTENT_POLICY: (
        "never",
        "never",
        "success",
        "none",
        400,
        "content_policy_violation",
    ),
    Fault.REJECTED: ("never", "never", "success", "none", 400, None),
    Fault.INVALID_RESPONSE: (
        "any",
        "never",
        "failure",
        "none",
        502,
        "upstream_invalid_response",
    ),
    Fault.INTERRUPTED: (
        "never",
        "never",
        "failure",
        "none",
        502,
        "upstream_interrupted",
    ),
}


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_has_its_row(fault):
    rule = RULES[fault]
    row = (
        rule.other,
        rule.same,
        rule.verdict,
        rule.cooldown,
        rule.status,
        rule.code,
    )
    assert row == TABLE[fault]


def test_no_column_has_a_word_that_no_row_uses():
    assert {rule.other for rule in RULES.values()} == set(Other)
    assert {rule.same for rule in RULES.values()} == set(Same)
    assert {rule.verdict for rule in RULES.values()} == set(Verdict)
    assert {rule.cooldown for rule in RULES.values()} == set(Cooldown)


@pytest.mark.parametrize("fault", Fault)
def test_no_fault_of_an_attempt_becomes_a_401_or_403(fault):
    rule = RULES[fault]
    assert {401, 403}.isdisjoint(rule.keeps_statuses | {rule.status})


@pytest.mark.parametrize("fault", Fault)
def test_only_a_fault_of_the_request_counts_for_the_deployment(fault):
    rule = RULES[fault]
    is_the_requests = rule.domain in {FaultDomain.CALLER, FaultDomain.POLICY}
    assert (rule.verdict is Verdict.SUCCESS) is is_the_requests


@pytest.mark.parametrize("fault", Fault)
def test_only_words_about_the_callers_own_request_are_passed_through(fault):
    rule = RULES[fault]
    if rule.passes_message:
        assert rule.domain in {FaultDomain.CALLER, FaultDomain.POLICY}
    assert rule.message
