"""The figures of one process: counted once, summed and subtracted without loss."""

from __future__ import annotations

import time

import orjson
import pytest

from gateway.kinds import FaultDomain
from gateway.process_figures import (
    Counts,
    ProcessFigures,
    counts_in,
    provider_counts_in,
)


def settle(
    figures: ProcessFigures,
    domain: FaultDomain | None = None,
    *,
    provider: str = "p",
    first_content_s: float | None = None,
) -> None:
    figures.settled(provider, domain, duration_s=0.5, first_content_s=first_content_s)


def through_json(figures: ProcessFigures) -> dict[str, object]:
    found: dict[str, object] = orjson.loads(orjson.dumps(figures.as_dict()))
    return {"traffic": found}


def test_only_what_a_provider_or_the_gateway_failed_is_a_failure() -> None:
    figures = ProcessFigures()
    for domain in (None, *FaultDomain):
        settle(figures, domain)
    counts = figures.counts
    assert (counts.requests, counts.succeeded, counts.failed) == (5, 1, 2)
    assert figures.providers["p"].domains == dict.fromkeys(("none", *FaultDomain), 1)


def test_latency_is_of_what_succeeded_and_first_content_of_every_stream() -> None:
    figures = ProcessFigures()
    settle(figures, FaultDomain.CALLER)
    settle(figures, FaultDomain.PROVIDER, first_content_s=0.2)
    assert (figures.counts.latency.count, figures.counts.ttft.count) == (0, 1)
    settle(figures, first_content_s=0.2)
    assert (figures.counts.latency.count, figures.counts.ttft.count) == (1, 2)


def test_a_report_is_read_back_as_it_was_counted() -> None:
    figures = ProcessFigures()
    figures.arrived()
    figures.counts.bytes_received += 3
    settle(figures, first_content_s=0.1)
    counts = figures.settled("q", None, duration_s=1.0, first_content_s=None)
    counts.tokens["input"] = 9
    counts.cost_nano_usd = 5
    report = through_json(figures)
    assert counts_in(report).as_dict() == figures.counts.as_dict()
    assert provider_counts_in([report]) == figures.providers


def test_workers_of_before_have_no_figures() -> None:
    assert counts_in({"statistics": {}}).as_dict() == Counts().as_dict()
    assert provider_counts_in([{}]) == {}


def test_counts_of_several_processes_are_summed_by_provider() -> None:
    first, second = ProcessFigures(), ProcessFigures()
    settle(first)
    settle(second)
    settle(second, FaultDomain.PROVIDER, provider="q")
    total = Counts()
    for figures in (first, second):
        total.add(figures.counts)
    assert (total.requests, total.succeeded, total.failed) == (3, 2, 1)
    assert total.latency.count == 2
    sums = provider_counts_in([through_json(first), through_json(second)])
    assert {name: each.requests for name, each in sums.items()} == {"p": 2, "q": 1}


def test_a_difference_is_what_came_in_between() -> None:
    figures = ProcessFigures()
    settle(figures)
    figures.counts.bytes_sent = 10
    earlier = Counts.from_dict(figures.counts.as_dict())
    settle(figures, FaultDomain.GATEWAY)
    figures.counts.bytes_sent = 25
    since = figures.counts.minus(earlier)
    assert (since.requests, since.succeeded, since.failed) == (1, 0, 1)
    assert (since.bytes_sent, since.latency.count) == (15, 0)
    with pytest.raises(ValueError, match="fewer"):
        earlier.minus(figures.counts)


def test_connections_are_of_now_and_in_total() -> None:
    figures = ProcessFigures()
    figures.arrived()
    figures.arrived()
    figures.answered()
    assert (figures.connections, figures.counts.connections_total) == (1, 2)


def test_the_processor_and_memory_of_this_process_are_measured() -> None:
    figures = ProcessFigures()
    figures.measure()
    until_s = time.process_time() + 0.05
    while time.process_time() < until_s:
        pass
    before_s = time.process_time()
    figures.measure()
    found = figures.as_dict()
    assert before_s <= found["cpu_s"] <= time.process_time()
    assert found["cpu_percent"] > 10
    assert 10_000_000 < found["rss_bytes"] < 10_000_000_000
