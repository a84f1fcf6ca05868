"""Limits on real traffic: how many pass, what the others are told, what comes back."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from gateway.kinds import Measure, Window
from gateway.models import ApiKey, Limit, Model, Provider, Tenant
from gateway.simulator import Behaviour
from tests.api.gateway_process import Gateway, fresh, wait_until
from tests.api.vendors import sdk
from tests.client import Reply, chat_body
from tests.upstreams.simulators import RunningSimulator, running_simulator

CHAT = "/v1/chat/completions"
CLIENTS = 64
LIMIT = 100


@pytest.fixture(scope="module")
def sim() -> Iterator[RunningSimulator]:
    with running_simulator() as running:
        yield running


@pytest.fixture(scope="module")
def guarded(start_gateway: Callable[..., Gateway], sim: RunningSimulator) -> Gateway:
    gateway = start_gateway(AILB_AUTH="required")
    gateway.add_provider("one", "openai", sim, models=["m", "n"])
    gateway.apply()
    return gateway


def ask(gateway: Gateway, key: str, model: str = "m", **fields: Any) -> Reply:
    body = chat_body(model, stream=fields.pop("stream", False), text="hi", **fields)
    return gateway.client.post(CHAT, body, authorization=f"Bearer {key}")


def limited_key(
    gateway: Gateway,
    *,
    measure: Measure = Measure.REQUESTS,
    amount: int,
    window: Window = Window.HOUR,
) -> str:
    """Make a key with one limit of its own; an hour's window, so that no test meets its end."""
    name = fresh("limited")
    key = gateway.add_key(name=name)
    gateway.rows(Limit).create(
        api_key=gateway.rows(ApiKey).get(name=name),
        measure=measure,
        amount=amount,
        window="" if measure is Measure.CONCURRENCY else window,
    )
    gateway.apply()
    return key


def test_sixty_four_clients_pass_a_limit_of_a_hundred_exactly_a_hundred_times(
    guarded: Gateway,
) -> None:
    key = limited_key(guarded, amount=LIMIT, window=Window.MINUTE)
    started_s = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        replies = list(pool.map(lambda _: ask(guarded, key), range(4 * CLIENTS)))
    assert time.monotonic() - started_s < Window.MINUTE.length_s, "too slow to tell"
    assert Counter(reply.status for reply in replies) == {
        200: LIMIT,
        429: 4 * CLIENTS - LIMIT,
    }


def test_the_refused_are_told_by_whom_for_how_long_and_how_the_limit_stands(
    guarded: Gateway,
) -> None:
    key = limited_key(guarded, amount=1)
    first = ask(guarded, key)
    assert first.headers["x-ratelimit-limit-requests"] == "1"
    assert first.headers["x-ratelimit-remaining-requests"] == "0"
    assert "h" in first.headers["x-ratelimit-reset-requests"] or (
        "m" in first.headers["x-ratelimit-reset-requests"]
    )
    for stream in (False, True):
        refused = ask(guarded, key, stream=stream)
        assert (refused.status, refused.code) == (429, "rate_limit_exceeded")
        assert "1 request per hour" in refused.json["error"]["message"]
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        assert "x-ailb-provider" not in refused.headers


def test_a_refusal_is_named_in_the_status_line(guarded: Gateway) -> None:
    key = limited_key(guarded, amount=1)
    body, bearer = chat_body("m", stream=False, text="hi"), f"Bearer {key}"
    replies = [
        guarded.client._http.post(CHAT, json=body, headers={"authorization": bearer})
        for _ in range(2)
    ]
    assert [reply.reason_phrase for reply in replies] == ["OK", "Too Many Requests"]


def test_a_key_without_limits_has_no_headers_of_them(guarded: Gateway) -> None:
    key = guarded.add_key()
    guarded.apply()
    assert not [h for h in ask(guarded, key).headers if h.startswith("x-ratelimit")]


def test_tokens_are_reserved_by_estimate_and_settled_by_usage(
    guarded: Gateway,
) -> None:
    key = limited_key(guarded, measure=Measure.TOKENS, amount=10_000)
    first = ask(guarded, key, max_tokens=4_000)
    used = first.json["usage"]["total_tokens"]
    assert used < 4_000
    assert int(first.headers["x-ratelimit-remaining-tokens"]) <= 6_000
    second = ask(guarded, key, max_tokens=10)
    left = int(second.headers["x-ratelimit-remaining-tokens"])
    assert 10_000 - used - 20 <= left < 10_000 - used, "the reservation was given back"


def test_a_request_that_is_larger_than_its_limit_passes_an_empty_window(
    guarded: Gateway,
) -> None:
    key = limited_key(guarded, measure=Measure.OUTPUT_TOKENS, amount=50)
    assert ask(guarded, key, max_tokens=5_000).status == 200


def test_tokens_over_the_limit_are_refused_in_their_own_name(
    guarded: Gateway,
) -> None:
    key = limited_key(guarded, measure=Measure.INPUT_TOKENS, amount=100)
    long = [{"role": "user", "content": "word " * 70}]
    assert ask(guarded, key, messages=long).status == 200
    refused = ask(guarded, key, messages=long)
    assert (refused.status, refused.json["error"]["type"]) == (429, "tokens")
    assert "input tokens" in refused.json["error"]["message"]


