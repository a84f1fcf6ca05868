"""What a server adds to the time of an answer, against the upstream asked directly."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from benchmarks import client, rows
from benchmarks.figures import Contender, Reading, Row, percentile
from benchmarks.load import Latency, time_one_by_one
from benchmarks.paced import EVENTS, GAP_S
from benchmarks.plan import Plan, in_turn
from benchmarks.servers import Server, per_thousand
from benchmarks.upstream import Answer

STREAMS = 50
RATE_SHARE = 0.4  # of what the slowest answers in a closed loop
_ONE_BY_ONE = (rows.ADDED_P50, rows.ADDED_P95, rows.ADDED_P99)
_AT_A_RATE = (rows.RATE_P50, rows.RATE_P95, rows.RATE_P99)
_STREAMED = (rows.ADDED_TTFT, rows.ADDED_GAP, rows.ADDED_GAP_P99)
Figures = tuple[Sequence[float], float | None]  # one a row, and CPU seconds


def measure(
    plan: Plan, servers: Sequence[Server], *, number: int, slowest_per_s: float
) -> Iterator[Reading]:
    """Time every server in turn: one request at a time, at a fixed rate, in streams."""
    servers = in_turn(servers, number)
    yield from added(_ONE_BY_ONE, {s.contender: _one_by_one(plan, s) for s in servers})
    rate = max(slowest_per_s * RATE_SHARE, 1.0)
    at_a_rate = {s.contender: _at_rate(plan, s, rate) for s in servers}
    yield from added(_AT_A_RATE, at_a_rate)
    yield from added(_STREAMED, {s.contender: _stream(s) for s in servers})


def added(
    measured: Sequence[Row], figures: Mapping[Contender, Figures]
) -> Iterator[Reading]:
    """Take off what the upstream needs when asked directly; for itself, nothing."""
    direct, _ = figures[Contender.DIRECT]
    for contender, (values, cpu_s) in figures.items():
        for row, value, base in zip(measured, values, direct, strict=True):
            taken_off = 0.0 if contender is Contender.DIRECT else base
            yield Reading(row, contender, value - taken_off, cpu_s)


def _one_by_one(plan: Plan, server: Server) -> Figures:
    call = server.call(Answer.WHOLE)
    work = partial(time_one_by_one, call, seconds=plan.seconds, core=plan.cores.load)
    (run, latency), spent_s = server.watch(work)
    return _in_order(latency), per_thousand(spent_s, run.requests)


def _at_rate(plan: Plan, server: Server, rate: float) -> Figures:
    call = server.call(Answer.DELAYED)
    work = partial(client.arrive, call, rate=rate, seconds=plan.arrival_s)
    took_ms, spent_s = server.watch(work)
    latency = Latency(*(percentile(took_ms, share) for share in (0.5, 0.95, 0.99)))
    return _in_order(latency), per_thousand(
        spent_s, round(rate * (plan.arrival_s + client.WARM_UP_S))
    )


def _stream(server: Server) -> Figures:
    work = partial(
        client.follow_streams,
        server.call(Answer.PACED),
        streams=STREAMS,
        starts_s=EVENTS * GAP_S,
        events=EVENTS,
    )
    times, spent_s = server.watch(work)
    first_ms = statistics.median(times.first_ms)
    mean_ms, p99_ms = statistics.fmean(times.gaps_ms), percentile(times.gaps_ms, 0.99)
    return (first_ms, mean_ms, p99_ms), per_thousand(spent_s, STREAMS)


def _in_order(latency: Latency) -> Sequence[float]:
    return latency.p50_ms, latency.p95_ms, latency.p99_ms
