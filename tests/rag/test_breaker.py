"""The breaker, by a clock of the test's own."""

from __future__ import annotations

from rag.breaker import LEFT_ALONE_S, Breaker


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_nothing_is_wrong_at_first() -> None:
    assert Breaker(Clock()).problem() == ""


def test_a_failure_is_told_for_two_seconds() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    breaker.open("it is down")
    clock.now_s += LEFT_ALONE_S - 0.01
    assert breaker.problem() == "it is down"
    clock.now_s += 0.01
    assert breaker.problem() == ""


def test_one_alone_tries_again_until_it_knows() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    breaker.open("it is down")
    clock.now_s += LEFT_ALONE_S
    assert [breaker.problem() for _ in range(3)] == ["", "it is down", "it is down"]
    breaker.open("it is still down")
    assert breaker.problem() == "it is still down"
    clock.now_s += LEFT_ALONE_S
    assert breaker.problem() == ""
    breaker.close()
    assert [breaker.problem() for _ in range(3)] == [""] * 3


def test_who_tried_and_never_came_back_does_not_block_the_rest_for_ever() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    breaker.open("it is down")
    clock.now_s += LEFT_ALONE_S
    assert breaker.problem() == ""
    clock.now_s += LEFT_ALONE_S
    assert breaker.problem() == ""
