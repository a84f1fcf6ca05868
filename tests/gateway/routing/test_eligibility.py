"""Eligibility: who may serve a request now, and why not the others."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from gateway.kinds import Fault, Operation
from gateway.routing.availability import Admission
from gateway.routing.eligibility import Reason, Selection, select
from gateway.routing.health import HealthTable
from gateway.routing.needs import Needs
from gateway.snapshot import Capabilities
from tests.gateway.routing.rows import (
    CHAT,
    begin,
    deployment,
    fail,
    model,
    provider,
    strategy,
    trip,
)


def chosen(selection: Selection) -> list[int]:
    return [deployment.id for deployment in selection.candidates]


def reasons(selection: Selection) -> dict[int, Reason]:
    return {deployment.id: reason for deployment, reason in selection.excluded}


def pick(
    *deployments, needs=CHAT, health=None, now_s=0.0, requires_price=False
) -> Selection:
    return select(
        model(*deployments),
        needs,
        health=health or HealthTable(),
        now_s=now_s,
        requires_price=requires_price,
    )


def test_everything_ready_is_a_candidate_in_the_order_of_the_model():
    selection = pick(deployment(2), deployment(1))
    assert chosen(selection) == [2, 1]
    assert (selection.excluded, selection.retry_after_s) == ((), None)


def test_an_unknown_capability_may_serve_and_a_missing_one_may_not():
    needs = Needs(Operation.CHAT, frozenset({"tools"}))
    selection = pick(
        deployment(1),
        deployment(2, capabilities=Capabilities(tools=False)),
        deployment(3, capabilities=Capabilities(tools=True)),
        needs=needs,
    )
    assert chosen(selection) == [1, 3]
    assert reasons(selection) == {2: Reason.INCAPABLE}


@pytest.mark.parametrize(
    ("operation", "expected"),
    [(Operation.CHAT, [1, 3]), (Operation.EMBEDDINGS, [2, 3])],
)
def test_the_operation_is_a_capability(operation, expected):
    selection = pick(
        deployment(1, capabilities=Capabilities(embeddings=False)),
        deployment(2, capabilities=Capabilities(chat=False)),
        deployment(3),
        needs=Needs(operation),
    )
    assert chosen(selection) == expected


def test_a_model_that_cannot_reason_is_not_asked_to():
    selection = pick(
        deployment(1, capabilities=Capabilities(reasoning="none")),
        deployment(2, capabilities=Capabilities(reasoning="budget")),
        needs=Needs(Operation.CHAT, frozenset({"reasoning"})),
    )
    assert chosen(selection) == [2]


def test_only_a_prompt_too_long_beyond_the_error_of_the_estimate_is_kept_away():
    selection = pick(
        deployment(1, context_window=1000),
        deployment(2, context_window=1001),
        deployment(3),
        needs=Needs(Operation.CHAT, prompt_tokens=1251),
    )
    assert chosen(selection) == [2, 3]
    assert reasons(selection) == {1: Reason.CONTEXT_TOO_SMALL}


def test_an_unreadable_credential_is_never_used():
    locked = deployment(1, at=provider(is_credential_unreadable=True))
    selection = pick(locked)
    assert reasons(selection) == {1: Reason.CREDENTIAL_UNREADABLE}
    assert selection.retry_after_s is None


@pytest.mark.parametrize(
    ("prices", "needs", "is_known"),
    [
        ((1.0, 2.0), CHAT, True),
        ((0.0, 0.0), CHAT, True),
        ((1.0, None), CHAT, False),
        ((None, 2.0), CHAT, False),
        ((1.0, None), Needs(operation=Operation.EMBEDDINGS), True),
    ],
)
def test_where_a_price_is_required_those_without_one_are_left_out(
    prices, needs, is_known
):
    row = deployment(1, price=prices)
    selection = pick(row, needs=needs, requires_price=True)
    assert reasons(selection) == ({} if is_known else {1: Reason.PRICE_UNKNOWN})
    assert chosen(pick(row, needs=needs)) == [1]


def test_the_state_of_health_is_the_reason():
    a, b, c, d = (deployment(number) for number in range(1, 5))
    full = deployment(5, at=provider(5, max_concurrency=1))
    health = HealthTable()
    fail(health, a, Fault.RATE_LIMITED)
    trip(health, b)
    begin(health, full)
    trip(health, d, now_s=-5.0)
    selection = pick(a, b, c, d, full, health=health)
    assert chosen(selection) == [3, 4]
    assert selection.half_open == {4}
    assert reasons(selection) == {
        1: Reason.COOLING,
        2: Reason.OPEN,
        5: Reason.SATURATED,
    }


def test_when_everything_cools_the_shortest_wait_is_told():
    a, b = deployment(1), deployment(2)
    health = HealthTable()
    fail(health, a, Fault.RATE_LIMITED, retry_after_s=30.0)
    fail(health, b, Fault.RATE_LIMITED, retry_after_s=20.0)
    selection = pick(a, b, health=health, now_s=5.0)
    assert (chosen(selection), selection.retry_after_s) == ([], 15.0)


def test_the_wait_is_at_least_a_second():
    full = deployment(1, at=provider(max_concurrency=1))
    health = HealthTable()
    begin(health, full)
    assert pick(full, health=health).retry_after_s == 1.0


def test_in_panic_one_deployment_of_each_provider_is_probed_soonest_first():
    shared = provider(1)
    late = deployment(1, at=shared)
    soon = deployment(2, at=shared)
    other = deployment(3)
    health = HealthTable()
    trip(health, soon, now_s=0.0)
    trip(health, other, now_s=1.0)
    trip(health, late, now_s=2.0)
    selection = pick(late, other, soon, health=health, now_s=3.0)
    assert chosen(selection) == [2, 3]
    assert selection.admission is Admission.PANIC
    assert reasons(selection) == {1: Reason.OPEN}


def test_in_panic_the_next_probe_waits_a_second_and_others_are_told_to_wait():
    a, b = deployment(1), deployment(2)
    health = HealthTable()
    trip(health, a)
    fail(health, b, Fault.RATE_LIMITED, retry_after_s=60.0)
    first = pick(a, b, health=health, now_s=1.0)
    assert chosen(first) == [1]
    fail(health, a, now_s=1.0, admission=first.admission)
    second = pick(a, b, health=health, now_s=1.5)
    assert (chosen(second), second.retry_after_s) == ([], 3.5)
    assert chosen(pick(a, b, health=health, now_s=2.0)) == [1]


def test_there_is_no_panic_while_a_deployment_is_only_busy():
    a, busy = deployment(1), deployment(2, at=provider(2, max_concurrency=1))
    health = HealthTable()
    trip(health, a)
    begin(health, busy)
    assert chosen(pick(a, busy, health=health, now_s=1.0)) == []


def test_a_models_only_deployment_is_probed_even_while_open():
    a, health = deployment(1), HealthTable()
    trip(health, a)
    for _ in range(2):
        selection = pick(a, health=health, now_s=1.0)
        assert chosen(selection) == [1]
        begin(health, a, 1.0, admission=selection.admission)
    selection = pick(a, health=health, now_s=1.0)
    assert (chosen(selection), selection.retry_after_s) == ([], 1.0)


def test_a_models_only_deployment_may_be_retried_by_the_request_that_tripped_it():
    a, health = deployment(1), HealthTable()
    selection = pick(a, health=health)
    trip(health, a)
    begin(health, a, admission=selection.admission, is_retry=True)


def test_a_models_only_deployment_still_cools():
    a, health = deployment(1), HealthTable()
    fail(health, a, Fault.RATE_LIMITED, retry_after_s=30.0)
    assert pick(a, health=health).retry_after_s == 30.0


events = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(Fault), st.floats(0.0, 3.0)),
    max_size=60,
)


@given(events, st.sets(st.integers(0, 3)))
def test_every_deployment_is_either_a_candidate_that_may_begin_or_has_a_reason(
    failures, priced
):
    rows = [
        deployment(number, price=(1.0, 1.0) if number in priced else (None, None))
        for number in range(4)
    ]
    health, now_s = HealthTable(), 0.0
    for index, fault, wait_s in failures:
        now_s += wait_s
        if health.admits(rows[index], now_s, admission=Admission.NORMAL):
            fail(health, rows[index], fault, now_s)
    selection = pick(*rows, health=health, now_s=now_s, requires_price=True)
    assert sorted(chosen(selection) + list(reasons(selection))) == [0, 1, 2, 3]
    assert set(chosen(selection)) <= priced
    for candidate in selection.candidates:
        begin(
            health,
            candidate,
            now_s,
            strategy=strategy(),
            admission=selection.admission,
        )
    if not selection.candidates and priced:
        assert selection.retry_after_s is not None
        assert selection.retry_after_s >= 1.0


@given(st.lists(st.floats(0.0, 0.6), max_size=100))
def test_a_total_outage_costs_a_provider_at_most_one_early_probe_a_second(waits):
    rows = [deployment(1), deployment(2)]
    health, now_s = HealthTable(), 0.0
    early: dict[int, list[float]] = {1: [], 2: []}
    for row in rows:
        trip(health, row)
    for wait_s in waits:
        now_s += wait_s
        selection = pick(*rows, health=health, now_s=now_s)
        for row in selection.candidates:
            if selection.admission is Admission.PANIC:
                early[row.id].append(now_s)
            fail(health, row, now_s=now_s, admission=selection.admission)
    for times in early.values():
        gaps = [later - sooner for sooner, later in pairwise(times)]
        assert all(gap >= 1.0 for gap in gaps)
