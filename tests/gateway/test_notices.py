"""Budgets that warn or are spent: told once, and a webhook twice at most."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from datetime import date
from typing import Any

import orjson
import pytest

from gateway.late_upstream import LateUpstream
from gateway.models import ApiKey, Budget, BudgetNotice, BudgetSpend, Tenant
from gateway.notices import Standing, claim, due, tell
from tests.upstreams.fixed_answers import Answer, FixedAnswers, fixed_answers

pytestmark = pytest.mark.django_db(transaction=True)

TODAY = date(2026, 3, 18)
MARCH = date(2026, 3, 1)
USD = 1_000_000_000


class Listener:
    """Keeps the bodies it gets; answers `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.bodies: list[dict[str, Any]] = []

    def answer(self, body: bytes) -> Answer:
        self.bodies.append(orjson.loads(body))
        return self.status, {}


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def server(listener: Listener) -> Iterator[FixedAnswers]:
    with fixed_answers({"/hook": listener.answer}) as running:
        yield running


@pytest.fixture
async def upstream() -> AsyncIterator[LateUpstream]:
    made = LateUpstream()
    yield made
    await made.aclose()


def make_budget(**given: Any) -> Budget:
    tenant = Tenant.objects.create(name="acme")
    values = {"amount_usd": 10, "warn_percent": 80, **given}
    return Budget.objects.create(tenant=tenant, **values)


def spend(budget: Budget, usd: float, worker: str = "w1") -> None:
    BudgetSpend.objects.update_or_create(
        budget=budget,
        period_start=MARCH,
        worker=worker,
        defaults={"spent_nano_usd": int(usd * USD)},
    )


def notices() -> list[tuple[bool, str]]:
    rows = BudgetNotice.objects.order_by("is_spent")
    return list(rows.values_list("is_spent", "delivery"))


def test_nothing_is_told_below_the_warning() -> None:
    spend(make_budget(), 7.99)
    assert due(TODAY) == []
    assert notices() == []


def test_warning_and_end_are_told_once_a_period(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    budget = make_budget()
    spend(budget, 5)
    spend(budget, 3, "w2")
    for _ in range(2):
        assert due(TODAY) == [], "no webhook"
        assert notices() == [(False, "")]
    spend(budget, 5, "w2")
    for _ in range(2):
        due(TODAY)
        assert notices() == [(False, ""), (True, "")]
    assert [each.message for each in caplog.records] == [
        "budget warning",
        "budget spent",
    ]
    next_month = date(2026, 4, 1)
    due(next_month)
    assert len(notices()) == 2
    BudgetSpend.objects.create(
        budget=budget, period_start=next_month, spent_nano_usd=9 * USD
    )
    due(next_month)
    assert BudgetNotice.objects.filter(period_start=next_month).count() == 1


@pytest.mark.parametrize("changed", [{"enabled": False}, {"warn_percent": None}])
def test_a_budget_that_is_not_to_warn_does_not(changed: dict[str, Any]) -> None:
    spend(make_budget(**changed), 9)
    due(TODAY)
    assert notices() == []


def test_a_budget_of_nothing_is_spent_from_the_beginning() -> None:
    make_budget(amount_usd=0, warn_percent=None)
    due(TODAY)
    assert notices() == [(True, "")]


async def test_a_webhook_gets_what_happened(
    upstream: LateUpstream, server: FixedAnswers, listener: Listener
) -> None:
    tenant = await Tenant.objects.acreate(name="acme")
    key = await ApiKey.objects.acreate(
        name="app", public_id="pk", digest="d", tenant=tenant
    )
    budget = await Budget.objects.acreate(
        api_key=key, amount_usd=10, webhook_url=f"{server.url}/hook"
    )
    await BudgetSpend.objects.acreate(
        budget=budget, period_start=MARCH, spent_nano_usd=int(8.5 * USD)
    )
    await tell(upstream, today=TODAY)
    await tell(upstream, today=TODAY)
    assert listener.bodies == [
        {
            "event": "budget.warning",
            "budget_id": budget.pk,
            "scope": "key",
            "owner": "app (pk)",
            "period": "month",
            "period_start": "2026-03-01",
            "amount_usd": 10.0,
            "spent_usd": 8.5,
            "percent": 85.0,
        }
    ]
    ((method, _, headers),) = server.requests
    assert (method, headers["content-type"]) == ("POST", "application/json")
    assert (await BudgetNotice.objects.aget()).delivery == "200"


async def told(upstream: LateUpstream, url: str, *, turns: int = 1) -> str:
    """Give what a notice's delivery says after some turns."""
    tenant, _ = await Tenant.objects.aget_or_create(name="acme")
    budget, _ = await Budget.objects.aget_or_create(
        tenant=tenant, defaults={"amount_usd": 0, "warn_percent": None}
    )
    await Budget.objects.filter(pk=budget.pk).aupdate(webhook_url=url)
    for _ in range(turns):
        await tell(upstream, today=TODAY)
    return (await BudgetNotice.objects.aget()).delivery


async def test_a_webhook_that_fails_is_tried_once_more(
    upstream: LateUpstream, server: FixedAnswers, listener: Listener
) -> None:
    url = f"{server.url}/hook"
    listener.status = 503
    assert await told(upstream, url) == "retrying"
    listener.status = 200
    assert await told(upstream, url) == "200"
    assert [each["event"] for each in listener.bodies] == ["budget.spent"] * 2


async def test_after_the_second_failure_it_is_left(
    upstream: LateUpstream, server: FixedAnswers, listener: Listener
) -> None:
    listener.status = 503
    assert await told(upstream, f"{server.url}/hook", turns=4) == "503"
    assert len(listener.bodies) == 2


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/hook",  # nobody listens
        "http://169.254.169.254/hook",  # the metadata service
        "file:///etc/passwd",
    ],
)
async def test_an_address_that_cannot_or_may_not_be_reached_is_noted(
    upstream: LateUpstream, url: str
) -> None:
    assert await told(upstream, url, turns=3) == "unreachable"


async def test_a_redirect_is_not_followed(
    upstream: LateUpstream, server: FixedAnswers
) -> None:
    server.routes["/hook"] = (302, {})
    assert await told(upstream, f"{server.url}/hook", turns=2) == "302"
    assert {path for _, path, _ in server.requests} == {"/hook"}


@pytest.mark.parametrize("delivery", ["", "retrying"])
def test_of_two_processes_one_gets_to_tell(delivery: str) -> None:
    budget = make_budget(webhook_url="http://127.0.0.1:1/hook")
    notice = BudgetNotice.objects.create(
        budget=budget, period_start=MARCH, is_spent=True, delivery=delivery
    )
    same = BudgetNotice.objects.get()
    standing = Standing(budget, MARCH, 10 * USD)
    first = claim(notice, standing)
    assert first is not None
    assert first.is_last == (delivery == "retrying")
    assert claim(same, standing) is None
