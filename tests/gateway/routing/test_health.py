"""Live health: in-flight, outcomes, availability, housekeeping."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from gateway.kinds import Fault
from gateway.routing.availability import Admission, State
from gateway.routing.health import Flight, HealthTable
from tests.gateway.routing.rows import (
    begin,
    deployment,
    error,
    fail,
    middle,
    model,
    provider,
    snapshot,
    strategy,
    succeed,
    trip,
)

FAILURES = [
    Fault.UNREACHABLE,
    Fault.TIMEOUT,
    Fault.SERVER_ERROR,
    Fault.UNAVAILABLE,
    Fault.INVALID_RESPONSE,
    Fault.INTERRUPTED,
]
CALLER_FAULTS = [
    Fault.CONTEXT_LENGTH,
    Fault.UNSUPPORTED_PARAMETER,
    Fault.CONTENT_POLICY,
    Fault.REJECTED,
]
A, B = deployment(1), deployment(2)


def state(health: HealthTable, of=A, now_s: float = 0.0) -> State:
    return health.availability(of, now_s).state


def predicted_s(health: HealthTable, of=A, now_s: float = 0.0) -> float:
    return health.predicted_s(of, now_s, output_tokens=0, decay_s=60.0)


def test_what_was_never_tried_is_ready():
    assert state(HealthTable()) is State.READY


@pytest.mark.parametrize("fault", FAILURES)
def test_five_of_these_in_a_row_open_the_breaker(fault):
    health = HealthTable()
    for _ in range(5):
        fail(health, A, fault)
    assert health.availability(A, 0.0).until_s == 5.0
    assert state(health) is State.OPEN
    assert state(health, B) is State.READY


@pytest.mark.parametrize("fault", CALLER_FAULTS)
def test_a_fault_of_the_caller_counts_as_a_success(fault):
    health = HealthTable()
    for _ in range(4):
        fail(health, A)
    fail(health, A, fault)
    fail(health, A)
    assert state(health) is State.READY


@pytest.mark.parametrize("fault", CALLER_FAULTS)
def test_a_fast_refusal_of_the_request_is_no_sample_of_latency(fault):
    health = HealthTable()
    fail(health, A, fault)
    assert predicted_s(health) == 1.0


def test_a_conflict_counts_in_the_rate_only():
    health = HealthTable()
    for _ in range(9):
        fail(health, A, Fault.CONFLICT)
    assert state(health) is State.READY
    fail(health, A, Fault.CONFLICT)
    assert state(health) is State.OPEN


def test_a_stale_connection_counts_only_when_the_retry_meets_one_too():
    health = HealthTable()
    for _ in range(20):
        fail(health, A, Fault.STALE_CONNECTION)
    assert state(health) is State.READY
    assert predicted_s(health) == 1.0
    for _ in range(5):
        fail(health, A, Fault.STALE_CONNECTION, is_retry=True)
    assert state(health) is State.OPEN


@pytest.mark.parametrize(
    ("retry_after_s", "wait_s"),
    [(None, 5), (0, 1), (-1, 1), (20, 20), (99_999, 300), (float("nan"), 5)],
)
def test_a_429_cools_the_deployment_for_what_was_asked(retry_after_s, wait_s):
    health = HealthTable()
    fail(health, A, Fault.RATE_LIMITED, 100.0, retry_after_s=retry_after_s)
    cooling = health.availability(A, 100.0)
    assert (cooling.state, cooling.until_s) == (State.COOLING, 100.0 + wait_s)
    assert cooling.fault is Fault.RATE_LIMITED
    assert state(health, A, 100.0 + wait_s) is State.READY


def test_a_deployment_that_cools_behind_an_open_breaker_is_back_after_the_longer_wait():
    health = HealthTable()
    flight = begin(health, A)
    trip(health, A)
    limited = error(Fault.RATE_LIMITED, retry_after_s=2.0)
    health.failed(flight, limited, now_s=0.0, draw=middle)
    cooling = health.availability(A, 0.0)
    assert (cooling.state, cooling.until_s) == (State.COOLING, 5.0)


def test_a_503_cools_only_when_it_says_for_how_long():
    health = HealthTable()
    fail(health, A, Fault.UNAVAILABLE)
    assert state(health) is State.READY
    fail(health, A, Fault.UNAVAILABLE, retry_after_s=20.0)
    assert health.availability(A, 0.0).until_s == 20.0


def test_a_missing_model_cools_that_deployment_for_a_minute():
    health = HealthTable()
    fail(health, A, Fault.MODEL_MISSING)
    assert health.availability(A, 0.0).until_s == 60.0
    assert state(health, replace(A, upstream_model="other")) is State.READY


@pytest.mark.parametrize("fault", [Fault.QUOTA_EXHAUSTED, Fault.CREDENTIAL_REJECTED])
def test_a_refused_account_cools_the_whole_provider(fault):
    health = HealthTable()
    fail(health, A, fault)
    sibling = replace(A, id=9, upstream_model="other")
    assert health.availability(sibling, 0.0).until_s == 60.0
    assert state(health, B) is State.READY


def test_a_success_after_a_refusal_starts_the_doubling_anew():
    health = HealthTable()
    fail(health, A, Fault.CREDENTIAL_REJECTED, 0.0)
    fail(health, A, Fault.CREDENTIAL_REJECTED, 60.0)
    assert health.availability(A, 60.0).until_s == 180.0
    succeed(health, A, 180.0)
    fail(health, A, Fault.CREDENTIAL_REJECTED, 200.0)
    assert health.availability(A, 200.0).until_s == 260.0


@pytest.mark.parametrize("admission", Admission)
def test_no_admission_cuts_a_cooldown_short(admission):
    health = HealthTable()
    fail(health, A, Fault.RATE_LIMITED, retry_after_s=30.0)
    assert health.begin(A, 29.9, strategy=strategy(), admission=admission) is None
    assert health.begin(A, 30.0, strategy=strategy(), admission=admission)


def test_a_half_open_breaker_takes_one_request_at_a_time_and_closes_after_two():
    health = HealthTable()
    trip(health, A)
    assert health.begin(A, 4.9, strategy=strategy()) is None
    assert state(health, A, 5.0) is State.PROBE
    probe = begin(health, A, 5.0)
    assert state(health, A, 5.0) is State.OPEN
    assert health.begin(A, 5.0, strategy=strategy()) is None
    health.cancelled(probe, 5.5)
    succeed(health, A, 6.0)
    succeed(health, A, 7.0)
    assert health.availability(A, 8.0).state is State.READY


def test_a_recovered_deployment_opens_up_while_its_first_streams_still_flow():
    health = HealthTable()
    trip(health, A)
    for now_s in (5.0, 6.0):
        health.answering(begin(health, A, now_s), now_s)
    assert health.availability(A, 6.0).state is State.READY
    assert health.in_flight(A, 6.0) == 2


def test_a_model_alone_gets_two_probes_at_a_time_while_open():
    health = HealthTable()
    trip(health, A)
    probes = [begin(health, A, 1.0, admission=Admission.ALONE) for _ in range(2)]
    assert health.begin(A, 1.0, strategy=strategy(), admission=Admission.ALONE) is None
    health.cancelled(probes[0], 1.0)
    begin(health, A, 1.0, admission=Admission.ALONE)


def test_in_panic_a_provider_gets_one_early_probe_a_second():
    health = HealthTable()
    sibling = replace(A, id=9, upstream_model="other")
    trip(health, A)
    trip(health, sibling)
    flight = begin(health, A, 1.0, admission=Admission.PANIC)
    health.cancelled(flight, 1.0)
    panic = partial(
        health.begin, sibling, strategy=strategy(), admission=Admission.PANIC
    )
    assert panic(now_s=1.9) is None
    assert panic(now_s=2.0)


def test_the_cap_of_a_provider_counts_all_its_deployments():
    capped = provider(max_concurrency=2)
    first, second = deployment(1, at=capped), deployment(2, at=capped)
    health = HealthTable()
    flights = [begin(health, first), begin(health, second)]
    assert health.provider_in_flight(capped) == 2
    assert state(health, first) is State.SATURATED
    assert health.begin(second, 0.0, strategy=strategy()) is None
    health.cancelled(flights[0], 0.0)
    assert state(health, second) is State.READY


def test_only_the_first_outcome_of_an_attempt_counts():
    health = HealthTable()
    flight = begin(health, A)
    health.failed(flight, error(Fault.SERVER_ERROR), now_s=0.0, draw=middle)
    health.cancelled(flight, 0.0)
    assert health.in_flight(A, 0.0) == 0


def test_a_client_that_leaves_is_no_sample():
    health = HealthTable()
    for _ in range(20):
        health.cancelled(begin(health, A), 0.01)
    assert state(health) is State.READY
    assert predicted_s(health) == 1.0


@pytest.mark.parametrize(
    ("fault", "retry_after_s", "penalty_s"),
    [
        (Fault.SERVER_ERROR, None, 5.0),
        (Fault.RATE_LIMITED, None, 5.0),
        (Fault.RATE_LIMITED, 2.0, 5.0),
        (Fault.RATE_LIMITED, 40.0, 40.0),
        (Fault.RATE_LIMITED, 9999.0, 300.0),
    ],
)
def test_a_fast_failure_does_not_look_fast(fault, retry_after_s, penalty_s):
    health = HealthTable()
    fail(health, A, fault, retry_after_s=retry_after_s)
    assert predicted_s(health) == penalty_s


def test_a_slow_failure_counts_with_its_own_time():
    health = HealthTable()
    flight = begin(health, A)
    health.failed(flight, error(Fault.TIMEOUT), now_s=60.0, draw=middle)
    assert predicted_s(health, A, 60.0) == 60.0


def test_a_stream_teaches_its_time_to_first_content():
    health = HealthTable()
    succeed(health, A, takes_s=10.0, ttft_s=3.0, tokens=100)
    assert predicted_s(health, A, 10.0) == 3.0


def test_an_edited_provider_starts_afresh_and_old_attempts_end_on_the_old_state():
    health = HealthTable()
    flight = begin(health, A)
    trip(health, A)
    edited = replace(A, provider=replace(A.provider, fingerprint="edited"))
    health.retain(snapshot(model(edited)))
    assert state(health, edited) is State.READY
    begin(health, edited)
    health.failed(flight, error(Fault.SERVER_ERROR), now_s=1.0, draw=middle)
    assert health.in_flight(edited, 1.0) == 1
    assert health.provider_in_flight(edited.provider) == 1


def test_what_was_removed_is_forgotten_and_what_stays_is_kept():
    health = HealthTable()
    trip(health, A)
    trip(health, B)
    health.retain(snapshot(model(A)))
    assert state(health, A) is State.OPEN
    assert state(health, B) is State.READY


class HealthMachine(RuleBasedStateMachine):
    """Attempts begin and end in any way; what is in flight is what has begun."""

    flights: Bundle[tuple[int, Flight]] = Bundle("flights")

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.health = HealthTable()
        capped = provider(3, max_concurrency=3)
        self.rows = [A, B, deployment(3, at=capped), deployment(4, at=capped)]
        self.open = dict.fromkeys(range(4), 0)

    @rule(wait_s=st.floats(-1.0, 20.0))
    def wait(self, wait_s: float) -> None:
        self.now_s += wait_s

    @rule(
        target=flights,
        index=st.integers(0, 3),
        admission=st.sampled_from(Admission),
        is_retry=st.booleans(),
    )
    def begin(self, index: int, admission: Admission, is_retry: bool):
        row = self.rows[index]
        is_admitted = self.health.admits(row, self.now_s, admission=admission)
        flight = self.health.begin(
            row,
            self.now_s,
            strategy=strategy(),
            admission=admission,
            is_retry=is_retry,
        )
        assert (flight is not None) is is_admitted
        if flight is None:
            return multiple()
        self.open[index] += 1
        return index, flight

    @rule(
        begun=consumes(flights),
        fault=st.sampled_from(Fault),
        retry_after_s=st.none() | st.floats(),
    )
    def fail(self, begun, fault, retry_after_s) -> None:
        index, flight = begun
        failure = error(fault, retry_after_s=retry_after_s)
        self.open[index] -= not flight.is_over
        self.health.failed(flight, failure, now_s=self.now_s, draw=middle)

    @rule(
        begun=consumes(flights),
        ttft_s=st.none() | st.floats(),
        duration_s=st.floats(),
        tokens=st.integers(0, 10_000),
        streamed=st.booleans(),
    )
    def succeed(self, begun, ttft_s, duration_s, tokens, streamed) -> None:
        index, flight = begun
        self.open[index] -= not flight.is_over
        self.health.succeeded(
            flight,
            now_s=self.now_s,
            ttft_s=ttft_s,
            duration_s=duration_s,
            output_tokens=tokens,
            streamed=streamed,
        )

    @rule(begun=flights)
    def answer(self, begun) -> None:
        self.health.answering(begun[1], self.now_s)

    @rule(begun=flights)
    def cancel(self, begun) -> None:
        index, flight = begun
        self.open[index] -= not flight.is_over
        self.health.cancelled(flight, self.now_s)

    @invariant()
    def in_flight_is_what_has_begun(self) -> None:
        counted = [self.health.in_flight(row, self.now_s) for row in self.rows]
        assert counted == list(self.open.values())
        assert min(counted) >= 0
        shared = self.health.provider_in_flight(self.rows[2].provider)
        assert shared == counted[2] + counted[3] <= 3

    @invariant()
    def estimates_are_sane(self) -> None:
        for row in self.rows:
            assert 0.0 <= predicted_s(self.health, row, self.now_s) <= 86_400.0


TestHealthMachine = HealthMachine.TestCase
