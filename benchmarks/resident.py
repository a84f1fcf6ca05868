"""Resident memory: of servers that wait, and of the same after much work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks import client, rows
from benchmarks.calls import Call
from benchmarks.figures import Contender, Reading, Row
from benchmarks.load import drive
from benchmarks.plan import Plan
from benchmarks.processes import (
    proportional_tree_mib,
    resident_mib,
    resident_tree_mib,
    wait_until_idle,
)
from benchmarks.servers import Server
from benchmarks.upstream import Answer

_CONNECTIONS = 16
_SLICE_S = 2


def measure_idle(servers: Sequence[Server]) -> Iterator[Reading]:
    """Look at servers that have answered their checks and nothing else."""
    for server in servers:
        if server.pid is None or server.worker_pid is None:
            continue
        wait_until_idle(server.pid)
        who = server.contender
        tree_mib = proportional_tree_mib(server.pid)
        yield Reading(rows.IDLE_WORKER, who, resident_mib(server.worker_pid))
        yield Reading(rows.IDLE_TREE, who, tree_mib)
        yield Reading(rows.IDLE_TREE_SUM, who, resident_tree_mib(server.pid))


def measure_growth(plan: Plan, servers: Sequence[Server]) -> Iterator[Reading]:
    """Work AILB and its peers hard; give by how much the worker grew."""
    for server in servers:
        if server.contender is Contender.AILB:
            yield from _grow_ailb(plan, server)
        elif server.contender in {Contender.LITELLM, Contender.PORTKEY}:
            before_mib = _at_rest_mib(server)
            ask(plan, server.call(Answer.WHOLE), plan.peer_requests)
            yield _growth(rows.peer_growth(plan), server, before_mib)


def ask(plan: Plan, call: Call, count: int) -> None:
    """Send at least so many requests."""
    while count > 0:
        count -= drive(
            call, connections=_CONNECTIONS, seconds=_SLICE_S, core=plan.cores.load
        ).requests


def _grow_ailb(plan: Plan, server: Server) -> Iterator[Reading]:
    call = server.call(Answer.WHOLE)
    before_mib = _at_rest_mib(server)
    ask(plan, call, plan.requests)
    client.abort_streams(server.call(Answer.PACED), plan.aborted_streams)
    yield _growth(rows.growth(plan), server, before_mib)
    before_mib = _at_rest_mib(server)
    ask(plan, call, plan.more_requests)
    yield _growth(rows.further_growth(plan), server, before_mib)


def _growth(row: Row, server: Server, before_mib: float) -> Reading:
    return Reading(row, server.contender, _at_rest_mib(server) - before_mib)


def _at_rest_mib(server: Server) -> float:
    assert server.pid is not None
    assert server.worker_pid is not None
    wait_until_idle(server.pid)
    return resident_mib(server.worker_pid)
