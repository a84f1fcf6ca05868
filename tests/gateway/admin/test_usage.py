"""The pages of usage: the list, a request, exports, the summary, other prices."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from gateway.admin import usage_list
from gateway.models import Deployment, Model
from tests.gateway.admin.ledger import keep, line, record
from tests.gateway.admin.pages import (
    api_key,
    deployment,
    page_of,
    provider,
    tenant,
    text_of,
)

pytestmark = pytest.mark.django_db

LIST = "/admin/gateway/usagerecord/"
SUMMARY = LIST + "summary/"
DEPLOYMENTS = "/admin/gateway/deployment/"
MARKUP = "<img src onerror>"


def listed(client: Client, **query: str) -> set[str]:
    response = client.get(LIST, query)
    assert response.status_code == HTTPStatus.OK
    return {row.request_id for row in response.context["cl"].result_list}


def body_of(response: Any) -> str:
    return b"".join(response.streaming_content).decode()


def tried(client: Client, *rows: Deployment, button: str = "", **fields: str) -> Any:
    """Post the page of other prices as the browser does, with its inputs filled in."""
    data: dict[str, Any] = {
        "action": "try_prices",
        "_selected_action": [row.pk for row in rows],
    }
    page = client.post(DEPLOYMENTS, data)
    if not button:
        return page
    for each in page.context["tried"]:
        for field in each["form"]:
            data[field.html_name] = "" if field.value() is None else field.value()
    typed = {f"prices-{rows[0].pk}-{name}": price for name, price in fields.items()}
    return client.post(DEPLOYMENTS, data | {"days": "30", button: "yes"} | typed)


def test_a_request_is_listed_with_what_it_used_and_cost(admin_client: Client) -> None:
    key = api_key("chat-bot")
    record(
        timezone.now(),
        api_key=key.public_id,
        tenant="team",
        cache_read_tokens=500,
        is_stream=True,
        ttft_ms=87.0,
        attempts=2,
    )
    page = text_of(admin_client.get(LIST))
    for text in ("req-1", "chat-bot", "1,500, 200", "$0.0123", "1.2 s", "87 ms"):
        assert text in page


def test_a_cost_that_nobody_knows_is_not_zero(admin_client: Client) -> None:
    row = record(timezone.now(), cost_nano_usd=None, price_origin="unknown")
    for url in (LIST, page_of(row)):
        page = text_of(admin_client.get(url))
        assert "unknown price" in page
        assert "$0.00" not in page


def test_a_request_of_a_key_that_is_gone_shows_its_public_id(
    admin_client: Client,
) -> None:
    row = record(timezone.now(), api_key="gone12345678")
    for url in (LIST, page_of(row)):
        assert "gone12345678" in text_of(admin_client.get(url))


def test_the_page_of_a_request_tells_its_tokens_apart(admin_client: Client) -> None:
    row = record(
        timezone.now(),
        cache_read_tokens=2000,
        reasoning_tokens=64,
        is_estimated=True,
        price_origin="row",
    )
    page = text_of(admin_client.get(page_of(row)))
    for text in (
        "3,000 (1,000 plain, 2,000 read from the cache)",
        "264 (200 text, 64 reasoning)",
        "estimated: the provider reported none",
        "the deployment&#x27;s own price",
    ):
        assert text in page


def test_requests_are_neither_made_changed_nor_deleted(admin_client: Client) -> None:
    row = record(timezone.now())
    for url in (f"{LIST}add/", page_of(row), f"{LIST}{row.pk}/delete/"):
        response = admin_client.post(url, {"post": "yes"})
        assert response.status_code == HTTPStatus.FORBIDDEN
    assert "delete_selected" not in text_of(admin_client.get(LIST))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tenant", "team"),
        ("api_key", "public-1"),
        ("model", "gpt-4o"),
        ("provider", "beta"),
        ("fault_domain", "caller"),
    ],
)
def test_requests_are_filtered(admin_client: Client, name: str, value: str) -> None:
    now = timezone.now()
    record(now, request_id="wanted", **{name: value})
    record(now, request_id="other")
    assert listed(admin_client) == {"wanted", "other"}
    assert listed(admin_client, **{name: value}) == {"wanted"}


@pytest.mark.parametrize(
    ("since", "found"),
    [
        ("hour", {"now"}),
        ("day", {"now", "hours"}),
        ("week", {"now", "hours", "days"}),
        ("", {"now", "hours", "days", "weeks"}),
        ("eternity", {"now", "hours", "days", "weeks"}),
    ],
)
def test_requests_are_filtered_by_time(
    admin_client: Client, since: str, found: set[str]
) -> None:
    ages = {"now": 0, "hours": 5, "days": 70, "weeks": 400}
    for name, hours in ages.items():
        record(timezone.now() - timedelta(hours=hours), request_id=name)
    assert listed(admin_client, since=since) == found


def test_a_request_is_found_by_its_whole_id_alone(admin_client: Client) -> None:
    record(timezone.now(), request_id="req-abc")
    assert listed(admin_client, q="req-abc") == {"req-abc"}
    assert listed(admin_client, q="req-ab") == set()


def test_filters_offer_the_names_of_today(admin_client: Client) -> None:
    key = api_key("chat-bot", tenant=tenant("team"))
    Model.objects.create(name="gpt-4o")
    provider("beta")
    page = text_of(admin_client.get(LIST))
    for query in (
        "tenant=team",
        f"api_key={key.public_id}",
        "model=gpt-4o",
        "provider=beta",
        "fault_domain=gateway",
    ):
        assert f"?{query}" in page


def test_no_query_counts_or_sorts_all_requests(admin_client: Client) -> None:
    for number in range(60):
        record(timezone.now(), request_id=f"req-{number}")
    admin_client.get(LIST)
    for query in ({}, {"p": "2"}, {"tenant": "default"}, {"o": "5"}):
        with CaptureQueriesContext(
            connection,
        ) as seen:
            assert admin_client.get(LIST, query).status_code == HTTPStatus.OK
        ours = [q["sql"] for q in seen if '"gateway_usagerecord"' in q["sql"]]
        assert len(ours) == 2
        for statement in ours:
            assert "LIMIT" in statement
            assert "DISTINCT" not in statement
        assert 'ORDER BY "gateway_usagerecord"."id" DESC' in ours[-1]


def test_the_count_stops_at_its_bound(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_list, "MAX_COUNTED", 3)
    keep([line(timezone.now(), request_id=f"req-{number}") for number in range(5)])
    assert admin_client.get(LIST).context["cl"].result_count == 3


def test_fifty_requests_need_a_fixed_number_of_queries(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    now = timezone.now()
    for number in range(50):
        key = api_key(f"key-{number}", tenant=tenant(f"team-{number}"))
        keep([line(now, api_key=key.public_id, tenant=key.tenant.name)])
    admin_client.get(LIST)
    with django_assert_max_num_queries(14):
        assert "key-49" in text_of(admin_client.get(LIST))


def export(client: Client, kind: str, *rows: Any, **fields: Any) -> Any:
    data = {"action": f"export_{kind}", "_selected_action": [row.pk for row in rows]}
    return client.post(LIST, data | fields)


def test_selected_requests_are_exported_as_csv(admin_client: Client) -> None:
    now = timezone.now()
    rows = [record(now, request_id="=1+1", cost_nano_usd=None), record(now)]
    record(now, request_id="other")
    response = export(admin_client, "csv", *rows)
    assert "usage.csv" in response.headers["Content-Disposition"]
    found = list(csv.DictReader(io.StringIO(body_of(response))))
    assert {row["request_id"] for row in found} == {"'=1+1", "req-1"}
    assert {row["cost_usd"] for row in found} == {"", "0.0123"}


def test_selected_requests_are_exported_as_json(admin_client: Client) -> None:
    row = record(timezone.now())
    response = export(admin_client, "json", row)
    [found] = json.loads(response.content)
    assert (found["request_id"], found["cost_usd"]) == ("req-1", 0.0123)


def test_all_filtered_requests_are_exported_up_to_the_bound(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    keep([line(now, tenant="team", request_id=f"r{number}") for number in range(60)])
    keep([line(now, request_id="other")])
    row = record(now, tenant="team", request_id="last")
    url = f"{LIST}?tenant=team"
    data = {
        "action": "export_json",
        "_selected_action": [row.pk],
        "select_across": "1",
    }
    found = json.loads(admin_client.post(url, data).content)
    assert {each["tenant"] for each in found} == {"team"}
    assert len(found) == 61
    monkeypatch.setattr("gateway.admin.usage_export.MAX_COUNTED", 10)
    found = json.loads(admin_client.post(url, data).content)
    assert [each["request_id"] for each in found][:2] == ["last", "r59"]
    assert len(found) == 10


def test_the_summary_shows_both_spans(admin_client: Client) -> None:
    now = timezone.now()
    keep(
        [
            line(now),
            line(now, status=502, fault_domain="provider", cost_nano_usd=None),
            line(now - timedelta(days=10)),
            line(now - timedelta(days=60)),
        ]
    )
    response = admin_client.get(SUMMARY)
    page = text_of(response)
    charts = [span["charts"] for span in response.context["spans"]]
    assert [[chart.headline for chart in span] for span in charts] == [
        ["2", "2,400", "$0.0123"],
        ["3", "3,600", "$0.0246"],
    ]
    assert [len(span[0].columns) for span in charts] == [24, 30]
    assert "1 (50.0%) failed" in page
    assert "without 1 of unknown price" in page


def test_the_summary_says_what_only_unknown_prices_cost(admin_client: Client) -> None:
    keep([line(timezone.now(), cost_nano_usd=None)])
    table = admin_client.get(SUMMARY).context["table"]
    assert [row.cost for row in table.rows] == ["unknown price"]


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("tenant", ["team", "default"]),
        ("key", ["chat-bot", "none"]),
        ("model", ["gpt-4o", "gpt-4"]),
        ("provider", ["beta", "acme"]),
        ("shoe size", ["team", "default"]),
    ],
)
def test_the_summary_lists_the_dearest_first(
    admin_client: Client, by: str, names: list[str]
) -> None:
    key = api_key("chat-bot")
    now = timezone.now()
    dear = {
        "tenant": "team",
        "api_key": key.public_id,
        "model": "gpt-4o",
        "provider": "beta",
        "cost_nano_usd": 10**10,
    }
    keep([line(now), line(now), line(now, **dear)])
    table = admin_client.get(SUMMARY, {"by": by}).context["table"]
    assert [row.name for row in table.rows] == names
    assert [row.requests for row in table.rows] == ["1", "2"]


def test_the_summary_says_how_many_it_leaves_out(admin_client: Client) -> None:
    now = timezone.now()
    keep([line(now, tenant=f"team-{number}") for number in range(25)])
    table = admin_client.get(SUMMARY).context["table"]
    assert (len(table.rows), table.remark) == (20, "5 more")


def test_an_empty_summary_opens(admin_client: Client) -> None:
    assert "Nothing yet" in text_of(admin_client.get(SUMMARY))


def test_the_summary_needs_few_queries(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    now = timezone.now()
    for number in range(15):
        key = api_key(f"key-{number}")
        keep([line(now - timedelta(days=number), api_key=key.public_id)])
    admin_client.get(SUMMARY)
    with django_assert_max_num_queries(12):
        assert "key-14" in text_of(admin_client.get(SUMMARY, {"by": "key"}))


def test_usage_is_not_for_everybody(client: Client, django_user_model: Any) -> None:
    assert client.get(SUMMARY).status_code == HTTPStatus.FOUND
    client.force_login(django_user_model.objects.create_user("clerk", is_staff=True))
    assert client.get(SUMMARY).status_code == HTTPStatus.FORBIDDEN


def test_markup_in_names_is_escaped(admin_client: Client) -> None:
    key = api_key(MARKUP)
    names = dict.fromkeys(("tenant", "model", "provider", "upstream_model"), MARKUP)
    row = record(
        timezone.now(), **names, api_key=key.public_id, code=MARKUP, request_id=MARKUP
    )
    for url in (LIST, page_of(row), f"{LIST}?tenant={MARKUP}"):
        page = text_of(admin_client.get(url))
        assert MARKUP not in page
        assert "&lt;img src" in page
    for by in ("tenant", "key", "model", "provider"):
        page = text_of(admin_client.get(SUMMARY, {"by": by}))
        assert MARKUP not in page
        assert "&lt;img src" in page


def priced(name: str = "in-house") -> Deployment:
    row = deployment(
        name,
        provider(f"provider-of-{name}"),
        input_price_per_mtok_usd=Decimal(10),
        output_price_per_mtok_usd=Decimal(50),
    )
    keep([line(timezone.now(), deployment_id=row.pk, cost_nano_usd=20_000_000)])
    return row


def test_other_prices_are_offered_as_they_are_now(admin_client: Client) -> None:
    page = tried(admin_client, priced())
    [each] = page.context["tried"]
    shown = {field.name: field.value() for field in each["form"]}
    assert shown["input_per_mtok_usd"] == 10
    assert shown["cache_read_per_mtok_usd"] == 10
    assert shown["audio_input_per_mtok_usd"] is None
    assert each["trial"] is None


def test_other_prices_tell_what_they_would_have_cost(admin_client: Client) -> None:
    row = priced()
    page = tried(admin_client, row, button="try_prices", input_per_mtok_usd="30")
    [each] = page.context["tried"]
    trial = each["trial"]
    assert (trial.requests, trial.actual) == ("1", "$0.02")
    assert (trial.would_be, trial.difference) == ("$0.04", "+$0.02")
    row.refresh_from_db()
    assert row.input_price_per_mtok_usd == 10


def test_a_price_that_is_emptied_makes_the_cost_unknown(admin_client: Client) -> None:
    page = tried(admin_client, priced(), button="try_prices", input_per_mtok_usd="")
    trial = page.context["tried"][0]["trial"]
    assert (trial.would_be, trial.difference) == ("unknown price", "-")


def test_other_prices_are_saved_and_the_rest_stays_where_it_comes_from(
    admin_client: Client,
) -> None:
    row, other = priced(), priced("other")
    response = tried(
        admin_client, row, other, button="save_prices", input_per_mtok_usd="0.15"
    )
    assert response.status_code == HTTPStatus.FOUND
    row.refresh_from_db()
    assert row.input_price_per_mtok_usd == Decimal("0.15")
    assert row.cache_read_price_per_mtok_usd is None
    other.refresh_from_db()
    assert other.input_price_per_mtok_usd == 10
    page = text_of(admin_client.get(DEPLOYMENTS))
    assert "Prices saved: in-house" in page


def test_a_negative_price_is_refused_at_its_field(admin_client: Client) -> None:
    row = priced()
    page = tried(admin_client, row, button="save_prices", input_per_mtok_usd="-1")
    assert "greater than or equal to 0" in text_of(page)
    row.refresh_from_db()
    assert row.input_price_per_mtok_usd == 10
