"""Usage over the API: sums and single records of real and of written rows, JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from gateway.models import UsageRecord, UsageRollup
from tests.api.gateway_process import Gateway, fresh, wait_until
from tests.api.management import Manager, manager_of
from tests.client import Reply, chat_body
from tests.upstreams.simulators import running_simulator

LONG_AGO = datetime(2020, 3, 2, tzinfo=UTC)
PRICES = {"input_price_per_mtok_usd": "3", "output_price_per_mtok_usd": "15"}


@pytest.fixture(scope="module")
def manager(gateway: Gateway) -> Manager:
    return manager_of(gateway)


def add_rollup(manager: Manager, tenant: str, day: datetime, **fields: Any) -> None:
    """Write the sums of a day."""
    given = {
        "api_key": "k1",
        "model": "m1",
        "provider": "p1",
        "requests": 2,
        "input_tokens": 10,
        "output_tokens": 5,
        "cost_nano_usd": 1_500_000_000,
        **fields,
    }
    manager.gateway.rows(UsageRollup).create(
        grain=UsageRollup.Grain.DAY,
        start=day,
        tenant=tenant,
        operation="chat",
        upstream_model="m",
        deployment_id=1,
        **given,
    )


def add_record(manager: Manager, tenant: str, at: datetime, **fields: Any) -> None:
    """Write one request."""
    uid = fresh("uid")
    given = {"api_key": "k1", "model": "m1", "provider": "p1", **fields}
    manager.gateway.rows(UsageRecord).create(
        uid=uid,
        request_id=uid,
        at=at,
        tenant=tenant,
        operation="chat",
        upstream_model="m",
        deployment_id=1,
        strategy="failover",
        attempts=1,
        status=200,
        is_stream=False,
        is_partial=False,
        is_estimated=False,
        price_origin="row",
        duration_ms=5,
        cost_nano_usd=given.pop("cost_nano_usd", 250_000_000),
        **given,
    )


def table(reply: Reply) -> list[dict[str, str]]:
    """Read a CSV file."""
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(reply.body.decode())))


@pytest.fixture(scope="module")
def written(manager: Manager) -> str:
    """Give a tenant with three written roll-ups on two days long ago."""
    tenant = fresh("written")
    add_rollup(manager, tenant, LONG_AGO)
    add_rollup(manager, tenant, LONG_AGO, api_key="k2", model="m2", unpriced_requests=1)
    add_rollup(manager, tenant, LONG_AGO + timedelta(days=1), provider="p2")
    return tenant


SPAN = "from=2020-03-01&to=2020-03-10"


@pytest.mark.parametrize(
    ("group_by", "groups"),
    [
        ("day", [("2020-03-02", 4), ("2020-03-03", 2)]),
        ("key", [("k1", 4), ("k2", 2)]),
        ("model", [("m1", 4), ("m2", 2)]),
        ("provider", [("p1", 4), ("p2", 2)]),
    ],
)
def test_usage_is_summed_by_what_was_asked(
    manager: Manager, written: str, group_by: str, groups: list[tuple[str, int]]
) -> None:
    report = manager.get(f"usage?{SPAN}&tenant={written}&group_by={group_by}")
    assert [(row[group_by], row["requests"]) for row in report["results"]] == groups
    assert report["totals"]["requests"] == 6
    assert report["totals"]["cost_usd"] == 4.5
    assert report["totals"]["unpriced_requests"] == 1
    assert report["totals"]["total_tokens"] == 45
    assert report["group_by"] == [group_by]
    assert report["from"].startswith("2020-03-01T00:00:00")
    assert report["to"].startswith("2020-03-10T00:00:00")
    assert abs(timezone.now() - datetime.fromisoformat(report["as_of"])) < timedelta(
        minutes=1
    )


def test_groups_can_be_combined_and_left_out(manager: Manager, written: str) -> None:
    both = manager.get(f"usage?{SPAN}&tenant={written}&group_by=tenant,day,model")
    assert [(r["tenant"], r["day"], r["model"]) for r in both["results"]] == [
        (written, "2020-03-02", "m1"),
        (written, "2020-03-02", "m2"),
        (written, "2020-03-03", "m1"),
    ]
    (one,) = manager.get(f"usage?{SPAN}&tenant={written}&group_by=")["results"]
    assert one["requests"] == 6


@pytest.mark.parametrize(
    ("query", "requests"),
    [
        ("key=k2", 2),
        ("model=m1", 4),
        ("provider=p2", 2),
        ("model=m2&provider=p2", 0),
        ("to=2020-03-03", 4),
        ("from=2020-03-03", 2),
    ],
)
def test_usage_is_filtered(
    manager: Manager, written: str, query: str, requests: int
) -> None:
    report = manager.get(f"usage?{SPAN}&tenant={written}&{query}")
    assert report["totals"]["requests"] == requests


def test_usage_comes_as_csv_to_save(manager: Manager, written: str) -> None:
    path = f"usage?{SPAN}&tenant={written}&group_by=model&format=csv"
    reply = manager.send("GET", path)
    rows = table(reply)
    assert [(row["model"], row["requests"]) for row in rows] == [
        ("m1", "4"),
        ("m2", "2"),
    ]
    assert [float(row["cost_usd"]) for row in rows] == [3, 1.5]
    disposition = reply.headers["content-disposition"]
    assert disposition == 'attachment; filename="ailb-usage.csv"'


def test_records_come_in_pages_newest_first_in_both_formats(manager: Manager) -> None:
    tenant = fresh("pages")
    for minutes in (3, 1, 4, 2, 2):
        add_record(manager, tenant, LONG_AGO + timedelta(minutes=minutes))
    add_record(manager, fresh("another"), LONG_AGO)
    path = f"usage/records?{SPAN}&tenant={tenant}&limit=2"
    whole = manager.get(f"usage/records?{SPAN}&tenant={tenant}")
    assert whole["next"] is None
    at = [row["at"] for row in whole["results"]]
    assert at == sorted(at, reverse=True)
    assert len(at) == 5
    by_json, by_csv, after = [], [], ""
    while True:
        page = manager.get(path + after)
        file = manager.send("GET", f"{path}{after}&format=csv")
        by_json += [row["uid"] for row in page["results"]]
        by_csv += [row["uid"] for row in table(file)]
        assert file.headers.get("x-ailb-next") == page["next"]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert by_json == by_csv == [row["uid"] for row in whole["results"]]


def test_a_record_tells_its_cost_and_null_when_that_is_unknown(
    manager: Manager,
) -> None:
    tenant = fresh("costs")
    add_record(manager, tenant, LONG_AGO)
    add_record(manager, tenant, LONG_AGO + timedelta(hours=1), cost_nano_usd=None)
    rows = manager.get(f"usage/records?{SPAN}&tenant={tenant}")["results"]
    assert [row["cost_usd"] for row in rows] == [None, 0.25]
    assert "cost_nano_usd" not in rows[0]


def test_a_chat_is_in_the_usage_of_its_key_within_seconds(
    gateway: Gateway, manager: Manager
) -> None:
    name = fresh("billed")
    with running_simulator() as sim:
        gateway.add_provider(name, "openai", sim, models=[name], deployment=PRICES)
        made = manager.make("keys")
        gateway.apply()
        body = chat_body(name, stream=False, text="hi")
        bearer = f"Bearer {made['key']}"
        reply = gateway.client.post("/v1/chat/completions", body, authorization=bearer)
    used = reply.json["usage"]
    path = f"usage?key={made['id']}&group_by=model,key"
    wait_until(lambda: manager.get(path)["results"] != [], "it is in the sums")
    (row,) = manager.get(path)["results"]
    assert (row["model"], row["key"], row["requests"]) == (name, made["id"], 1)
    assert row["prompt_tokens"] == used["prompt_tokens"]
    cost = (used["prompt_tokens"] * 3 + used["completion_tokens"] * 15) / 1_000_000
    assert row["cost_usd"] == pytest.approx(cost)
    (record,) = manager.get(f"usage/records?key={made['id']}")["results"]
    assert record["request_id"] == reply.headers["x-request-id"]
    assert record["cost_usd"] == pytest.approx(cost)
    wait_until(
        lambda: manager.get(f"keys/{made['id']}")["last_used_at"] is not None,
        "its last use is written",
    )


@pytest.mark.parametrize("path", ["usage", "usage/records"])
@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("from=yesterday", "from"),
        ("to=2020-13-01", "to"),
        ("to=9999-12-31T23:59:59", "to"),
        ("from=0001-01-01T00:00:00-05:00", "from"),
        ("from=2020-03-03&to=2020-03-03", "from"),
        ("format=xml", "format"),
        ("tennant=x", "tennant"),
    ],
)
def test_a_bad_query_is_refused_by_name(
    manager: Manager, path: str, query: str, param: str
) -> None:
    reply = manager.send("GET", f"{path}?{query}")
    assert (reply.status, reply.json["error"]["param"]) == (400, param), reply.body


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("usage?group_by=colour", "group_by"),
        ("usage?group_by=hour&from=2020-01-01&to=2020-01-02", "group_by"),
        ("usage/records?limit=1001", "limit"),
        ("usage/records?after=x", "after"),
        ("usage/records?after=123456789", "after"),
    ],
)
def test_what_one_of_the_two_refuses_is_named(
    manager: Manager, path: str, param: str
) -> None:
    reply = manager.send("GET", path)
    assert (reply.status, reply.json["error"]["param"]) == (400, param), reply.body


def test_without_times_it_is_today_and_the_six_days_before(manager: Manager) -> None:
    tenant = fresh("week")
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    for days in (0, 6, 7):
        day = today - timedelta(days=days)
        add_rollup(manager, tenant, day)
        hourly = manager.gateway.rows(UsageRollup).get(tenant=tenant, start=day)
        hourly.pk, hourly.grain = None, UsageRollup.Grain.HOUR
        hourly.save(using=manager.gateway.alias)
    days_seen = [r["day"] for r in manager.get(f"usage?tenant={tenant}")["results"]]
    assert days_seen == [
        (today - timedelta(days=days)).date().isoformat() for days in (6, 0)
    ]


def test_while_the_database_is_away_management_says_so_and_when_to_ask_again(
    start_gateway: Callable[..., Gateway],
) -> None:
    own = start_gateway()
    manager = manager_of(own)
    own.stop()
    own.let_go()
    aside = own.data_dir / "aside"
    own.database.rename(aside)
    own.start()
    for method, path, body in [
        ("GET", "tenants", None),
        ("GET", "usage", None),
        ("GET", "usage/records", None),
        ("POST", "tenants", {"name": "x"}),
        ("PATCH", "tenants/default", {"enabled": True}),
        ("DELETE", "models/m", None),
        ("POST", "keys/x/rotate", None),
    ]:
        reply = manager.send(method, path, body)
        assert (reply.status, reply.code) == (503, "database_unavailable"), reply.body
        assert int(reply.headers["retry-after"]) > 0
