"""What is written of a request: a line that the ledger reads, and the counters."""

from __future__ import annotations

from dataclasses import fields
from datetime import date

from prometheus_client import REGISTRY

from gateway.dialects.record import Usage
from gateway.kinds import FaultDomain, Operation, PriceOrigin
from gateway.ledger import Entry, count_tokens, usage_line
from gateway.process_figures import ProviderCounts
from gateway.snapshot import Deployment, Prices, Provider
from gateway.usage_line import UsageLine

PROVIDER = Provider(1, "p", "openai", "http://p/v1", {}, "", (), "f")
DEPLOYMENT = Deployment(
    7, "m", "upstream", PROVIDER, prices=Prices(origin=PriceOrigin.ROW)
)
USAGE = Usage(1, 2, 3, 4, 5, 6, 7, 8)


def entry(**changes: object) -> Entry:
    """Make the books of a stream that took two seconds, one of them to begin."""
    given: dict[str, object] = {
        "request_id": "r",
        "operation": Operation.CHAT,
        "at_s": 1e9,
        "tenant": "t",
        "api_key": "k",
        "model": "m",
        "deployment": DEPLOYMENT,
        "strategy": "s",
        "attempts": 2,
        "is_stream": True,
        "usage": USAGE,
        "cost_nano_usd": 42,
        "budgets": ((5, date(2026, 11, 1)),),
        "duration_s": 2.0,
        "first_content_s": 1.0,
        **changes,
    }
    return Entry(**given)  # type: ignore[arg-type]


def read(of: Entry) -> UsageLine:
    return UsageLine.from_bytes(usage_line(of, worker="w", uid="u"))


def test_a_line_is_read_as_it_was_written() -> None:
    line = read(entry())
    tokens = [getattr(line, f.name) for f in fields(Usage) if f.name.endswith("tokens")]
    assert tokens == [1, 2, 3, 4, 5, 6, 7, 8]
    assert (line.uid, line.worker, line.request_id, line.at) == ("u", "w", "r", 1e9)
    assert (line.tenant, line.api_key, line.model) == ("t", "k", "m")
    assert (line.provider, line.upstream_model, line.deployment_id) == (
        "p",
        "upstream",
        7,
    )
    assert (line.cost_nano_usd, line.price_origin) == (42, "row")
    assert line.budgets == ((5, "2026-11-01"),)
    assert (line.duration_ms, line.ttft_ms) == (2_000.0, 1_000.0)
    assert line.tokens_per_s == 21.0  # 6 + 7 + 8, in the second after the first


def test_what_is_not_known_is_not_made_up() -> None:
    failed = entry(
        usage=None,
        cost_nano_usd=None,
        first_content_s=None,
        status=502,
        code="upstream_error",
        domain=FaultDomain.PROVIDER,
    )
    line = read(failed)
    assert (line.cost_nano_usd, line.ttft_ms, line.tokens_per_s) == (None, None, None)
    assert (line.status, line.code, line.fault_domain) == (
        502,
        "upstream_error",
        "provider",
    )
    assert line.input_tokens == line.output_tokens == 0


def test_an_estimate_tells_no_speed() -> None:
    assert read(entry(usage=Usage(1, is_estimated=True))).tokens_per_s is None


def test_each_token_is_counted_in_exactly_one_kind() -> None:
    counts = ProviderCounts()
    count_tokens(USAGE, "counted", "p", counts)
    kinds = {
        "input": 1,
        "cache_read": 2,
        "cache_write": 3,
        "cache_write_1h": 4,
        "audio_input": 5,
        "output": 6,
        "reasoning": 7,
        "audio_output": 8,
    }
    found = {
        sample.labels["kind"]: sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "ailb_tokens_total" and sample.labels["model"] == "counted"
    }
    assert found == counts.tokens == kinds
