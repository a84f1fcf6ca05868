"""The classification table: what follows from each fault of an attempt (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from gateway.kinds import Fault, FaultDomain
from gateway.routing.breaker import Verdict


class Other(StrEnum):
    """Which other deployments may be tried."""

    NEVER = "never"
    ANY = "any"
    OTHER_PROVIDER = "other_provider"  # the fault is the account's
    LARGER_WINDOW = "larger_window"


class Same(StrEnum):
    """Whether the same deployment is tried again; never more than once in a row.

    "Alone" means that no other deployment is left: distinct providers come first.
    """

    NEVER = "never"
    AT_ONCE = "at_once"
    IF_ALONE = (
        "if_alone"  # after a jitter, or the cooldown where it is longer but short
    )


class Cooldown(StrEnum):
    """What is left alone for a while, and for how long."""

    NONE = "none"
    RETRY_AFTER_OR_DEFAULT = "retry_after_or_default"  # the deployment
    RETRY_AFTER_IF_SENT = "retry_after_if_sent"  # the deployment
    MODEL_MISSING = "model_missing"  # the deployment
    PROVIDER = "provider"  # every deployment of the provider; doubling


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the classification table; the last fields say what the client sees.

    `keeps_statuses` are the upstream's that reach the client as they are instead of
    `status`. With `passes_message` the client reads the provider's own text, code and
    status; `message` stands in where the provider gave none.
    """

    other: Other
    same: Same
    verdict: Verdict
    cooldown: Cooldown
    domain: FaultDomain
    status: int
    code: str | None
    type: str
    message: str
    keeps_statuses: frozenset[int] = frozenset()
    passes_message: bool = False


def _provider_rule(
    status: int,
    code: str,
    message: str,
    *,
    other: Other = Other.ANY,
    same: Same = Same.NEVER,
    verdict: Verdict = Verdict.FAILURE,
    cooldown: Cooldown = Cooldown.NONE,
    domain: FaultDomain = FaultDomain.PROVIDER,
    type: str = "server_error",  # noqa: A002 - the name in OpenAI's error object
    keeps_statuses: frozenset[int] = frozenset(),
) -> Rule:
    return Rule(
        other=other,
        same=same,
        verdict=verdict,
        cooldown=cooldown,
        domain=domain,
        status=status,
        code=code,
        type=type,
        message=message,
        keeps_statuses=keeps_statuses,
    )


# Not those that would blame the caller's own key or ask for a password.
_CALLER_STATUSES = frozenset(range(400, 500)) - {401, 403, 407, 429}


def _caller_rule(
    code: str | None,
    message: str,
    *,
    other: Other = Other.NEVER,
    domain: FaultDomain = FaultDomain.CALLER,
    passes_message: bool = True,
) -> Rule:
    return Rule(
        other=other,
        same=Same.NEVER,
        verdict=Verdict.SUCCESS,
        cooldown=Cooldown.NONE,
        domain=domain,
        status=400,
        code=code,
        type="invalid_request_error",
        message=message,
        keeps_statuses=_CALLER_STATUSES if passes_message else frozenset(),
        passes_message=passes_message,
    )


_ACCOUNT_MESSAGE = (
    "The provider refused the gateway's own account for this model. Your key is fine; "
    "the gateway's operator must check the provider's credential and balance."
)
_UNREACHABLE_MESSAGE = "The provider of this model could not be reached. Try again."

RULES: Mapping[Fault, Rule] = MappingProxyType(
    {
        Fault.UNREACHABLE: _provider_rule(
            502, "upstream_unreachable", _UNREACHABLE_MESSAGE
        ),
        Fault.STALE_CONNECTION: _provider_rule(
            502,
            "upstream_unreachable",
            _UNREACHABLE_MESSAGE,
            same=Same.AT_ONCE,
            verdict=Verdict.REPEATED_FAILURE,
        ),
        Fault.TIMEOUT: _provider_rule(
            504,
            "upstream_timeout",
            "The provider of this model did not answer in time. Try again, or ask for "
            "a shorter answer.",
        ),
        Fault.SERVER_ERROR: _provider_rule(
            502,
            "upstream_error",
            "The provider of this model failed to answer. Try again.",
            same=Same.IF_ALONE,
        ),
        Fault.UNAVAILABLE: _provider_rule(
            503,
            "upstream_unavailable",
            "The provider of this model is not available now. Try again later.",
            same=Same.IF_ALONE,
            cooldown=Cooldown.RETRY_AFTER_IF_SENT,
            keeps_statuses=frozenset({504}),
        ),
        Fault.CONFLICT: _provider_rule(
            409,
            "upstream_conflict",
            "The provider of this model could not take the request now. Try again.",
            same=Same.IF_ALONE,
            verdict=Verdict.SOFT_FAILURE,
            keeps_statuses=frozenset({408, 409, 425}),
        ),
        Fault.RATE_LIMITED: _provider_rule(
            429,
            "rate_limit_exceeded",
            "The providers of this model limit the gateway's rate of requests. Try "
            "again after the time in Retry-After.",
            same=Same.IF_ALONE,
            verdict=Verdict.IGNORED,
            cooldown=Cooldown.RETRY_AFTER_OR_DEFAULT,
            type="rate_limit_error",
        ),
        Fault.QUOTA_EXHAUSTED: _provider_rule(
            502,
            "upstream_credentials_exhausted",
            _ACCOUNT_MESSAGE,
            other=Other.OTHER_PROVIDER,
            verdict=Verdict.IGNORED,
            cooldown=Cooldown.PROVIDER,
            domain=FaultDomain.GATEWAY,
        ),
        Fault.CREDENTIAL_REJECTED: _provider_rule(
            502,
            "upstream_credentials_exhausted",
            _ACCOUNT_MESSAGE,
            other=Other.OTHER_PROVIDER,
            verdict=Verdict.IGNORED,
            cooldown=Cooldown.PROVIDER,
            domain=FaultDomain.GATEWAY,
        ),
        Fault.MODEL_MISSING: _provider_rule(
            404,
            "model_not_found",
            "The provider does not have the model behind this name. Choose another "
            "model; the gateway's operator must correct the deployment.",
            verdict=Verdict.IGNORED,
            cooldown=Cooldown.MODEL_MISSING,
            type="invalid_request_error",
        ),
        Fault.CONTEXT_LENGTH: _caller_rule(
            "context_length_exceeded",
            "The conversation is longer than this model's context window. Shorten it, "
            "or choose a model with a larger window.",
            other=Other.LARGER_WINDOW,
            passes_message=False,
        ),
        Fault.UNSUPPORTED_PARAMETER: _caller_rule(
            "unsupported_parameter",
            "This model does not support a parameter of the request. Leave it out, or "
            "choose another model.",
            other=Other.ANY,
        ),
        Fault.CONTENT_POLICY: _caller_rule(
            "content_policy_violation",
            "The provider refused the request under its content policy.",
            domain=FaultDomain.POLICY,
        ),
        Fault.REJECTED: _caller_rule(
            None,
            "The provider refused the request as invalid. Correct it and try again.",
        ),
        Fault.INVALID_RESPONSE: _provider_rule(
            502,
            "upstream_invalid_response",
            "The provider of this model sent an answer that cannot be read. Try again.",
        ),
        Fault.INTERRUPTED: _provider_rule(
            502,
            "upstream_interrupted",
            "The provider of this model broke off its answer. Try again.",
            other=Other.NEVER,
        ),
    }
)
