"""Which of a model's many deployments a request looks at."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from gateway.dispatch.choice import SAMPLE, sample
from gateway.kinds import Algorithm
from gateway.snapshot import Model, Prices, Strategy
from gateway.snapshot_compiler import MANY_DEPLOYMENTS, with_lead
from tests.gateway.routing.rows import deployment


def model_of(
    count: int, algorithm: Algorithm = Algorithm.LOAD_BALANCED, behind: int = 0
) -> Model:
    rows = [deployment(n, priority=0) for n in range(count)]
    rows += [deployment(count + n, priority=1) for n in range(behind)]
    return with_lead(
        Model(name="m", strategy=Strategy("s", algorithm), deployments=tuple(rows))
    )


def drawn(model: Model, draw: random.Random) -> list[int]:
    few = sample(model, draw.random)
    assert few is not None
    return [each.id for each in few]


def test_each_is_drawn_as_often_as_any_other_and_none_twice_at_once() -> None:
    model, draw = model_of(40), random.Random(7)  # noqa: S311 - no secret
    counts: Counter[int] = Counter()
    for _ in range(8_000):
        ids = drawn(model, draw)
        assert len(set(ids)) == SAMPLE
        counts.update(ids)
    assert set(counts) == set(range(40))
    assert max(counts.values()) < 1.2 * min(counts.values())


def test_the_lowest_priority_comes_first() -> None:
    model, draw = model_of(10, behind=30), random.Random(1)  # noqa: S311 - no secret
    assert {n for _ in range(100) for n in drawn(model, draw)} == set(range(10))


@pytest.mark.parametrize("constant", [0.0, 0.5, 0.9999999999999999])
def test_a_draw_that_never_changes_still_gives_different_ones(constant: float) -> None:
    few = sample(model_of(40), lambda: constant)
    assert few is not None
    assert len({each.id for each in few}) == SAMPLE


@pytest.mark.parametrize(
    "model",
    [
        model_of(MANY_DEPLOYMENTS - 1),
        model_of(SAMPLE, behind=60),
        *(
            model_of(40, algorithm)
            for algorithm in Algorithm
            if algorithm not in {Algorithm.LOAD_BALANCED, Algorithm.LATENCY_OPTIMIZED}
        ),
        replace(model_of(40), split=(("v1", 50), ("v2", 50))),
    ],
)
def test_all_are_looked_at_where_a_few_would_not_do(model: Model) -> None:
    assert sample(model, random.random) is None


def test_a_model_knows_the_prices_of_all_its_deployments_each_once() -> None:
    cheap, dear = (1.0, 2.0), (3.0, 4.0)
    rows = [deployment(n, price=cheap) for n in range(40)]
    made = replace(model_of(1), deployments=(*rows, deployment(41, price=dear)))
    assert made.prices == (Prices(*cheap), Prices(*dear))
