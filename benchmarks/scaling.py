"""Whether a request costs the same with many keys, deployments and models as with few."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from benchmarks import gateway, rows
from benchmarks.calls import refuse_wrong_answer
from benchmarks.figures import Contender, Reading, Row
from benchmarks.load import drive
from benchmarks.plan import Plan
from benchmarks.processes import BenchmarkFailed, cpu_seconds
from benchmarks.servers import Server
from benchmarks.upstream import Answer

FEW = "rows.make_few()"
SINGLE = {
    rows.SCALING_KEYS: "rows.make_many(keys=True, deployments=False, models=False)",
    rows.SCALING_DEPLOYMENTS: (
        "rows.make_many(keys=False, deployments=True, models=False)"
    ),
    rows.SCALING_MODELS: "rows.make_many(keys=False, deployments=False, models=True)",
}
TOGETHER = {
    rows.SCALING_ALL: "rows.make_many(keys=True, deployments=True, models=True)"
}
_CONNECTIONS = 16
_WARM_UP_S = 2


def measure(
    plan: Plan,
    folder: Path,
    urls: Mapping[Answer, str],
    grown: Mapping[Row, str],
) -> Iterator[Reading]:
    """Run one AILB with few rows and those with many, and drive them in pairs."""
    with ExitStack() as stack:
        few, *many = (
            stack.enter_context(_serving(plan, folder / f"scaled-{n}", urls, code))
            for n, code in enumerate((FEW, *grown.values()))
        )
        for server in (few, *many):
            _warm_up(plan, server)
        for row, server in zip(grown, many, strict=True):
            for number in range(plan.pairs):
                yield _pair(plan, row, (few, server), is_swapped=number % 2 == 1)


def _serving(
    plan: Plan, folder: Path, urls: Mapping[Answer, str], code: str
) -> AbstractContextManager[Server]:
    folder.mkdir()
    return gateway.serving(folder, urls, core=plan.cores.gateway, more_rows=[code])


def _warm_up(plan: Plan, server: Server) -> None:
    call = server.call(Answer.WHOLE)
    refuse_wrong_answer(call, is_stream=False)
    core = plan.cores.load
    drive(call, connections=_CONNECTIONS, seconds=_WARM_UP_S, core=core)


def _pair(plan: Plan, row: Row, pair: Sequence[Server], *, is_swapped: bool) -> Reading:
    """Drive both in turn; the worker's own processor time counts."""
    order = reversed(pair) if is_swapped else pair
    cpu_s = {server.pid: _cpu_s(plan, server) for server in order}
    few_s, many_s = (cpu_s[server.pid] for server in pair)
    if few_s <= 0:
        raise BenchmarkFailed("a run was too short for the clock of processor time")
    return Reading(row, Contender.AILB, many_s / few_s, many_s)


def _cpu_s(plan: Plan, server: Server) -> float:
    assert server.worker_pid is not None
    before_s = cpu_seconds(server.worker_pid)
    run = drive(
        server.call(Answer.WHOLE),
        connections=_CONNECTIONS,
        seconds=plan.seconds,
        core=plan.cores.load,
    )
    return (cpu_seconds(server.worker_pid) - before_s) / run.requests * 1000
