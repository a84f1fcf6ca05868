"""Budgets on real traffic: the stop, the warning, the price nobody knows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import openai
import pytest
from django.db.models import Sum

from gateway.models import ApiKey, Budget, BudgetSpend, Tenant, UsageRecord
from gateway.simulator import Behaviour
from tests.api.gateway_process import POLL_S, Gateway, fresh, wait_until
from tests.api.vendors import sdk
from tests.client import Reply, chat_body
from tests.upstreams.simulators import RunningSimulator, running_simulator

CHAT = "/v1/chat/completions"
CLIENTS = 64
PRICES = {"input_price_per_mtok_usd": "1000", "output_price_per_mtok_usd": "1000"}
NANO = 1_000_000_000
SLOW = Behaviour(tokens_per_s=30, answer_tokens=60)


@pytest.fixture(scope="module")
def sim() -> Iterator[RunningSimulator]:
    with running_simulator() as running:
        yield running


@pytest.fixture(scope="module")
def guarded(start_gateway: Callable[..., Gateway], sim: RunningSimulator) -> Gateway:
    gateway = start_gateway(AILB_AUTH="required")
    gateway.add_provider("one", "openai", sim, models=["m"], deployment=PRICES)
    gateway.add_provider("free", "openai", sim, models=["unpriced"])
    gateway.apply()
    return gateway


def ask(gateway: Gateway, key: str, model: str = "m", **fields: Any) -> Reply:
    body = chat_body(model, stream=fields.pop("stream", False), text="hi", **fields)
    return gateway.client.post(CHAT, body, authorization=f"Bearer {key}")


def cost_usd(reply: Reply) -> Decimal:
    return Decimal(reply.json["usage"]["total_tokens"]) / 1_000


def payer(gateway: Gateway, amount_usd: Decimal | str, **fields: Any) -> str:
    """Make a key with a budget of its own."""
    name = fresh("payer")
    key = gateway.add_key(name=name)
    row = gateway.rows(ApiKey).get(name=name)
    gateway.rows(Budget).create(api_key=row, amount_usd=amount_usd, **fields)
    gateway.apply()
    return key


def asked_until_spent(gateway: Gateway, key: str) -> list[Reply]:
    """Ask as an SDK does: again, unless it is told not to."""
    replies = [ask(gateway, key)]
    while replies[-1].headers.get("x-should-retry") != "false":
        if replies[-1].status != 200:
            time.sleep(POLL_S)
        replies.append(ask(gateway, key))
    return replies


def spent_nano_usd(gateway: Gateway, key: str) -> int:
    rows = gateway.rows(UsageRecord).filter(api_key=key.split("_")[1])
    return rows.aggregate(sum=Sum("cost_nano_usd"))["sum"] or 0


@pytest.fixture(scope="module")
def price(guarded: Gateway) -> Decimal:
    """Give what one request costs, in USD."""
    key = guarded.add_key()
    guarded.apply()
    return cost_usd(ask(guarded, key))


def test_a_spent_budget_stops_with_the_code_that_sdks_do_not_retry(
    guarded: Gateway, price: Decimal
) -> None:
    key = payer(guarded, price * Decimal("1.5"), period="day")
    assert [ask(guarded, key).status for _ in range(2)] == [200, 200]
    for stream in (False, True):
        refused = ask(guarded, key, stream=stream)
        assert (refused.status, refused.code) == (429, "insufficient_quota")
        assert refused.json["error"]["type"] == "insufficient_quota"
        assert "resets at" in refused.json["error"]["message"]
        assert refused.headers["x-should-retry"] == "false"
    messages: Any = [{"role": "user", "content": "hi"}]
    with sdk(guarded, api_key=key) as client, pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="m", messages=messages)


def test_a_budget_is_passed_by_no_more_than_one_request_of_each_client(
    guarded: Gateway, price: Decimal
) -> None:
    amount = price * 20
    key = payer(guarded, amount, period="month")
    with ThreadPoolExecutor(CLIENTS) as pool:
        rounds = pool.map(lambda _: asked_until_spent(guarded, key), range(CLIENTS))
        replies = [reply for replies in rounds for reply in replies]
    statuses = Counter(reply.status for reply in replies)
    assert set(statuses) == {200, 429}
    spent = sum(cost_usd(reply) for reply in replies if reply.status == 200)
    assert amount <= spent <= amount + CLIENTS * price
    wanted = int(spent * NANO)
    wait_until(
        lambda: spent_nano_usd(guarded, key) == wanted, "the ledger says the same"
    )
    sums = guarded.rows(BudgetSpend).filter(
        budget__api_key__public_id=key.split("_")[1]
    )
    assert sums.aggregate(sum=Sum("spent_nano_usd"))["sum"] == wanted


def test_what_is_only_reserved_is_worth_another_try(guarded: Gateway) -> None:
    with running_simulator(behaviour=SLOW) as slow:
        guarded.add_provider("slow", "openai", slow, models=["slow"], deployment=PRICES)
        key = payer(guarded, Decimal(1), period="day")
        bearer = {"authorization": f"Bearer {key}"}
        body = chat_body("slow", stream=True, text="hi", max_tokens=900)
        with guarded.client._http.stream("POST", CHAT, json=body, headers=bearer) as it:
            chunks = it.iter_raw()
            assert next(chunks)
            second = chat_body("slow", stream=True, text="hi", max_tokens=900)
            with guarded.client._http.stream(
                "POST", CHAT, json=second, headers=bearer
            ) as that:
                others = that.iter_raw()
                assert next(others), "something was left"
                refused = ask(guarded, key, "slow")
                assert (refused.status, refused.code) == (429, "insufficient_quota")
                assert "reserved" in refused.json["error"]["message"]
                assert refused.headers["retry-after"] == "1"
                assert "x-should-retry" not in refused.headers
        wait_until(
            lambda: ask(guarded, key, "slow").status == 200, "some was given back"
        )


def test_a_budget_warns_before_it_stops(guarded: Gateway, price: Decimal) -> None:
    key = payer(guarded, price * 4, period="week", warn_percent=50)
    warnings = [
        ask(guarded, key).headers.get("x-ailb-budget-warning") for _ in range(4)
    ]
    assert warnings == [None, None, "key week 50%", "key week 75%"]


def test_a_soft_budget_only_warns(guarded: Gateway, price: Decimal) -> None:
    key = payer(guarded, price, period="total", is_hard=False)
    replies = [ask(guarded, key) for _ in range(3)]
    assert [reply.status for reply in replies] == [200] * 3
    assert replies[2].headers["x-ailb-budget-warning"] == "key total 200%"


def test_a_tenants_budget_is_shared_by_its_keys(
    guarded: Gateway, price: Decimal
) -> None:
    name = fresh("family")
    keys = [guarded.add_key(tenant=name) for _ in range(2)]
    tenant = guarded.rows(Tenant).get(name=name)
    guarded.rows(Budget).create(tenant=tenant, period="day", amount_usd=price)
    guarded.apply()
    assert [ask(guarded, key).status for key in keys] == [200, 429]


def test_what_was_spent_counts_after_a_restart(
    guarded: Gateway, price: Decimal
) -> None:
    key = payer(guarded, price, period="month")
    assert ask(guarded, key).status == 200
    guarded.restart()
    wait_until(
        lambda: ask(guarded, key).code == "insufficient_quota",
        "the new process knows what the old one spent",
    )


def test_an_unknown_price_is_served_unless_the_budget_forbids_it(
    guarded: Gateway,
) -> None:
    lenient, strict = (
        payer(guarded, "1"),
        payer(guarded, "1", blocks_unknown_price=True),
    )
    assert ask(guarded, lenient, "unpriced").status == 200
    refused = ask(guarded, strict, "unpriced")
    assert (refused.status, refused.code) == (403, "price_unknown")
    assert "unpriced" in refused.json["error"]["message"]
    assert ask(guarded, strict, "m").status == 200
