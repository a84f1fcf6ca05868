"""Requests and stream events per second: closed loops, one core a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks import rows
from benchmarks.calls import Call, Size
from benchmarks.figures import Reading, Row
from benchmarks.load import NothingAnswered, Run, drive
from benchmarks.plan import Plan, in_turn
from benchmarks.servers import Server, per_thousand
from benchmarks.upstream import EVENTS, Answer

STREAM_CONNECTIONS = 16
MOST_S = 16
_ROUNDS = 3  # answers a connection, at least


def measure(plan: Plan, servers: Sequence[Server], *, number: int) -> Iterator[Reading]:
    """Drive every server in turn, cell by cell."""
    for size, connections in plan.cells:
        row = rows.throughput(size, connections)
        for server in in_turn(servers, number):
            yield _drive(plan, server, row, size, connections)
    for server in in_turn(servers, number):
        yield _stream(plan, server)


def _drive(
    plan: Plan, server: Server, row: Row, size: Size, connections: int
) -> Reading:
    call = server.call(Answer.WHOLE, size)
    run, cpu_s = _drive_long_enough(plan, server, call, connections)
    return Reading(row, server.contender, run.requests_per_s, cpu_s)


def _stream(plan: Plan, server: Server) -> Reading:
    call = server.call(Answer.BURST)
    run, cpu_s = _drive_long_enough(plan, server, call, STREAM_CONNECTIONS)
    return Reading(rows.BURST, server.contender, run.requests_per_s * EVENTS, cpu_s)


def _drive_long_enough(
    plan: Plan, server: Server, call: Call, connections: int
) -> tuple[Run, float | None]:
    """Drive a slow server longer: what is still under way at the end does not count."""
    seconds = plan.seconds
    work = partial(drive, call, connections=connections, core=plan.cores.load)
    while True:
        try:
            run, spent_s = server.watch(partial(work, seconds=seconds))
        except NothingAnswered:
            if seconds >= MOST_S:
                raise
        else:
            if run.requests >= _ROUNDS * connections or seconds >= MOST_S:
                return run, per_thousand(spent_s, run.requests)
        seconds = min(seconds * 2, MOST_S)
