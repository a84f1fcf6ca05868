"""Rate limits of a load balancer on real traffic, and whose address a caller has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.db import connections

from gateway.models import ApiKey, Limit
from gateway.rate_limits import (
    RateLimit,
    rate_limits,
    remove_rate_limit,
    set_rate_limit,
)
from tests.api.gateway_process import Gateway, fresh
from tests.client import Reply, chat_body
from tests.upstreams.simulators import RunningSimulator, running_simulator

CHAT = "/v1/chat/completions"
SOON_S = 3.0
OTHER = "198.51.100.1"


@pytest.fixture(scope="module")
def sim() -> Iterator[RunningSimulator]:
    with running_simulator() as running:
        yield running


@pytest.fixture(scope="module")
def shared(start_gateway: Callable[..., Gateway], sim: RunningSimulator) -> Gateway:
    """Start one behind a proxy on this machine: the tests themselves."""
    gateway = start_gateway(
        AILB_AUTH="required", AILB_TRUSTED_PROXIES="127.0.0.1,10.0.0.0/8"
    )
    gateway.add_provider("one", "openai", sim, models=["m"])
    gateway.apply()
    return gateway


@pytest.fixture(scope="module")
def key(shared: Gateway) -> str:
    made = shared.add_key(name="caller")
    shared.apply()
    return made


@contextmanager
def database_of(gateway: Gateway) -> Iterator[None]:
    """Let this thread's default database be the gateway's."""
    own = connections["default"]
    connections["default"] = connections[gateway.alias]
    try:
        yield
    finally:
        connections["default"] = own


def ask(gateway: Gateway, key: str, **headers: str) -> Reply:
    body = chat_body("m", stream=False, text="hi")
    return gateway.client.post(CHAT, body, authorization=f"Bearer {key}", **headers)


def forwarded(address: str) -> dict[str, str]:
    return {"x-forwarded-for": address}


@contextmanager
def rate_limit(gateway: Gateway, target: str, per_hour: int) -> Iterator[None]:
    """Have a limit while the block runs."""
    name = fresh("limit")
    with database_of(gateway):
        set_rate_limit(RateLimit(name, target, requests_per_hour=per_hour))
    gateway.apply(limit_s=SOON_S)
    try:
        yield
    finally:
        with database_of(gateway):
            remove_rate_limit(name)
            assert rate_limits() == []
        gateway.apply(limit_s=SOON_S)


@pytest.mark.parametrize(
    ("target", "whom"),
    [
        ("ip:127.0.0.1", "this address"),
        ("global", "all callers together"),
        ("model:m", "this model"),
        ("provider:one", "this provider"),
        ("key:caller", "this key"),
    ],
)
def test_a_rate_limit_holds_within_about_a_second_and_is_gone_after_it_is_removed(
    shared: Gateway, key: str, target: str, whom: str
) -> None:
    with rate_limit(shared, target, 2):
        assert [ask(shared, key).status for _ in range(3)] == [200, 200, 429]
        refused = ask(shared, key)
        assert (refused.status, refused.code) == (429, "rate_limit_exceeded")
        assert f"2 requests per hour for {whom}" in refused.json["error"]["message"]
        assert int(refused.headers["retry-after"]) >= 1
    assert ask(shared, key).status == 200


def test_a_rate_limit_that_is_set_again_counts_on(shared: Gateway, key: str) -> None:
    with rate_limit(shared, "global", 2):
        assert ask(shared, key).status == 200
        with database_of(shared):
            (limit,) = rate_limits()
            set_rate_limit(RateLimit(limit.id, "global", requests_per_hour=3))
        shared.apply(limit_s=SOON_S)
        assert [ask(shared, key).status for _ in range(3)] == [200, 200, 429]


def test_a_second_holds_a_burst_and_the_minute_its_rate(
    shared: Gateway, key: str
) -> None:
    with database_of(shared):
        set_rate_limit(RateLimit("burst", "global", 1, burst_size=100))
    shared.apply(limit_s=SOON_S)
    try:
        replies = [ask(shared, key).status for _ in range(101)]
        assert (replies.count(200), replies[100]) == (100, 429)
    finally:
        with database_of(shared):
            remove_rate_limit("burst")
        shared.apply()


def test_callers_behind_a_trusted_proxy_are_told_apart(
    shared: Gateway, key: str
) -> None:
    refusals = shared.metric("ailb_limit_refusals_total", scope="address")
    with rate_limit(shared, f"ip:{OTHER}", 1):
        for header, status in [
            (f"{OTHER}:4711", 200),
            (OTHER, 429),
            (f"1.2.3.4, {OTHER}, 10.0.0.3", 429),  # what stands left of it is hearsay
            (f"{OTHER}, 198.51.100.2", 200),
            ("198.51.100.2", 200),
            ("unknown", 200),
        ]:
            assert ask(shared, key, **forwarded(header)).status == status, header
        assert ask(shared, key).status == 200
    now = shared.metric("ailb_limit_refusals_total", scope="address")
    assert now == refusals + 2
    metrics = shared.client.get("/metrics").body.decode()
    assert OTHER not in metrics


def test_without_trusted_proxies_a_caller_is_who_connects_and_never_local_by_a_header(
    start_gateway: Callable[..., Gateway], sim: RunningSimulator
) -> None:
    gateway = start_gateway()  # its door is open to this machine, no proxy is trusted
    gateway.add_provider("one", "openai", sim, models=["m"])
    gateway.apply()
    client, body = gateway.client, chat_body("m", stream=False, text="hi")
    assert client.post(CHAT, body).status == 200
    assert client.post(CHAT, body, **forwarded(OTHER)).status == 401
    key = gateway.add_key()
    with rate_limit(gateway, "ip:127.0.0.1", 1):
        assert ask(gateway, key, **forwarded(OTHER)).status == 200
        assert ask(gateway, key, **forwarded("198.51.100.2")).status == 429


def test_a_trusted_proxy_does_not_make_its_callers_local(
    start_gateway: Callable[..., Gateway],
) -> None:
    gateway = start_gateway(AILB_TRUSTED_PROXIES="127.0.0.1")
    for address in ("127.0.0.1", OTHER):
        reply = gateway.client.get("/v1/models", **forwarded(address))
        assert reply.status == 401
    assert gateway.client.get("/v1/models").status == 200


def test_an_operators_limit_is_listed_and_removed_by_its_own_id(
    shared: Gateway, key: str
) -> None:
    row = shared.rows(ApiKey).get(name="caller")
    limit = shared.rows(Limit).create(api_key=row, amount=1, window="hour")
    shared.apply()
    assert [ask(shared, key).status for _ in range(2)] == [200, 429]
    with database_of(shared):
        assert [limit.target for limit in rate_limits()] == [f"key:{row.public_id}"]
        remove_rate_limit(f"row-{limit.pk}")
    shared.apply()
    assert ask(shared, key).status == 200
