"""The error tree.

AilbError
├── ConfigurationError          rows or environment that cannot be served
├── ClientError                 the caller's request is at fault (4xx)
│   ├── InvalidRequest          400, names the field
│   ├── AuthenticationFailed    401, the caller's own key and nothing else
│   ├── PermissionDenied        403, the right key for something else
│   ├── NotFound                404, unknown model or route
│   ├── MethodNotAllowed        405
│   ├── Conflict                409, another row or its owner forbids it
│   ├── BodyTooLarge            413
│   └── UnsupportedMediaType    415
├── UpstreamError               one attempt failed; `fault` says how
├── NoEligibleDeployment        nothing may serve this request now
├── AllAttemptsFailed           every attempt failed; carries the last UpstreamError
├── KeyUncheckable              503, a key that cannot be checked now
├── DatabaseAway                503, what only the database could answer
├── RateLimited                 429, a limit is reached; waiting helps
├── BudgetExhausted             429, nothing is left of a budget
└── NotReady                    no configuration yet

Classes say what follows (status, code); instances carry fields. What follows from
an `UpstreamError` stands in one table, `gateway.routing.failover.RULES`, keyed by its
`fault`: a class for each row would only repeat the table.
"""

from __future__ import annotations

from typing import ClassVar

from gateway.access import Standing
from gateway.kinds import Fault, FaultDomain, Measure, Period, Scope


class AilbError(Exception):
    """Base of every error of ours; `message` is written for the client."""

    status: int = 500
    code: str | None = "internal_error"
    type: str = "server_error"
    domain: ClassVar[FaultDomain] = FaultDomain.GATEWAY
    param: str | None = None
    retry_after_s: float | None = None  # wait before the next try, if that helps

    def __init__(self, message: str) -> None:
        """Keep the message; it may be shown to the client as it is."""
        super().__init__(message)
        self.message = message


class ConfigurationError(AilbError):
    """A set of rows or a variable that cannot be served; the old set keeps serving."""

    code = "configuration_error"


class ClientError(AilbError):
    """The caller's request is at fault."""

    status = 400
    code: str | None = None
    type = "invalid_request_error"
    domain = FaultDomain.CALLER


class InvalidRequest(ClientError):
    """A 400 that names the field at fault."""

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        """`param` is the dotted path of the field, None for the body as a whole."""
        super().__init__(message)
        self.param = param
        self.code = code


class AuthenticationFailed(ClientError):
    """No key, or a key that is wrong, unknown, disabled or expired."""

    status = 401
    code = "invalid_api_key"


class PermissionDenied(ClientError):
    """A valid key that may not do this; the message names what."""

    status = 403
    code = "permission_denied"
    domain = FaultDomain.POLICY

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        """`param` is the field that asked for it, if one did."""
        super().__init__(message)
        self.param = param
        self.code = code or "permission_denied"


class NotFound(ClientError):
    """An unknown model or route."""

    status = 404
    code = "not_found"

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        """`code` is `model_not_found` for models, `unknown_url` for routes."""
        super().__init__(message)
        self.param = param
        self.code = code or "not_found"


