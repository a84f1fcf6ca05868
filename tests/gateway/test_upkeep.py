"""Work in bounded parts: when a step is due, and how long batches go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from gateway.upkeep import BATCHES_LIMIT_S, Step, Upkeep, batches
from rag.errors import VectorStoreUnavailable

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_step_with_more_to_do_is_due_again_at_once() -> None:
    left = iter([True, False])
    done = list[datetime]()

    def work(now: datetime) -> bool:
        done.append(now)
        return next(left)

    upkeep = Upkeep("this", [Step("work", work, interval_s=3600.0)])
    for _ in range(3):
        upkeep.do_round(NOW)
    assert done == [NOW, NOW]


def test_a_step_that_waits_stops_no_other_and_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done = list[datetime]()

    def wait(now: datetime) -> bool:
        raise VectorStoreUnavailable("It is away.")

    def work(now: datetime) -> bool:
        done.append(now)
        return False

    steps = [Step("wait", wait, interval_s=0.0), Step("work", work, interval_s=0.0)]
    upkeep = Upkeep("this", steps)
    for _ in range(3):
        upkeep.do_round(NOW)
    assert len(done) == 3
    told = [record for record in caplog.records if record.message == "this waits"]
    assert [(each.__dict__["step"], each.__dict__["reason"]) for each in told] == [
        ("wait", "It is away.")
    ]


@pytest.mark.parametrize(
    ("results", "calls"),
    [([0], 1), ([3], 1), ([5, 5, 2], 3), ([5, 0], 2)],
)
def test_batches_end_with_one_that_is_not_full(results: list[int], calls: int) -> None:
    left = iter(results)
    done = []

    def work() -> int:
        done.append(1)
        return next(left)

    assert not batches(work, 5)
    assert len(done) == calls


def test_batches_leave_time_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, BATCHES_LIMIT_S])
    tick: Callable[[], float] = lambda: next(clock)  # noqa: E731 - a clock
    monkeypatch.setattr(time, "monotonic", tick)
    full = iter([5, 5])
    assert batches(lambda: next(full), 5)
    assert next(full, None) is None
