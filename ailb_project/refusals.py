"""Answers that the HTTP server gives itself, in the shape of the OpenAI API."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus

MAX_HEADER_BYTES = 16 * 1024
MAX_HEADERS = 100


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of the server itself, in the shape of the OpenAI API."""

    status: HTTPStatus
    code: str
    message: str

    @property
    def body(self) -> bytes:
        """The JSON document: server_error from 500 up, else invalid_request_error."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {
            "message": self.message,
            "type": kind,
            "param": None,
            "code": self.code,
        }
        return json.dumps({"error": error}).encode()


MALFORMED = Refusal(
    HTTPStatus.BAD_REQUEST, "bad_request", "The request is not valid HTTP."
)
HEADERS_TOO_LARGE = Refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "request_headers_too_large",
    f"At most {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes together are allowed.",
)
TIMED_OUT = Refusal(
    HTTPStatus.REQUEST_TIMEOUT,
    "request_timeout",
    "The request did not arrive completely in time.",
)
SHUTTING_DOWN = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "shutting_down",
    "This server is shutting down; send the request again.",
)
INTERNAL_ERROR = Refusal(
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "internal_error",
    "The server failed to answer this request.",
)


def body_too_large(max_body_bytes: int) -> Refusal:
    """Build the refusal that names the limit."""
    return Refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "request_too_large",
        f"The request body is larger than the {max_body_bytes} bytes allowed.",
    )


def file_too_large(max_upload_bytes: int) -> Refusal:
    """Build the refusal of a file, with the code of those that are a little too large."""
    return Refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "too_large",
        f"The file, with the form around it, is larger than the {max_upload_bytes} bytes "
        "allowed: split it.",
    )
