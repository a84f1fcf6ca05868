"""Providers in documents: their credentials go in and never come out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from typing_extensions import override

from gateway.addresses import origin
from gateway.config_documents.row_kind import Kind
from gateway.config_documents.values import References
from gateway.crypto import Secret
from gateway.models import Provider
from gateway.models.validators import (
    validate_base_url,
    validate_ca_file,
    validate_credential,
)
from gateway.operations import credential_hint

MAX_CREDENTIAL_LENGTH = 4000
# Headers that some vendors take a key in. Operators are told not to, and some do.
SECRET_HEADER = re.compile(
    r"key|token|secret|auth|pass|cookie|cred|sign", re.IGNORECASE
)
ENTER_AGAIN = (
    "Give it again: the address now names another server, and what is stored is not sent "
    "there unasked."
)


class ProviderKind(Kind):
    """A vendor's endpoint.

    The value of a header that may be a secret is shown as null, which leaves it as it is.
    """

    model = Provider
    columns = (
        "name",
        "kind",
        "base_url",
        "enabled",
        "extra_headers",
        "connect_timeout_s",
        "first_byte_timeout_s",
        "response_timeout_s",
        "idle_timeout_s",
        "egress_proxy",
        "ca_file",
        "max_concurrency",
        "priority",
        "weight",
    )
    shown = ("credential_set", "credential_hint", "source", "is_withdrawn")
    write_only = ("credential",)

    @override
    def value(self, row: Any, name: str) -> Any:
        """Write one field, secrets as hints of themselves."""
        match name:
            case "credential_set":
                return bool(row.credential)
            case "credential_hint":
                return credential_hint(row)
            case "extra_headers":
                return {
                    header: None if SECRET_HEADER.search(header) else text
                    for header, text in row.extra_headers.items()
                }
            case _:
                return super().value(row, name)

    @override
    def values(
        self, row: Any, given: Mapping[str, Any], references: References
    ) -> dict[str, Any]:
        """Take in the credential, and put back the headers that were not shown."""
        values = super().values(row, given, references)
        if "extra_headers" in values:
            values["extra_headers"] = with_stored(values["extra_headers"], row)
        if "credential" in given:
            values["credential"] = read_credential(given["credential"])
        return values

    @override
    def check(
        self, row: Any, given: Mapping[str, Any], values: Mapping[str, Any]
    ) -> None:
        """Send what is kept to no other server, and trust no file that is not there."""
        if values.get("ca_file"):
            name_fault("ca_file", validate_ca_file, values["ca_file"])
        if row.pk is None or "base_url" not in values:
            return
        name_fault("base_url", validate_base_url, values["base_url"])
        if origin(row.base_url) == origin(values["base_url"]):
            return
        if row.credential and "credential" not in values:
            raise ValidationError({"credential": ENTER_AGAIN})
        headers = values.get("extra_headers", row.extra_headers)
        again = given.get("extra_headers") or {}
        for header in filter(SECRET_HEADER.search, headers):
            if again.get(header) is None:
                raise ValidationError({"extra_headers": f"{header}: {ENTER_AGAIN}"})


def with_stored(headers: Any, row: Provider) -> Any:
    """Put the stored values of headers where null stands for them."""
    if not isinstance(headers, dict):
        return headers  # which the row refuses
    for name, text in headers.items():
        if text is None and name not in row.extra_headers:
            raise ValidationError({"extra_headers": f"{name}: There is none to keep."})
    return {
        name: row.extra_headers[name] if text is None else text
        for name, text in headers.items()
    }


def read_credential(value: Any) -> Secret:
    """Take what was given, as it was given; empty removes it."""
    if not isinstance(value, str) or len(value) > MAX_CREDENTIAL_LENGTH:
        raise ValidationError(
            {"credential": f"It must be a text of at most {MAX_CREDENTIAL_LENGTH}."}
        )
    name_fault("credential", validate_credential, value)
    return Secret(plain=value)


def name_fault(field: str, validate: Any, value: str) -> None:
    """Validate, and name the field at fault."""
    try:
        validate(value)
    except ValidationError as error:
        raise ValidationError({field: error.messages}) from error
