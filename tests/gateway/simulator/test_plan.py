"""The plan: fault specs, their consumption, and the behaviour between them."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from gateway.simulator import Behaviour, Fault, FaultKind, FaultSpecError, Plan
from gateway.simulator.plan import FAULT_HELP

WORDS = st.from_regex(r"[A-Za-z][A-Za-z0-9_. ]{0,20}[A-Za-z0-9]", fullmatch=True)
STATUS_FAULTS = st.builds(
    Fault,
    kind=st.just(FaultKind.STATUS),
    amount=st.integers(400, 599),
    code=st.none() | WORDS,
    param=st.none() | WORDS,
    message=st.none() | WORDS,
    retry_after=st.none() | WORDS | st.integers(-1, 99999).map(str),
)
EVENT_FAULTS = st.builds(
    Fault,
    kind=st.sampled_from(
        [
            FaultKind.RESET_AT,
            FaultKind.FIN_AT,
            FaultKind.STALL_AFTER,
            FaultKind.DIE_AFTER,
        ]
    ),
    amount=st.integers(0, 10_000_000),
)


@given(STATUS_FAULTS | EVENT_FAULTS)
def test_a_fault_is_read_back_from_its_own_spec(fault: Fault) -> None:
    assert Fault.parse(fault.spec) == fault


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("ok", Fault()),
        ("hang", Fault(FaultKind.HANG)),
        ("reset_at:120", Fault(FaultKind.RESET_AT, 120)),
        ("slow_headers:0.5", Fault(FaultKind.SLOW_HEADERS, 0.5)),
        ("drip:1", Fault(FaultKind.DRIP, 1)),
        (
            "status:429:retry_after=2",
            Fault(FaultKind.STATUS, 429, retry_after="2"),
        ),
        (
            "status:429:retry_after=Wed, 21 Oct 2026 07:28:00 GMT",
            Fault(FaultKind.STATUS, 429, retry_after="Wed, 21 Oct 2026 07:28:00 GMT"),
        ),
        (
            "status:404:model_not_found",
            Fault(FaultKind.STATUS, 404, code="model_not_found"),
        ),
        (
            "status:400:code=unsupported_parameter:param=temperature",
            Fault(
                FaultKind.STATUS, 400, code="unsupported_parameter", param="temperature"
            ),
        ),
    ],
)
def test_a_spec_says_kind_amount_and_options(spec: str, expected: Fault) -> None:
    assert Fault.parse(spec) == expected


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "explode",
        "hang:3",
        "reset_at",
        "reset_at:x",
        "reset_at:-1",
        "drip:0",
        "slow_headers:inf",
        "slow_headers:nan",
        "status",
        "status:200",
        "status:429:colour=red",
        "hang:retry_after=2",
    ],
)
def test_a_spec_nobody_can_act_on_is_refused_with_its_text(spec: str) -> None:
    with pytest.raises(FaultSpecError, match=r"fault .*: "):
        Fault.parse(spec)


def test_every_kind_is_explained_in_the_help() -> None:
    assert set(FAULT_HELP) == set(FaultKind)
    assert all(text.startswith(kind) for kind, text in FAULT_HELP.items())


def test_a_plan_is_consumed_one_step_a_request_and_then_says_nothing() -> None:
    plan = Plan(["status:500", "ok"])
    taken = [plan.take(), plan.take(), plan.take()]
    assert taken == [Fault(FaultKind.STATUS, 500), Fault(), None]


@given(st.lists(EVENT_FAULTS, min_size=1, max_size=5), st.integers(1, 30))
def test_a_repeating_plan_goes_round(steps: list[Fault], requests: int) -> None:
    plan = Plan(steps, repeat=True)
    taken = [plan.take() for _ in range(requests)]
    assert taken == [steps[i % len(steps)] for i in range(requests)]


def test_a_bad_step_leaves_the_old_plan_in_place() -> None:
    plan = Plan(["hang"])
    with pytest.raises(FaultSpecError):
        plan.replace(["ok", "explode"])
    assert plan.remaining == (Fault(FaultKind.HANG),)


def test_a_stale_connection_waits_for_a_reused_one() -> None:
    plan = Plan(["stale_keepalive", "status:500"])
    assert plan.take(reused_connection=False) == Fault()
    assert plan.take(reused_connection=True) == Fault(FaultKind.STALE_KEEPALIVE)
    assert plan.take(reused_connection=False) == Fault(FaultKind.STATUS, 500)


@given(st.floats(0, 10), st.floats(0, 10), st.floats(0, 1))
def test_latency_stays_within_its_jitter_and_above_nothing(
    latency_s: float, jitter_s: float, draw: float
) -> None:
    delay_s = Behaviour(latency_s=latency_s, jitter_s=jitter_s).delay_s(draw)
    assert max(0.0, latency_s - jitter_s) <= delay_s <= latency_s + jitter_s


def test_the_error_rate_is_the_share_of_draws_that_fail() -> None:
    behaviour = Behaviour(error_rate=0.25, error_status=503)
    faults = [behaviour.chance_fault(draw / 100) for draw in range(100)]
    assert faults.count(Fault(FaultKind.STATUS, 503)) == 25
    assert faults.count(Fault()) == 75


@pytest.mark.parametrize(
    "values",
    [
        {"latency_s": -1},
        {"error_rate": 1.5},
        {"error_status": 200},
        {"answer_tokens": -1},
    ],
)
def test_a_behaviour_that_means_nothing_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        Behaviour(**values)  # type: ignore[arg-type] # a table of bad values
