"""What follows from a failed attempt, and what the client sees in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat

import pytest
from hypothesis import given, strategies as st

from gateway.errors import UpstreamError
from gateway.kinds import Fault
from gateway.routing.failover import (
    AttemptRecord,
    Step,
    StepKind,
    final_error,
    may_follow,
    next_step,
)
from tests.gateway.routing.rows import deployment, error, middle, provider

A, B, C = deployment(1), deployment(2), deployment(3)
Script = Mapping[str, Sequence[Fault | UpstreamError | None]]
NAMES = {"a": A, "b": B, "c": C}
DEADLINE_S = 600.0


def step(
    failure,
    *,
    tried="a",
    remaining=0,
    elapsed_s=0.0,
    max_attempts=3,
    draw=middle,
) -> Step:
    return next_step(
        failure,
        attempts=[AttemptRecord(NAMES[name], failure) for name in tried],
        remaining=remaining,
        elapsed_s=elapsed_s,
        deadline_s=DEADLINE_S,
        max_attempts=max_attempts,
        draw=draw,
    )


def told(step: Step) -> tuple[str, float]:
    return step.kind.value, step.delay_s


def transcript(answers: Script, *, max_attempts: int = 3) -> str:
    """Play what each deployment answers; give the attempts, in order, and the end."""
    script = {name: iter(faults) for name, faults in answers.items()}
    order, tried, attempts = list(answers), "", []
    name = order.pop(0)
    while True:
        tried += name
        fault = next(script[name])
        if fault is None:
            return f"{tried}: 200"
        failure = fault if not isinstance(fault, Fault) else error(fault)
        attempts.append(AttemptRecord(NAMES[name], failure))
        follows = [
            other for other in order if may_follow(failure, NAMES[name], NAMES[other])
        ]
        following = next_step(
            failure,
            attempts=attempts,
            remaining=len(follows),
            elapsed_s=0.0,
            deadline_s=DEADLINE_S,
            max_attempts=max_attempts,
            draw=middle,
        )
        if following.kind is StepKind.STOP:
            last = final_error([attempt.error for attempt in attempts])
            return f"{tried}: {last.status} {last.code}"
        if following.kind is StepKind.NEXT:
            name = follows[0]
            order.remove(name)


def test_429_from_a_then_connect_error_from_b_then_200_from_c():
    answers: Script = {"a": [Fault.RATE_LIMITED], "b": [Fault.UNREACHABLE], "c": [None]}
    assert transcript(answers) == "abc: 200"


def test_a_stale_connection_is_tried_again_at_once_before_any_other():
    answers: Script = {"a": [Fault.STALE_CONNECTION, None], "b": [None]}
    assert transcript(answers) == "aa: 200"


def test_a_second_stale_connection_moves_on():
    answers: Script = {"a": [Fault.STALE_CONNECTION] * 2, "b": [None]}
    assert transcript(answers) == "aab: 200"


def test_a_stale_retry_is_an_attempt_like_any_other():
    answers: Script = {
        "a": [Fault.STALE_CONNECTION] * 2,
        "b": [Fault.TIMEOUT],
        "c": [None],
    }
    assert transcript(answers) == "aab: 504 upstream_timeout"


def test_three_dead_providers_end_it():
    answers: Script = {name: [Fault.UNREACHABLE] for name in "abc"}
    assert transcript(answers) == "abc: 502 upstream_unreachable"


def test_a_bad_request_is_not_asked_of_another_provider():
    answers: Script = {"a": [Fault.REJECTED], "b": [None]}
    assert transcript(answers) == "a: 400 None"


def test_a_refused_account_moves_on_to_another_provider_and_is_never_a_401():
    refused = error(Fault.CREDENTIAL_REJECTED, upstream_status=401)
    assert transcript({"a": [refused], "b": [None]}) == "ab: 200"
    expected = "ab: 502 upstream_credentials_exhausted"
    assert transcript({"a": [refused], "b": [refused]}) == expected


def test_an_unsupported_parameter_goes_to_another_deployment():
    answers: Script = {"a": [Fault.UNSUPPORTED_PARAMETER], "b": [None]}
    assert transcript(answers) == "ab: 200"


@pytest.mark.parametrize("fault", Fault)
def test_another_deployment_is_tried_without_delay_or_not_at_all(fault):
    expected = {
        Fault.STALE_CONNECTION: ("same", 0.0),
        Fault.CONTENT_POLICY: ("stop", 0.0),
        Fault.REJECTED: ("stop", 0.0),
        Fault.INTERRUPTED: ("stop", 0.0),
    }
    assert told(step(error(fault), remaining=1)) == expected.get(fault, ("next", 0.0))


@pytest.mark.parametrize("fault", Fault)
def test_alone_the_same_deployment_is_tried_once_more_after_some_faults(fault):
    expected = {
        Fault.STALE_CONNECTION: ("same", 0.0),
        Fault.SERVER_ERROR: ("same", 0.125),
        Fault.UNAVAILABLE: ("same", 0.125),
        Fault.CONFLICT: ("same", 0.125),
    }
    assert told(step(error(fault))) == expected.get(fault, ("stop", 0.0))
    assert told(step(error(fault), tried="aa")) == ("stop", 0.0)


@pytest.mark.parametrize(
    ("retry_after_s", "expected"),
    [
        (None, ("stop", 0.0)),
        (0.0, ("same", 1.0)),
        (1.5, ("same", 1.5)),
        (2.0, ("same", 2.0)),
        (2.1, ("stop", 0.0)),
    ],
)
def test_alone_a_429_waits_only_for_a_short_retry_after(retry_after_s, expected):
    limited = error(Fault.RATE_LIMITED, retry_after_s=retry_after_s)
    assert told(step(limited)) == expected


def test_alone_a_503_with_a_long_retry_after_is_not_tried_early():
    assert told(step(error(Fault.UNAVAILABLE, retry_after_s=30.0))) == ("stop", 0.0)


@pytest.mark.parametrize("fault", [Fault.UNREACHABLE, Fault.STALE_CONNECTION])
def test_no_attempt_starts_with_less_than_a_second_left(fault):
    assert step(error(fault), remaining=1, elapsed_s=599.0).kind is not StepKind.STOP
    assert step(error(fault), remaining=1, elapsed_s=599.1).kind is StepKind.STOP


def test_no_retry_starts_when_its_wait_leaves_less_than_a_second():
    assert step(error(Fault.SERVER_ERROR), elapsed_s=598.8).kind is StepKind.SAME
    assert step(error(Fault.SERVER_ERROR), elapsed_s=598.9).kind is StepKind.STOP


failures = st.builds(
    error, st.sampled_from(Fault), retry_after_s=st.none() | st.floats()
)


@given(
    st.lists(failures, min_size=1, max_size=20),
    st.integers(0, 4),
    st.integers(1, 5),
    st.lists(st.floats(0, 400), min_size=20, max_size=20),
    st.floats(0, 1, exclude_max=True),
)
def test_every_plan_keeps_to_its_attempts_its_deadline_and_distinct_deployments(
    script, others, max_attempts, durations, draw
):
    attempts: list[AttemptRecord] = []
    current, remaining, now_s = 0, others, 0.0
    for failure, duration_s in zip(script, durations, strict=False):
        assert now_s <= DEADLINE_S - 1.0 + 1e-9  # every attempt has a second
        attempts.append(AttemptRecord(deployment(current), failure))
        now_s += duration_s
        following = next_step(
            failure,
            attempts=attempts,
            remaining=remaining,
            elapsed_s=now_s,
            deadline_s=DEADLINE_S,
            max_attempts=max_attempts,
            draw=lambda: draw,
        )
        if following.kind is StepKind.STOP:
            break
        assert len(attempts) < max_attempts
        if following.kind is StepKind.SAME and following.delay_s > 0.0:
            assert remaining == 0
        if following.kind is StepKind.NEXT:
            assert following.delay_s == 0.0
            current, remaining = current + 1, remaining - 1
        now_s += following.delay_s
    ids = [attempt.deployment.id for attempt in attempts]
    assert all(ids.count(each) <= 2 for each in ids)


@pytest.mark.parametrize(
    ("failed", "candidate", "follows"),
    [(1000, 2000, True), (1000, 1000, False), (None, 9, False), (9, None, False)],
)
def test_a_prompt_that_is_too_long_goes_only_to_a_larger_window(
    failed, candidate, follows
):
    too_long = error(Fault.CONTEXT_LENGTH)
    small, other = (
        deployment(1, context_window=failed),
        deployment(2, context_window=candidate),
    )
    assert may_follow(too_long, small, other) is follows


@pytest.mark.parametrize("fault", [Fault.QUOTA_EXHAUSTED, Fault.CREDENTIAL_REJECTED])
def test_a_refused_account_is_not_tried_with_another_model(fault):
    shared = provider(1)
    first, second = deployment(1, at=shared), deployment(2, at=shared)
    assert not may_follow(error(fault), first, second)
    assert may_follow(error(fault), first, deployment(3))


def test_the_last_fault_speaks():
    shown = final_error([error(Fault.RATE_LIMITED), error(Fault.TIMEOUT)])
    assert (shown.fault, shown.status) == (Fault.TIMEOUT, 504)


def test_a_fault_of_the_caller_wins_over_the_last():
    shown = final_error([error(Fault.CONTEXT_LENGTH), error(Fault.TIMEOUT)])
    assert (shown.status, shown.code) == (400, "context_length_exceeded")
    assert shown.type == "invalid_request_error"


def test_a_missing_model_speaks_only_when_nothing_else_failed():
    shown = final_error([error(Fault.RATE_LIMITED), error(Fault.MODEL_MISSING)])
    assert shown.status == 429
    assert final_error([error(Fault.MODEL_MISSING)]).status == 404


@pytest.mark.parametrize(
    ("waits", "told_s"),
    [([30.0, 20.0], 20.0), ([None], 5.0), ([0.0], 1.0), ([9999.0], 60.0)],
)
def test_the_client_is_told_the_smallest_wait_up_to_a_minute(waits, told_s):
    limited = [error(Fault.RATE_LIMITED, retry_after_s=wait) for wait in waits]
    shown = final_error([*limited, error(Fault.UNREACHABLE)])
    assert shown.retry_after_s == told_s


def test_a_request_that_will_not_succeed_later_is_not_told_to_wait():
    limited = error(Fault.RATE_LIMITED, retry_after_s=3.0)
    assert final_error([limited, error(Fault.REJECTED)]).retry_after_s is None


def test_a_missing_model_is_no_reason_to_wait():
    errors = [error(Fault.MODEL_MISSING), error(Fault.UNREACHABLE)]
    assert final_error(errors).retry_after_s is None


@pytest.mark.parametrize(
    ("fault", "upstream", "status"),
    [
        (Fault.UNAVAILABLE, 504, 504),
        (Fault.UNAVAILABLE, 529, 503),
        (Fault.CONFLICT, 408, 408),
        (Fault.CONFLICT, 425, 425),
        (Fault.REJECTED, 422, 422),
        (Fault.REJECTED, 413, 413),
        (Fault.REJECTED, 401, 400),
        (Fault.REJECTED, None, 400),
        (Fault.CONTENT_POLICY, 200, 400),
        (Fault.CONTEXT_LENGTH, 413, 400),
        (Fault.SERVER_ERROR, 500, 502),
    ],
)
def test_the_status_is_the_tables_or_the_upstreams_where_the_table_says_so(
    fault, upstream, status
):
    assert final_error([error(fault, upstream_status=upstream)]).status == status


@pytest.mark.parametrize("fault", Fault)
def test_the_vendors_words_reach_the_client_only_about_its_own_request(fault):
    failure = error(fault, provider_code="vendors_code", param="tools")
    shown = final_error([failure])
    passes = {Fault.REJECTED, Fault.CONTENT_POLICY, Fault.UNSUPPORTED_PARAMETER}
    assert (shown.message == "words of the vendor") is (fault in passes)
    assert (shown.code == "vendors_code") is (fault in passes)
    assert (shown.param == "tools") is (fault in passes | {Fault.CONTEXT_LENGTH})


@given(st.lists(failures, min_size=1, max_size=5))
def test_every_end_has_a_status_and_words_and_a_bounded_wait(errors):
    shown = final_error(errors)
    assert 400 <= shown.status < 600
    assert shown.status not in {401, 403}
    assert shown.message
    assert shown.retry_after_s is None or 1.0 <= shown.retry_after_s <= 60.0


def test_jitter_draws_are_only_used_for_a_wait():
    draws = repeat(0.5, 0)  # none left: a draw would raise StopIteration
    limited = error(Fault.UNREACHABLE)
    assert step(limited, remaining=1, draw=draws.__next__).kind is StepKind.NEXT
