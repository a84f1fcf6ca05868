"""Validators of row fields; each message says what is allowed."""

from __future__ import annotations

import dataclasses
import ssl
import unicodedata
from typing import Any

from django.core.exceptions import ValidationError

from gateway.addresses import AddressRefused, check_url
from gateway.kinds import Right
from gateway.snapshot import Capabilities

# Set by the transport itself, or a place where a secret would lie in clear.
REFUSED_HEADERS = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "host",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-api-key",
    }
)
REASONING_KINDS = ("none", "budget", "adaptive", "always")


def validate_name(value: str) -> None:
    """Allow printable text without blanks at its ends and without commas or quotes."""
    if value != value.strip():
        raise ValidationError("Remove the blanks at the ends.")
    for character in value:
        if unicodedata.category(character)[0] == "C" or character in ",;=\"'\\":
            raise ValidationError(f"The character {character!r} is not allowed here.")


def validate_base_url(value: str) -> None:
    """Allow http(s) addresses that are neither metadata services nor nobody's."""
    try:
        check_url(value)
    except AddressRefused as error:
        raise ValidationError(str(error)) from error


def validate_proxy_url(value: str) -> None:
    """Allow http://host:port."""
    if value and not value.startswith("http://"):
        raise ValidationError("Allowed is http://host:port.")
    if value:
        validate_base_url(value)


def validate_credential(value: str) -> None:
    """Allow what a header can carry."""
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValidationError("Allowed are printable ASCII characters, no blanks.")


def validate_ca_file(value: str) -> None:
    """Refuse a file that connections could not be checked with; empty is none."""
    try:
        if value:
            ssl.create_default_context(cafile=value)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise ValidationError(
            "There is no readable PEM file of certificates at this path on the server."
        ) from error


def validate_object(value: Any) -> None:
    """Allow a JSON object."""
    if not isinstance(value, dict):
        raise ValidationError('Allowed is a JSON object: {"name": value}.')


def validate_names(value: Any) -> None:
    """Allow a JSON list of distinct names."""
    if not isinstance(value, list) or not all(
        isinstance(item, str) and item for item in value
    ):
        raise ValidationError('Allowed is a JSON list of names: ["name"].')
    if len(set(value)) != len(value):
        raise ValidationError("A name stands here twice.")


def validate_rights(value: Any) -> None:
    """Allow a JSON list of distinct rights."""
    validate_names(value)
    for name in value:
        if name not in {right.value for right in Right}:
            known = ", ".join(right.value for right in Right)
            raise ValidationError(f"{name!r} is not a right; allowed are {known}.")


def validate_headers(value: Any) -> None:
    """Allow a JSON object of header names and values that are ours to set."""
    validate_object(value)
    for name, text in value.items():
        if not isinstance(text, str) or not text.isprintable():
            raise ValidationError(f"The value of {name!r} must be printable text.")
        if not name or not all(c.isalnum() or c in "-_" for c in name):
            raise ValidationError(f"{name!r} is not a header name.")
        if name.lower() in REFUSED_HEADERS:
            raise ValidationError(
                f"{name!r} may not be set here; a key belongs into the credential."
            )


def validate_capabilities(value: Any) -> None:
    """Allow a JSON object with the fields of `gateway.snapshot.Capabilities`."""
    validate_object(value)
    fields = {field.name for field in dataclasses.fields(Capabilities)}
    for name, given in value.items():
        if name not in fields:
            known = ", ".join(sorted(fields))
            raise ValidationError(f"{name!r} is unknown; allowed are {known}.")
        if name == "reasoning":
            if given is not None and given not in REASONING_KINDS:
                kinds = ", ".join(REASONING_KINDS)
                raise ValidationError(f"'reasoning' must be one of {kinds}.")
        elif name == "max_output_tokens":
            if given is not None and (type(given) is not int or given < 1):
                raise ValidationError("'max_output_tokens' must be a whole number > 0.")
        elif given is not None and not isinstance(given, bool):
            raise ValidationError(f"{name!r} must be true, false or null.")