def test_what_no_provider_got_counts_nothing(guarded: Gateway) -> None:
    key = limited_key(guarded, amount=2)
    for _ in range(5):
        assert ask(guarded, key, "never-heard-of").status == 404
        assert ask(guarded, key, temperature=99).status == 400
    assert [ask(guarded, key).status for _ in range(3)] == [200, 200, 429]


def test_a_refusal_by_one_limit_leaves_the_others_untouched(guarded: Gateway) -> None:
    name = fresh("team")
    key = guarded.add_key(tenant=name)
    other = guarded.add_key(tenant=name, name=name)
    tenant = guarded.rows(Tenant).get(name=name)
    guarded.rows(Limit).create(tenant=tenant, amount=3, window="hour")
    narrow = guarded.rows(ApiKey).get(name=name)
    guarded.rows(Limit).create(api_key=narrow, amount=1, window="hour")
    guarded.apply()
    assert [ask(guarded, other).status for _ in range(4)] == [200, 429, 429, 429]
    assert [ask(guarded, key).status for _ in range(3)] == [200, 200, 429]
    message = ask(guarded, key).json["error"]["message"]
    assert "tenant" in message


def test_a_limit_of_a_model_holds_for_everybody_who_asks_for_it(
    guarded: Gateway,
) -> None:
    name, keys = fresh("narrow"), [guarded.add_key(), guarded.add_key()]
    with running_simulator() as sim:
        guarded.add_provider(name, "openai", sim, models=[name])
        model = guarded.rows(Model).get(name=name)
        guarded.rows(Limit).create(model=model, amount=1, window="hour")
        guarded.apply()
        assert [ask(guarded, key, name).status for key in keys] == [200, 429]
        assert ask(guarded, keys[1], "m").status == 200


def test_a_limit_of_a_provider_moves_requests_to_the_next(guarded: Gateway) -> None:
    name, key = fresh("spread"), guarded.add_key()
    guarded.add_model(name, "failover")
    with running_simulator() as first, running_simulator() as second:
        guarded.add_provider(f"{name}-a", "openai", first, models=[name])
        guarded.add_provider(f"{name}-b", "openai", second, models=[name], priority=1)
        for letter in "ab":
            row = guarded.rows(Provider).get(name=f"{name}-{letter}")
            guarded.rows(Limit).create(provider=row, amount=2, window="hour")
        guarded.apply()
        replies = [ask(guarded, key, name) for _ in range(5)]
        served = [reply.headers.get("x-ailb-provider") for reply in replies]
        a, b = f"{name}-a", f"{name}-b"
        assert served[:4] == [a, a, b, b]
        assert (replies[4].status, replies[4].code) == (429, "rate_limit_exceeded")
        assert int(replies[4].headers["retry-after"]) >= 1


def test_concurrency_is_a_matter_of_the_moment(guarded: Gateway) -> None:
    with running_simulator(
        behaviour=Behaviour(tokens_per_s=20, answer_tokens=40)
    ) as slow:
        guarded.add_provider("slow", "openai", slow, models=["slow"])
        key = limited_key(guarded, measure=Measure.CONCURRENCY, amount=1)
        bearer = {"authorization": f"Bearer {key}"}
        body = chat_body("slow", stream=True, text="hi")
        with guarded.client._http.stream("POST", CHAT, json=body, headers=bearer) as it:
            chunks = it.iter_raw()
            assert next(chunks)
            refused = ask(guarded, key, "slow")
            assert (refused.status, refused.code) == (429, "rate_limit_exceeded")
            assert "at once" in refused.json["error"]["message"]
        # The client left: its place is free again.
        wait_until(lambda: ask(guarded, key, "slow").status == 200, "a free place")


def test_the_sdk_sees_a_rate_limit(guarded: Gateway) -> None:
    key = limited_key(guarded, amount=1)
    messages: Any = [{"role": "user", "content": "hi"}]
    with sdk(guarded, api_key=key) as client:
        client.chat.completions.create(model="m", messages=messages)
        with pytest.raises(openai.RateLimitError) as raised:
            client.chat.completions.create(model="m", messages=messages)
    assert raised.value.code == "rate_limit_exceeded"


def test_a_changed_limit_holds_within_about_a_second(guarded: Gateway) -> None:
    key = limited_key(guarded, amount=1)
    assert [ask(guarded, key).status for _ in range(2)] == [200, 429]
    guarded.rows(Limit).filter(amount=1, api_key__isnull=False).update(amount=1_000)
    guarded.apply()
    assert ask(guarded, key).status == 200


def test_the_metrics_count_refusals_and_name_the_policy(guarded: Gateway) -> None:
    before = guarded.metric("ailb_limit_refusals_total", scope="key")
    key = limited_key(guarded, amount=1)
    assert [ask(guarded, key).status for _ in range(3)] == [200, 429, 429]
    assert guarded.metric("ailb_limit_refusals_total", scope="key") == before + 2
    failures = guarded.metric("ailb_request_failures_total", domain="policy", model="m")
    assert failures >= 2
