"""Limits of two workers: one count on Redis, a part for each without it."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from gateway.models import ApiKey, Budget, Limit
from tests.api.gateway_process import POLL_S, Gateway, fresh
from tests.client import Reply, chat_body
from tests.upstreams.simulators import RunningSimulator, running_simulator

REDIS = ("127.0.0.1", 6379)
CHAT = "/v1/chat/completions"
CLIENTS = 64
LIMIT = 100
PRICES = {"input_price_per_mtok_usd": "1000", "output_price_per_mtok_usd": "1000"}


def answers(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=1):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def sim() -> Iterator[RunningSimulator]:
    with running_simulator() as running:
        yield running


@pytest.fixture(scope="module")
def pair(start_gateway: Callable[..., Gateway], sim: RunningSimulator) -> Gateway:
    """Two workers on Redis."""
    if not answers(REDIS):
        pytest.skip("no Redis answers at 127.0.0.1:6379")
    gateway = start_gateway(
        workers=2,
        AILB_AUTH="required",
        AILB_WORKERS="2",
        REDIS_URL=f"redis://{REDIS[0]}:{REDIS[1]}/0",
    )
    gateway.add_provider("one", "openai", sim, models=["m"], deployment=PRICES)
    gateway.apply()
    return gateway


def ask(gateway: Gateway, key: str) -> Reply:
    body = chat_body("m", stream=False, text="hi")
    # A connection each: the two workers share them out.
    headers = {"authorization": f"Bearer {key}", "connection": "close"}
    return gateway.client.post(CHAT, body, **headers)


def ask_often(gateway: Gateway, key: str, times: int) -> list[Reply]:
    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(lambda _: ask(gateway, key), range(times)))


def served_until_spent(gateway: Gateway, key: str) -> int:
    """Ask as an SDK does, until told not to try again; count what was served."""
    served = 0
    while served <= LIMIT:  # else nobody ever refuses
        reply = ask(gateway, key)
        if reply.headers.get("x-should-retry") == "false":
            break
        served += reply.status == 200
        if reply.status != 200:
            # Asking without a pause keeps both workers from the rest.
            time.sleep(POLL_S)
    return served


def test_two_workers_on_redis_share_one_limit(pair: Gateway) -> None:
    name = fresh("shared")
    key = pair.add_key(name=name)
    row = pair.rows(ApiKey).get(name=name)
    pair.rows(Limit).create(api_key=row, amount=LIMIT, window="minute")
    pair.apply()
    replies = ask_often(pair, key, 4 * CLIENTS)
    statuses = Counter(reply.status for reply in replies)
    assert set(statuses) == {200, 429}
    # Exactly, if Redis answered each call in time; else by what a worker that got fewer
    # requests than the other had left of its half.
    assert LIMIT <= statuses[200] <= LIMIT + LIMIT // 2


def test_two_workers_on_redis_share_one_budget(pair: Gateway) -> None:
    name = fresh("shared")
    key, free = pair.add_key(name=name), pair.add_key()
    pair.apply()
    price = Decimal(ask(pair, free).json["usage"]["total_tokens"]) / 1_000
    row = pair.rows(ApiKey).get(name=name)
    pair.rows(Budget).create(api_key=row, amount_usd=price * LIMIT, period="day")
    pair.apply()
    with ThreadPoolExecutor(CLIENTS) as pool:
        served = sum(pool.map(lambda _: served_until_spent(pair, key), range(CLIENTS)))
    # Requests under way may pass it; two workers that each spent all would give twice it.
    assert LIMIT <= served <= LIMIT + CLIENTS


def test_without_redis_each_of_two_workers_has_its_part(
    start_gateway: Callable[..., Gateway], sim: RunningSimulator
) -> None:
    gateway = start_gateway(workers=2, AILB_AUTH="required", AILB_WORKERS="2")
    gateway.add_provider("one", "openai", sim, models=["m"])
    name = fresh("apart")
    key = gateway.add_key(name=name)
    row = gateway.rows(ApiKey).get(name=name)
    gateway.rows(Limit).create(api_key=row, amount=LIMIT, window="minute")
    gateway.apply()
    served = sum(r.status == 200 for r in ask_often(gateway, key, 6 * CLIENTS))
    assert LIMIT // 2 <= served <= LIMIT
    assert gateway.metric("ailb_limits_shared") == 0
