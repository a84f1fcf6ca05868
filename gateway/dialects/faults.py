"""What every vendor's errors have in common: statuses, and our own words (pure)."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.errors import UpstreamError
from gateway.kinds import Fault

MAX_MESSAGE_CHARS = 2_000
"""How much of a vendor's text is kept."""

_BY_STATUS: Mapping[int, Fault] = {
    401: Fault.CREDENTIAL_REJECTED,
    402: Fault.QUOTA_EXHAUSTED,
    403: Fault.CREDENTIAL_REJECTED,
    404: Fault.MODEL_MISSING,
    408: Fault.CONFLICT,
    409: Fault.CONFLICT,
    425: Fault.CONFLICT,
    429: Fault.RATE_LIMITED,
    502: Fault.UNAVAILABLE,
    503: Fault.UNAVAILABLE,
    504: Fault.UNAVAILABLE,
    529: Fault.UNAVAILABLE,
}


def fault_of_status(status: int) -> Fault:
    """Say what a status other than 200 means by itself.

    REJECTED is for statuses that blame the request: the vendor's code or a documented
    text may know better.
    """
    if status < 400:  # a redirect, which is never followed
        return Fault.INVALID_RESPONSE
    if (fault := _BY_STATUS.get(status)) is not None:
        return fault
    return Fault.SERVER_ERROR if status >= 500 else Fault.REJECTED


def unsupported(param: str, message: str) -> UpstreamError:
    """Make the error of what one vendor cannot express, while another may."""
    return UpstreamError(Fault.UNSUPPORTED_PARAMETER, message, param=param)


def rejected(param: str, message: str) -> UpstreamError:
    """Make the error of a request that no deployment of this kind could be sent."""
    return UpstreamError(Fault.REJECTED, message, param=param)


def invalid_response(what: str) -> UpstreamError:
    """Make the error of a 200 that is not what the vendor documents; `what` is the place."""
    return UpstreamError(
        Fault.INVALID_RESPONSE,
        f"The provider's answer is not readable: {what}.",
        upstream_status=200,
    )


def text_of(holder: Mapping[str, object], name: str) -> str:
    """Read a text field; empty for anything else."""
    value = holder.get(name)
    return value if isinstance(value, str) else ""
