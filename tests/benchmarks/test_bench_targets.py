"""Tests of what `make bench` calls reached and what broken."""

from __future__ import annotations

import pytest

from benchmarks import rows
from benchmarks.calls import Size
from benchmarks.figures import Contender, Reading, Readings, Row
from benchmarks.plan import full, in_turn, quick
from benchmarks.processes import Cores
from benchmarks.targets import State, Target, judge, targets, verdicts

PLAN = full(Cores(gateway=0, upstream=1, load=1))
REQUESTS = rows.throughput(Size.SMALL, 16)


def readings_of(row: Row, **values: float) -> Readings:
    readings = Readings()
    readings.add(Reading(row, Contender[name], value) for name, value in values.items())
    return readings


@pytest.mark.parametrize(
    ("ailb", "is_least", "state"),
    [
        (1000, True, State.REACHED),
        (999, True, State.BROKEN),
        (1000, False, State.REACHED),
        (1001, False, State.BROKEN),
    ],
)
def test_a_target_is_so_many_times_the_peers_figure(
    ailb: float, is_least: bool, state: State
) -> None:
    target = Target(REQUESTS, 10, Contender.LITELLM, is_least=is_least)
    verdict = judge(target, readings_of(REQUESTS, AILB=ailb, LITELLM=100))
    assert (verdict.state, verdict.found) == (state, ailb / 100)


@pytest.mark.parametrize(
    ("grown_mib", "state"),
    [(30.0, State.REACHED), (30.1, State.BROKEN), (-1.0, State.REACHED)],
)
def test_growth_is_bounded_by_itself(grown_mib: float, state: State) -> None:
    row = rows.growth(PLAN)
    found = verdicts(readings_of(row, AILB=grown_mib), PLAN, "daphne")
    judged = [each for each in found if each.state is not State.UNKNOWN]
    assert [(each.state, each.found) for each in judged] == [(state, grown_mib)]


@pytest.mark.parametrize(("ratio", "state"), [(1.1, "PASS"), (1.11, "BROKEN")])
def test_many_rows_cost_a_request_a_tenth_more_at_most(
    ratio: float, state: str
) -> None:
    found = verdicts(readings_of(rows.SCALING_KEYS, AILB=ratio), PLAN, "daphne")
    assert found[-1].name == f"{rows.SCALING_KEYS.title} <= 1.1 ratio"
    assert found[-1].state == state


def test_without_the_peers_figure_there_is_no_verdict() -> None:
    target = Target(REQUESTS, 10, Contender.LITELLM, is_least=True)
    verdict = judge(target, readings_of(REQUESTS, AILB=1000))
    assert (verdict.state, verdict.found) == (State.UNKNOWN, None)


@pytest.mark.parametrize(
    ("server", "times"),
    [("daphne", [10, 1.3]), ("granian", [15, 2]), ("uvicorn", [10, 1.3])],
)
def test_each_server_has_its_own_factors(server: str, times: list[float]) -> None:
    found = [each for each in targets(PLAN, server) if each.row == REQUESTS]
    assert [each.factor for each in found] == times
    assert [each.peer for each in found] == [Contender.LITELLM, Contender.PORTKEY]
    assert all(each.is_least for each in found)


def test_every_target_is_about_a_row_of_its_own_plan() -> None:
    for plan in (PLAN, quick(PLAN.cores)):
        measured = {rows.throughput(size, count) for size, count in plan.cells}
        assert REQUESTS in measured
        names = [each.name for each in targets(plan, "daphne")]
        assert len(set(names)) == len(names)


def test_each_round_begins_with_another_one() -> None:
    assert [in_turn("abc", number) for number in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]
