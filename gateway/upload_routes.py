"""Which requests bring a file, and may therefore be larger than others (pure)."""

from __future__ import annotations

import re

# What a form has around its one file: a name, attributes, the lines between parts.
FORM_BYTES = 64 * 1024

_ROUTES = {
    b"POST": re.compile(
        rb"/api/collections/[^/]+/documents|/v1/files"
        rb"|/admin/rag/collection/[0-9]+/upload/|/admin/rag/document/[0-9]+/replace/"
    ),
    b"PUT": re.compile(rb"/api/collections/[^/]+/documents/[^/]+"),
}


def brings_file(method: bytes, path: bytes) -> bool:
    """Say whether a request is one that brings a file.

    `path` is percent-encoded, as it stands in the request; a query is left out of account.
    """
    route = _ROUTES.get(method)
    return route is not None and route.fullmatch(path.partition(b"?")[0]) is not None
