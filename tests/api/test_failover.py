"""Failover transcripts: who fails how, who is asked in which order, what the client sees.

Every row of the classification table, for streams and for whole answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from gateway.simulator import State
from tests.api.gateway_process import Gateway, wait_until
from tests.api.scenes import ANSWER, KINDS, Stage

both_modes = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
every_kind = pytest.mark.parametrize("kind", KINDS)

REFUSING = "http://127.0.0.1:9/v1"  # the discard port, where nothing listens
NO_SUCH_NAME = "http://nobody.invalid/v1"  # RFC 6761: never resolves

MOVES_ON = [
    "status:500",
    "status:502",
    "status:503",
    "status:504",
    "status:529",
    "status:408",
    "status:409",
    "status:425",
    "status:429",
    "status:429:retry_after=30",
    "status:402",
    "status:429:insufficient_quota",
    "status:401",
    "status:403",
    "status:404",
    "garbage",
    "bad_json",
    "wrong_type",
    "redirect",
    "empty_stream",
    "reset_at:0",
    "reset_at:30",
    "fin_at:30",
]


@both_modes
@every_kind
@pytest.mark.parametrize("fault", MOVES_ON)
def test_the_next_provider_answers_and_the_client_sees_nothing(
    stage: Stage, fault: str, kind: str, stream: bool
) -> None:
    scene = stage.scene(kind)
    scene.script(a=[fault])
    reply = scene.ask(stream=stream)
    assert scene.attempts == "ab"
    assert reply.is_whole, reply
    assert reply.text == ANSWER
    assert scene.served_by(reply) == "b"
    assert reply.headers["x-ailb-attempts"] == "2"


FINAL: list[tuple[str, int, str]] = [
    ("status:500", 502, "upstream_error"),
    ("status:502", 503, "upstream_unavailable"),
    ("status:503", 503, "upstream_unavailable"),
    ("status:504", 504, "upstream_unavailable"),
    ("status:529", 503, "upstream_unavailable"),
    ("status:408", 408, "upstream_conflict"),
    ("status:409", 409, "upstream_conflict"),
    ("status:425", 425, "upstream_conflict"),
    ("status:429", 429, "rate_limit_exceeded"),
    ("status:402", 502, "upstream_credentials_exhausted"),
    ("status:429:insufficient_quota", 502, "upstream_credentials_exhausted"),
    ("status:401", 502, "upstream_credentials_exhausted"),
    ("status:403", 502, "upstream_credentials_exhausted"),
    ("status:404", 404, "model_not_found"),
    ("status:400:unsupported_parameter", 400, "unsupported_parameter"),
    ("garbage", 502, "upstream_invalid_response"),
    ("bad_json", 502, "upstream_invalid_response"),
    ("wrong_type", 502, "upstream_invalid_response"),
    ("redirect", 502, "upstream_invalid_response"),
    ("empty_stream", 502, "upstream_invalid_response"),
    ("reset_at:30", 502, "upstream_invalid_response"),
]


@both_modes
@pytest.mark.parametrize(("fault", "status", "code"), FINAL)
def test_when_all_three_fail_the_client_gets_one_clear_error(
    stage: Stage, fault: str, status: int, code: str, stream: bool
) -> None:
    scene = stage.scene()
    scene.script(a=[fault], b=[fault], c=[fault])
    reply = scene.ask(stream=stream)
    assert scene.attempts == "abc"
    assert (reply.status, reply.code) == (status, code)
    assert reply.headers["x-should-retry"] == "false"
    assert reply.headers["x-ailb-attempts"] == "3"
    assert scene.served_by(reply) == "c"
    assert reply.headers["content-type"] == "application/json"


@both_modes
def test_429_from_a_connect_error_from_b_200_from_c(stage: Stage, stream: bool) -> None:
    scene = stage.special(b={"upstream": REFUSING})
    scene.script(a=["status:429"])
    reply = scene.ask(stream=stream)
    assert scene.attempts == "ac"
    assert reply.is_whole
    assert scene.served_by(reply) == "c"
    assert reply.headers["x-ailb-attempts"] == "3"
    attempts = [
        stage.gateway.metric(
            "ailb_attempts_total", provider=scene.provider(letter), fault=fault
        )
        for letter, fault in (
            ("a", "rate_limited"),
            ("b", "unreachable"),
            ("c", "none"),
        )
    ]
    assert attempts == [1, 1, 1]


@both_modes
@pytest.mark.parametrize("broken", ["refusing", "no_such_name", "no_tls"])
def test_an_upstream_that_cannot_be_reached_is_passed_over(
    stage: Stage, broken: str, stream: bool
) -> None:
    plain_under_tls = stage.sims["a"].openai_url.replace("http://", "https://")
    addresses = {
        "refusing": REFUSING,
        "no_such_name": NO_SUCH_NAME,
        "no_tls": plain_under_tls,
    }
    scene = stage.special(a={"upstream": addresses[broken]})
    reply = scene.ask(stream=stream)
    assert scene.attempts == "b"
    assert reply.is_whole
    assert reply.headers["x-ailb-attempts"] == "2"
    alone = scene.ask_solo(stream=stream)
    assert (alone.status, alone.code) == (502, "upstream_unreachable")


@both_modes
@pytest.mark.parametrize(
    "fault",
    [
        "status:400:message=Bad number",
        "status:413:message=Bad number",
        "status:422:message=Bad number",
        "status:400:code=content_policy_violation:message=Bad number",
    ],
)
def test_the_callers_own_mistake_is_passed_through_and_asked_once(
    stage: Stage, fault: str, stream: bool
) -> None:
    scene = stage.scene()
    scene.script(a=[fault])
    reply = scene.ask(stream=stream)
    assert scene.attempts == "a"
    assert reply.status == int(fault.split(":")[1])
    assert reply.error is not None
    assert reply.error["message"] == "Bad number"
    assert reply.error["type"] == "invalid_request_error"
    assert scene.served_by(reply) == "a"


@both_modes
def test_a_prompt_that_is_too_long_goes_only_to_a_larger_window(
    stage: Stage, stream: bool
) -> None:
    scene = stage.special(
        a={"deployment": {"context_window": 8_000}},
        b={"deployment": {"context_window": 4_000}},
        c={"deployment": {"context_window": 32_000}},
    )
    too_long = ["status:400:context_length_exceeded"]
    scene.script(a=too_long)
    assert scene.ask(stream=stream).is_whole
    assert scene.attempts == "ac"
    scene.script(a=too_long, c=too_long)
    reply = scene.ask(stream=stream)
    assert scene.attempts == "acac"
    assert (reply.status, reply.code) == (400, "context_length_exceeded")


@both_modes
def test_an_unsupported_parameter_goes_to_one_that_has_it(
    stage: Stage, stream: bool
) -> None:
    scene = stage.scene()
    scene.script(a=["status:400:unsupported_parameter:param=seed"])
    assert scene.ask(stream=stream).is_whole
    assert scene.attempts == "ab"


@both_modes
def test_an_unsupported_parameter_names_the_parameter_when_nobody_has_it(
    stage: Stage, stream: bool
) -> None:
    scene = stage.scene()
    fault = ["status:400:unsupported_parameter:param=seed:message=No seed here."]
    scene.script(a=fault, b=fault, c=fault)
    reply = scene.ask(stream=stream)
    assert reply.error is not None
    assert reply.error["param"] == "seed"
    assert reply.error["message"] == "No seed here."


# --- One deployment alone --------------------------------------------------------------


@both_modes
@pytest.mark.parametrize(
    ("fault", "attempts"),
    [
        ("status:500", "aa"),
        ("status:503", "aa"),
        ("status:408", "aa"),
        ("status:429:retry_after=0.2", "aa"),
        ("reset_at:0", "a"),
        ("garbage", "a"),
        ("status:401", "a"),
        ("status:404", "a"),
        ("status:400", "a"),
        ("status:429:retry_after=30", "a"),
    ],
)
def test_the_only_deployment_is_asked_again_only_where_that_may_help(
    stage: Stage, fault: str, attempts: str, stream: bool
) -> None:
    scene = stage.scene()
    scene.script(a=[fault])
    reply = scene.ask_solo(stream=stream)
    assert scene.attempts == attempts
    assert reply.is_whole is (attempts == "aa")
    assert reply.headers["x-ailb-attempts"] == str(len(attempts))


@both_modes
@every_kind
def test_a_stale_connection_is_replaced_once_without_the_client_noticing(
    stage: Stage, kind: str, stream: bool
) -> None:
    scene = stage.scene(kind)
    assert scene.ask(stream=stream).is_whole  # leaves a connection behind
    scene.script(a=["stale_keepalive"])
    reply = scene.ask(stream=stream)
    assert scene.attempts == "aaa"
    assert scene.served_by(reply) == "a"
    states = [entry.state for _, entry in scene.calls]
    assert states == [State.ANSWERED, State.FAILED, State.ANSWERED]
    assert reply.is_whole


# --- Retry-After -----------------------------------------------------------------------


@both_modes
@pytest.mark.parametrize(
    ("retry_after", "expected"),
    [
        ("7", range(7, 8)),
        ("0", range(1, 2)),
        ("-1", range(5, 6)),
        ("soon", range(5, 6)),
        ("99999", range(60, 61)),
        ("HTTP-DATE", range(25, 31)),
    ],
)
def test_a_rate_limit_is_obeyed_and_the_smallest_wait_is_passed_on(
    stage: Stage, retry_after: str, expected: range, stream: bool
) -> None:
    if retry_after == "HTTP-DATE":
        date = datetime.now(UTC) + timedelta(seconds=30)
        retry_after = format_datetime(date, usegmt=True)
    scene = stage.scene()
    fault = [f"status:429:retry_after={retry_after}"]
    scene.script(
        a=fault, b=["status:429:retry_after=200"], c=["status:429:retry_after=200"]
    )
    reply = scene.ask(stream=stream)
    assert scene.attempts == "abc"
    assert (reply.status, reply.code) == (429, "rate_limit_exceeded")
    assert int(reply.headers["retry-after"]) in expected
    again = scene.ask(stream=stream)
    assert scene.attempts == "abc", "all of them asked us to wait"
    assert (again.status, again.code) == (429, "rate_limit_exceeded")
    assert 1 <= int(again.headers["retry-after"]) <= 60
    assert "x-should-retry" not in again.headers


@both_modes
def test_a_cooling_deployment_is_not_called_while_others_serve(
    stage: Stage, stream: bool
) -> None:
    scene = stage.scene()
    scene.script(a=["status:429:retry_after=60"])
    assert all(scene.ask(stream=stream).is_whole for _ in range(3))
    assert scene.attempts == "abbb"


@both_modes
@pytest.mark.parametrize("fault", ["status:401", "status:402", "status:403"])
def test_a_refused_account_cools_the_whole_provider(
    stage: Stage, fault: str, stream: bool
) -> None:
    scene = stage.scene()
    scene.script(a=[fault])
    assert scene.ask(stream=stream).is_whole
    reply = scene.ask_solo(stream=stream)
    assert scene.attempts == "ab", "the other model of provider a is not tried"
    assert (reply.status, reply.code) == (502, "upstream_credentials_exhausted")


# --- Models ----------------------------------------------------------------------------


@both_modes
def test_a_fallback_model_answers_when_the_first_has_nobody_left(
    stage: Stage, stream: bool
) -> None:
    scene = stage.special(solo_fallbacks=["nonexistent", "abc"])
    scene.script(a=["status:500", "status:500"])
    reply = scene.ask_solo(stream=stream)
    assert reply.is_whole
    assert scene.served_by(reply) in "bc"
    models = [entry.model for _, entry in scene.calls]
    assert models[0] == scene.solo
    assert models[-1] == scene.model


@both_modes
def test_a_fallback_is_not_asked_what_the_first_refused_as_invalid(
    stage: Stage, stream: bool
) -> None:
    scene = stage.special(solo_fallbacks=["abc"])
    scene.script(a=["status:400:message=No."])
    assert scene.ask_solo(stream=stream).status == 400
    assert scene.attempts == "a"


def test_an_unknown_model_is_the_callers_404(gateway: Gateway) -> None:
    reply = gateway.client.chat("nobody-has-this")
    assert (reply.status, reply.code) == (404, "model_not_found")
    assert "x-ailb-attempts" not in reply.headers
    assert reply.headers["x-ailb-config-version"].isdigit()
    assert reply.headers["x-request-id"]


# --- Breaker and caps ------------------------------------------------------------------


@both_modes
def test_the_breaker_opens_after_five_failures_and_probes_bring_the_provider_back(
    stage: Stage, stream: bool
) -> None:
    scene = stage.special(strategy={"breaker_open_s": 0.2, "breaker_max_open_s": 0.4})
    scene.script(a=["status:500"] * 5)
    for _ in range(5):
        assert scene.ask(stream=stream).is_whole
    assert scene.attempts == "ab" * 5
    stats = stage.gateway.provider_stats(scene.provider("a"))
    assert stats["consecutive_failures"] == 5
    first_after = scene.ask(stream=stream)
    assert first_after.is_whole

    def is_back() -> bool:
        return scene.served_by(scene.ask(stream=stream)) == "a"

    wait_until(is_back, "a probe reaches a again")
    wait_until(
        lambda: (
            stage.gateway.provider_stats(scene.provider("a"))["breakers"][scene.model]
            == "ready"
            or not is_back()
        ),
        "the breaker closes",
    )
    assert [is_back() for _ in range(5)] == [True] * 5


def test_an_open_breaker_keeps_requests_away(stage: Stage) -> None:
    scene = stage.special(strategy={"breaker_open_s": 60})
    scene.script(a=["status:500"] * 5)
    for _ in range(10):
        assert scene.ask(stream=False).is_whole
    assert scene.attempts == "ab" * 5 + "b" * 5
    stats = stage.gateway.provider_stats(scene.provider("a"))
    assert stats["breakers"][scene.model] == "open"
    health = stage.gateway.client.get("/healthz").json
    # Its other deployment, of the solo model, has a breaker of its own.
    assert health["providers"][scene.provider("a")] == "degraded"


def test_a_provider_at_its_cap_is_passed_over_and_alone_says_so(stage: Stage) -> None:
    scene = stage.special(a={"max_concurrency": 1})
    scene.script(a=["stall_after:3"])
    with stage.gateway.client.streaming(scene.solo) as held:
        assert held.status_code == 200
        assert scene.ask(stream=False).is_whole
        assert scene.attempts == "ab"
        full = scene.ask_solo(stream=False)
        assert (full.status, full.code) == (503, "no_eligible_deployment")
        assert int(full.headers["retry-after"]) >= 1
        assert stage.gateway.provider_stats(scene.provider("a"))["in_flight"] == 1
    wait_until(
        lambda: stage.gateway.provider_stats(scene.provider("a"))["in_flight"] == 0,
        "the client that left frees the place",
    )
    assert scene.ask_solo(stream=False).is_whole


# --- Headers ---------------------------------------------------------------------------


@both_modes
def test_an_answer_says_how_it_came_about(stage: Stage, stream: bool) -> None:
    scene = stage.scene()
    reply = stage.gateway.client.post(
        "/v1/chat/completions",
        {
            "model": scene.model,
            "messages": [{"role": "user", "content": "hi"}],
            "stream": stream,
        },
        **{"x-request-id": "mine-1"},
    )
    expected: Mapping[str, str] = {
        "x-request-id": "mine-1",
        "x-ailb-provider": scene.provider("a"),
        "x-ailb-upstream-model": scene.model,
        "x-ailb-strategy": "failover",
        "x-ailb-attempts": "1",
        "x-ailb-config-version": str(stage.gateway.serving_revision()),
    }
    assert expected.items() <= dict(reply.headers).items()
    assert "x-should-retry" not in reply.headers
    assert "x-ailb-simulated" not in reply.headers, "an operator's provider is real"


@both_modes
def test_no_fault_of_a_provider_is_ever_a_401(stage: Stage, stream: bool) -> None:
    scene = stage.scene()
    scene.script(a=["status:401"], b=["status:403"], c=["status:401"])
    reply = scene.ask(stream=stream)
    assert scene.attempts == "abc"
    assert reply.status == 502
    assert "key is fine" in (reply.error or {})["message"]