class MethodNotAllowed(ClientError):
    """The route exists, but not for this method."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, *, allowed: str) -> None:
        """Keep `allowed`: the methods of the route, as the header Allow lists them."""
        super().__init__(message)
        self.allowed = allowed


class Conflict(ClientError):
    """A change that another row, or whoever owns this one, does not allow."""

    status = 409
    code = "conflict"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        """`param` is the field at fault, None for the row as a whole."""
        super().__init__(message)
        self.param = param


class BodyTooLarge(ClientError):
    """The body is over the limit that the operator set."""

    status = 413
    code = "request_too_large"


class UnsupportedMediaType(ClientError):
    """The body is not JSON."""

    status = 415
    code = "unsupported_media_type"


class UpstreamError(AilbError):
    """One attempt at one deployment failed.

    `message` is the provider's text, already shortened and safe to show; it reaches the
    client only for faults whose rule passes it through. `upstream_status` is None when no
    response came. `retry_after_s` is what the provider asked for, in seconds.
    `provider_code` and `param` are the vendor's own, if it named any.
    """

    status = 502
    code = "upstream_error"
    domain = FaultDomain.PROVIDER

    def __init__(
        self,
        fault: Fault,
        message: str,
        *,
        upstream_status: int | None = None,
        retry_after_s: float | None = None,
        provider_code: str | None = None,
        param: str | None = None,
    ) -> None:
        """See the class."""
        super().__init__(message)
        self.fault = fault
        self.upstream_status = upstream_status
        self.provider_code = provider_code
        self.param = param
        self.retry_after_s = retry_after_s


class NoEligibleDeployment(AilbError):
    """No deployment may serve this request now; `retry_after_s` is the shortest wait."""

    domain = FaultDomain.GATEWAY

    def __init__(
        self,
        message: str,
        *,
        status: int = 503,
        code: str | None = "no_eligible_deployment",
        type: str = "server_error",  # noqa: A002 - the field of OpenAI's error object
        retry_after_s: float | None = None,
    ) -> None:
        """`retry_after_s` is None when waiting will not help."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.type = type
        self.retry_after_s = retry_after_s


class AllAttemptsFailed(AilbError):
    """Every attempt failed; what the client sees follows from the last fault's rule.

    Raised with `from` the last `UpstreamError`.
    """

    domain = FaultDomain.PROVIDER

    def __init__(
        self,
        message: str,
        *,
        fault: Fault,
        status: int,
        code: str | None,
        type: str,  # noqa: A002 - the name of the field in OpenAI's error object
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """Fields are those of OpenAI's error object, plus the fault behind them."""
        super().__init__(message)
        self.fault = fault
        self.status = status
        self.code = code
        self.type = type
        self.param = param
        self.retry_after_s = retry_after_s


class NotReady(AilbError):
    """The gateway has no configuration yet."""

    status = 503
    code = "not_ready"


class KeyUncheckable(AilbError):
    """The key cannot be checked now: no reason for its owner to throw it away."""

    status = 503
    code = "key_uncheckable"
    retry_after_s: float | None = 5.0


class RateLimited(AilbError):
    """A limit is reached; `standings` say how all limits of the request stand."""

    status = 429
    code = "rate_limit_exceeded"
    domain = FaultDomain.POLICY

    def __init__(
        self,
        message: str,
        *,
        scope: Scope,
        measure: Measure,
        retry_after_s: float,
        standings: tuple[Standing, ...],
    ) -> None:
        """`scope` and `measure` are those of the limit that is reached."""
        super().__init__(message)
        is_of_requests = measure in {Measure.REQUESTS, Measure.CONCURRENCY}
        self.type = "requests" if is_of_requests else "tokens"
        self.scope = scope
        self.measure = measure
        self.retry_after_s = retry_after_s
        self.standings = standings


class BudgetExhausted(AilbError):
    """Nothing is left of a hard budget.

    `retry_after_s` is None when it is spent; else what is left is only reserved, and
    requests that end give some of it back.
    """

    status = 429
    code = "insufficient_quota"
    type = "insufficient_quota"
    domain = FaultDomain.POLICY

    def __init__(
        self,
        message: str,
        *,
        scope: Scope,
        period: Period,
        retry_after_s: float | None = None,
    ) -> None:
        """`scope` and `period` are those of the budget."""
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.scope = scope
        self.period = period


class DatabaseAway(AilbError):
    """What was asked needs the database, which does not answer."""

    status = 503
    code = "database_unavailable"
    retry_after_s: float | None = 5.0


def forget_frames(error: BaseException) -> None:
    """Take the tracebacks from an error and from all that it came from.

    Their frames hold the request, body and all, and in the end the error itself: a
    circle that would last until the garbage collector comes by.
    """
    pending, seen = [error], set[int]()
    while pending:
        link = pending.pop()
        if id(link) not in seen:  # an error may be its own cause
            seen.add(id(link))
            link.__traceback__ = None
            pending += filter(None, (link.__cause__, link.__context__))
