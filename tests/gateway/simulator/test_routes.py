"""Which vendor answers which path, key and body."""

from __future__ import annotations

import pytest

from gateway.simulator import Vendor
from gateway.simulator.exchange import RefusalError
from gateway.simulator.routes import check_key, find_route, read_body

VERSION = {"anthropic-version": "2023-06-01"}
OLLAMA_ONLY = frozenset({Vendor.OLLAMA})
ANTHROPIC_ONLY = frozenset({Vendor.ANTHROPIC})


@pytest.mark.parametrize(
    ("method", "path", "headers", "vendor", "is_call"),
    [
        ("POST", "/v1/chat/completions", {}, Vendor.OPENAI, True),
        ("POST", "/v1/embeddings", VERSION, Vendor.OPENAI, True),
        ("POST", "/v1/messages", {}, Vendor.ANTHROPIC, True),
        ("POST", "/api/chat", {}, Vendor.OLLAMA, True),
        ("GET", "/v1/models", {}, Vendor.OPENAI, False),
        ("GET", "/v1/models", VERSION, Vendor.ANTHROPIC, False),
        ("GET", "/api/tags", {}, Vendor.OLLAMA, False),
        ("GET", "/v1/messages", {}, Vendor.ANTHROPIC, False),
        ("GET", "/api/nothing", {}, Vendor.OLLAMA, False),
        ("GET", "/v1/nothing", {}, Vendor.OPENAI, False),
    ],
)
def test_a_path_is_answered_in_its_vendors_way(
    method: str, path: str, headers: dict[str, str], vendor: Vendor, is_call: bool
) -> None:
    route = find_route(method, path, headers)
    assert (route.vendor, route.is_call) == (vendor, is_call)


def test_a_vendor_that_is_not_spoken_is_not_there() -> None:
    route = find_route("POST", "/v1/messages", VERSION, spoken=OLLAMA_ONLY)
    assert (route.vendor, route.is_call) == (Vendor.OLLAMA, False)
    alone = find_route("GET", "/v1/models", {}, spoken=ANTHROPIC_ONLY)
    assert alone.vendor is Vendor.ANTHROPIC


@pytest.mark.parametrize(
    ("vendor", "headers", "is_good"),
    [
        (Vendor.OPENAI, {"authorization": "Bearer right"}, True),
        (Vendor.OPENAI, {"authorization": "bearer right"}, True),
        (Vendor.OPENAI, {"authorization": "right"}, False),
        (Vendor.OPENAI, {"authorization": "Bearer wrong"}, False),
        (Vendor.OPENAI, {"authorization": "Bearer r\u00efght"}, False),
        (Vendor.OPENAI, {"x-api-key": "right"}, False),
        (Vendor.ANTHROPIC, {"x-api-key": "right"}, True),
        (Vendor.ANTHROPIC, {"authorization": "Bearer right"}, True),
        (Vendor.ANTHROPIC, {}, False),
        (Vendor.OLLAMA, {"authorization": "Bearer right"}, True),
    ],
)
def test_the_key_is_read_where_the_vendor_reads_it(
    vendor: Vendor, headers: dict[str, str], is_good: bool
) -> None:
    check_key(vendor, headers, None)
    if is_good:
        check_key(vendor, headers, "right")
        return
    with pytest.raises(RefusalError) as refusal:
        check_key(vendor, headers, "right")
    assert refusal.value.status == 401


@pytest.mark.parametrize("vendor", list(Vendor))
@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'"x"', b"\xff"])
def test_a_body_that_is_no_object_is_refused(vendor: Vendor, raw: bytes) -> None:
    with pytest.raises(RefusalError) as refusal:
        read_body(vendor, raw)
    assert refusal.value.status == 400
