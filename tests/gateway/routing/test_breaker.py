"""The breaker: when it trips, how long it stays open, one probe at a time."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
)

from gateway.routing.breaker import BreakerState, CircuitBreaker, Permit, Verdict
from gateway.snapshot import Breaker

POLICY = Breaker()
CLOSED, OPEN, HALF_OPEN = (
    BreakerState.CLOSED,
    BreakerState.OPEN,
    BreakerState.HALF_OPEN,
)


def run(
    breaker: CircuitBreaker, verdict: Verdict, now_s: float, *, draw: float = 0.5
) -> None:
    permit = breaker.begin(now_s)
    breaker.finish(permit, verdict, now_s=now_s, policy=POLICY, draw=draw)


def tripped(now_s: float = 0.0, *, draw: float = 0.5) -> CircuitBreaker:
    breaker = CircuitBreaker(healthy_since_s=now_s)
    for _ in range(5):
        run(breaker, Verdict.FAILURE, now_s, draw=draw)
    return breaker


def test_five_failures_in_a_row_open_it_and_four_do_not():
    breaker = CircuitBreaker(healthy_since_s=0.0)
    for _ in range(4):
        run(breaker, Verdict.FAILURE, 0.0)
    assert breaker.state_at(0.0) is CLOSED
    run(breaker, Verdict.FAILURE, 0.0)
    assert breaker.state_at(0.0) is OPEN


def test_a_success_ends_the_run_of_failures():
    breaker = CircuitBreaker(healthy_since_s=0.0)
    for _ in range(4):
        run(breaker, Verdict.FAILURE, 0.0)
    run(breaker, Verdict.SUCCESS, 0.0)
    run(breaker, Verdict.FAILURE, 0.0)
    assert breaker.state_at(0.0) is CLOSED


@pytest.mark.parametrize(
    ("finished", "state"), [(8, CLOSED), (10, OPEN)], ids=["too few", "enough"]
)
def test_half_of_the_requests_failing_opens_it_only_from_ten_on(finished, state):
    breaker = CircuitBreaker(healthy_since_s=0.0)
    for _ in range(finished // 2):
        run(breaker, Verdict.SUCCESS, 0.0)
        run(breaker, Verdict.FAILURE, 0.0)
    assert breaker.state_at(0.0) is state


def test_a_rate_below_one_half_does_not_open_it():
    breaker = CircuitBreaker(healthy_since_s=0.0)
    for _ in range(20):
        run(breaker, Verdict.SUCCESS, 0.0)
        run(breaker, Verdict.FAILURE, 0.0)
        run(breaker, Verdict.SUCCESS, 0.0)
    assert breaker.state_at(0.0) is CLOSED


def test_failures_older_than_the_window_are_forgotten():
    breaker = CircuitBreaker(healthy_since_s=0.0)
    for _ in range(4):
        run(breaker, Verdict.SUCCESS, 0.0)
        run(breaker, Verdict.FAILURE, 0.0)
    for _ in range(2):
        run(breaker, Verdict.SUCCESS, 31.0)
        run(breaker, Verdict.FAILURE, 31.0)
    assert breaker.state_at(31.0) is CLOSED


def test_soft_failures_open_it_by_rate_but_never_by_run():
    breaker = CircuitBreaker(healthy_since_s=0.0)
    for _ in range(9):
        run(breaker, Verdict.SOFT_FAILURE, 0.0)
    assert breaker.state_at(0.0) is CLOSED
    run(breaker, Verdict.SOFT_FAILURE, 0.0)
    assert breaker.state_at(0.0) is OPEN


def test_it_may_be_probed_when_the_wait_is_over():
    breaker = tripped()
    assert breaker.state_at(4.9) is OPEN
    assert breaker.state_at(5.0) is HALF_OPEN


def test_every_further_trip_doubles_the_wait_up_to_the_cap():
    breaker = tripped()
    waits, now_s = [breaker.until_s], breaker.until_s
    for _ in range(5):
        run(breaker, Verdict.FAILURE, now_s)
        waits.append(breaker.until_s - now_s)
        now_s = breaker.until_s
    assert waits == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


@pytest.mark.parametrize(("draw", "wait_s"), [(0.0, 2.5), (0.5, 5.0), (0.999, 7.495)])
def test_the_wait_is_spread_by_half_of_it(draw, wait_s):
    assert tripped(draw=draw).until_s == pytest.approx(wait_s)


def test_the_wait_shrinks_again_by_one_doubling_for_each_healthy_minute():
    breaker = tripped()
    run(breaker, Verdict.FAILURE, 5.0)  # the probe fails: 10 s
    for _ in range(2):
        run(breaker, Verdict.SUCCESS, 15.0)
    for _ in range(5):
        run(breaker, Verdict.FAILURE, 15.0 + 61.0)
    assert breaker.until_s - 76.0 == 10.0  # 20 s without the healthy minute


def test_a_long_outage_takes_no_longer_to_forget_than_the_cap():
    breaker = tripped()
    for _ in range(30):
        run(breaker, Verdict.FAILURE, breaker.until_s)
    closed_s = breaker.until_s
    for _ in range(2):
        run(breaker, Verdict.SUCCESS, closed_s)
    now_s = closed_s + 4 * 60.0
    for _ in range(5):
        run(breaker, Verdict.FAILURE, now_s)
    assert breaker.until_s - now_s == 5.0


def test_two_successful_probes_close_it_and_one_does_not():
    breaker = tripped()
    run(breaker, Verdict.SUCCESS, 5.0)
    assert breaker.state_at(5.0) is HALF_OPEN
    run(breaker, Verdict.SUCCESS, 5.0)
    assert breaker.state_at(5.0) is CLOSED


def test_what_was_sent_before_the_trip_neither_closes_nor_reopens_it():
    breaker = CircuitBreaker(healthy_since_s=0.0)
    early = [breaker.begin(0.0) for _ in range(2)]
    for _ in range(5):
        run(breaker, Verdict.FAILURE, 0.0)
    breaker.finish(early[0], Verdict.SUCCESS, now_s=6.0, policy=POLICY, draw=0.5)
    run(breaker, Verdict.SUCCESS, 6.0)
    breaker.finish(early[1], Verdict.FAILURE, now_s=6.0, policy=POLICY, draw=0.5)
    assert breaker.state_at(6.0) is HALF_OPEN
    run(breaker, Verdict.SUCCESS, 6.0)
    assert breaker.state_at(6.0) is CLOSED


def test_a_failed_early_probe_leaves_the_wait_as_it_was():
    breaker = tripped()
    run(breaker, Verdict.FAILURE, 1.0)
    assert (breaker.state_at(1.0), breaker.until_s) == (OPEN, 5.0)
    run(breaker, Verdict.FAILURE, 5.0)
    assert breaker.until_s == 15.0  # the second trip, not the third


def test_an_early_probe_whose_client_left_leaves_it_open():
    breaker = tripped()
    run(breaker, Verdict.IGNORED, 1.0)
    assert breaker.state_at(1.0) is OPEN


def test_an_early_success_ends_the_wait():
    breaker = tripped()
    run(breaker, Verdict.SUCCESS, 1.0)
    run(breaker, Verdict.IGNORED, 2.0)
    assert breaker.state_at(2.0) is HALF_OPEN


def test_what_failed_before_it_closed_is_forgotten():
    breaker = tripped()
    for verdict in "+++----":
        run(breaker, Verdict.SUCCESS if verdict == "+" else Verdict.FAILURE, 5.0)
    assert breaker.state_at(5.0) is CLOSED


def test_a_probe_counts_once_when_its_answer_begins_and_not_again_at_its_end():
    breaker = tripped()
    permit = breaker.promote(breaker.begin(5.0), now_s=5.0, policy=POLICY)
    assert (breaker.state_at(5.0), breaker.probes) == (HALF_OPEN, 0)
    breaker.finish(permit, Verdict.SUCCESS, now_s=9.0, policy=POLICY, draw=0.5)
    assert breaker.state_at(9.0) is HALF_OPEN
    run(breaker, Verdict.SUCCESS, 9.0)
    assert breaker.state_at(9.0) is CLOSED


def test_a_probe_that_breaks_off_after_its_answer_began_opens_it_again():
    breaker = tripped()
    permit = breaker.promote(breaker.begin(5.0), now_s=5.0, policy=POLICY)
    breaker.finish(permit, Verdict.FAILURE, now_s=6.0, policy=POLICY, draw=0.5)
    assert breaker.state_at(6.0) is OPEN


class BreakerMachine(RuleBasedStateMachine):
    """Requests come, end and wait in any order; only legal transitions happen."""

    permits: Bundle[Permit] = Bundle("permits")

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.breaker = CircuitBreaker(healthy_since_s=0.0)
        self.out: list[Permit] = []

    def _admits(self) -> bool:
        state = self.breaker.state_at(self.now_s)
        return state is CLOSED or (state is HALF_OPEN and self.breaker.probes == 0)

    @rule(wait_s=st.floats(0.0, 40.0))
    def wait(self, wait_s: float) -> None:
        before = self.breaker.state_at(self.now_s)
        self.now_s += wait_s
        after = self.breaker.state_at(self.now_s)
        assert after is before or (before, after) == (OPEN, HALF_OPEN)

    @precondition(_admits)
    @rule(target=permits)
    def begin(self) -> Permit:
        before = self.breaker.state_at(self.now_s)
        permit = self.breaker.begin(self.now_s)
        assert permit.is_probe is (before is HALF_OPEN)
        assert self.breaker.state_at(self.now_s) is before
        self.out.append(permit)
        return permit

    @rule(target=permits, permit=consumes(permits))
    def promote(self, permit: Permit) -> Permit:
        if not permit.is_probe:
            return permit
        before = self.breaker.state_at(self.now_s)
        promoted = self.breaker.promote(permit, now_s=self.now_s, policy=POLICY)
        after = self.breaker.state_at(self.now_s)
        assert after is before or (before, after) == (HALF_OPEN, CLOSED)
        self.out[self.out.index(permit)] = promoted
        return promoted

    @rule(
        permit=consumes(permits),
        verdict=st.sampled_from(Verdict),
        draw=st.floats(0.0, 1.0, exclude_max=True),
    )
    def finish(self, permit: Permit, verdict: Verdict, draw: float) -> None:
        before = self.breaker.state_at(self.now_s)
        self.breaker.finish(permit, verdict, now_s=self.now_s, policy=POLICY, draw=draw)
        self.out.remove(permit)
        after = self.breaker.state_at(self.now_s)
        if after is before:
            return
        legal = {(CLOSED, OPEN), (HALF_OPEN, OPEN), (HALF_OPEN, CLOSED)}
        assert (before, after) in legal
        if after is CLOSED:
            assert verdict is Verdict.SUCCESS
            assert permit.is_probe
        else:
            assert verdict not in {Verdict.SUCCESS, Verdict.IGNORED}
            assert self.breaker.until_s - self.now_s <= POLICY.max_open_s

    @invariant()
    def at_most_one_probe_is_in_flight(self) -> None:
        probes = sum(permit.is_probe for permit in self.out)
        assert self.breaker.probes == probes <= 1


TestBreakerMachine = BreakerMachine.TestCase
