"""JSON text to send (pure)."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from gateway.dialects.faults import rejected


def encode(value: object) -> bytes:
    """Write JSON; any mapping is an object.

    Raises:
        UpstreamError: REJECTED for what JSON cannot carry: half of a surrogate pair, an
            integer beyond 64 bits, or nesting beyond the encoder's limit.

    """
    try:
        return orjson.dumps(value, default=_plain)
    except orjson.JSONEncodeError as error:
        raise rejected(
            "messages",
            "The request holds text that is not Unicode, an integer beyond 64 bits, or "
            "nests too deep.",
        ) from error


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError
