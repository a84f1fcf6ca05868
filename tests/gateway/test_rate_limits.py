"""Rate limits of a load balancer: which rows they are, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.db import IntegrityError, connection
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from gateway import revision
from gateway.models import ApiKey, Limit, Model, Provider, Tenant
from gateway.models.quotas import MAX_AMOUNT
from gateway.rate_limits import (
    RateLimit,
    RateLimitRefused,
    RateLimitUnknown,
    rate_limits,
    remove_rate_limit,
    set_rate_limit,
)

pytestmark = pytest.mark.django_db

TARGETS = {
    "global": {},
    "model:gpt-4": {"model__name": "gpt-4"},
    "provider:acme": {"provider__name": "acme"},
    "key:pid-bot": {"api_key__name": "bot"},
    "key:bot": {"api_key__name": "bot"},
    "tenant:team": {"tenant__name": "team"},
    "ip:198.51.100.1": {"address": "198.51.100.1"},
    "ip:2001:DB8::0:1": {"address": "2001:db8::1"},
}


@pytest.fixture(autouse=True)
def targets() -> None:
    team = Tenant.objects.create(name="team")
    Model.objects.create(name="gpt-4")
    Provider.objects.create(name="acme", kind="openai", base_url="http://a/v1")
    for public_id, name in (("bot", "bot"), ("twin-1", "twin"), ("twin-2", "twin")):
        ApiKey.objects.create(
            tenant=team, name=name, public_id=f"pid-{public_id}", digest=public_id
        )


def rows(limit_id: str) -> dict[tuple[str, str], int]:
    """Give the rows of a rate limit: measure, window, amount."""
    found = Limit.objects.filter(rate_limit_id=limit_id)
    return {(row.measure, row.window): row.amount for row in found}


def refusal_of(action: Callable[[], object]) -> str:
    with pytest.raises(RateLimitRefused) as refused:
        action()
    return refused.value.message


# --- Whom --------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_each_target_is_limited_and_told_as_it_was_given(target: str) -> None:
    wanted = RateLimit("one", target, requests_per_minute=7)
    assert set_rate_limit(wanted) == wanted
    row = Limit.objects.get(rate_limit_id="one", **TARGETS[target])
    assert (row.measure, row.window, row.amount) == ("requests", "minute", 7)
    row.full_clean()
    assert rate_limits() == rate_limits(target) == [wanted]
    others = [name for name in TARGETS if TARGETS[name] != TARGETS[target]]
    assert [rate_limits(name) for name in others] == [[]] * len(others)
    remove_rate_limit("one")
    assert rate_limits() == []
    assert not Limit.objects.exists()


def test_a_model_is_known_by_both_spellings_of_its_name() -> None:
    Model.objects.create(name="llama3:latest")
    set_rate_limit(RateLimit("one", "model:llama3", requests_per_hour=1))
    assert Limit.objects.get().model == Model.objects.get(name="llama3:latest")
    assert [limit.target for limit in rate_limits()] == ["model:llama3"]
    assert rate_limits("model:llama3:latest") == rate_limits()


@pytest.mark.parametrize(
    ("target", "word"),
    [
        ("model:nobody", "no model 'nobody'"),
        ("provider:nobody", "no provider 'nobody'"),
        ("key:nobody", "no key 'nobody'"),
        ("tenant:nobody", "no tenant 'nobody'"),
    ],
)
def test_what_is_not_there_cannot_be_limited_and_has_no_limits(
    target: str, word: str
) -> None:
    with pytest.raises(RateLimitUnknown, match=word):
        set_rate_limit(RateLimit("one", target, requests_per_minute=7))
    assert rate_limits(target) == []
    assert not Limit.objects.exists()


@pytest.mark.parametrize(
    ("target", "word"),
    [
        ("everyone", "no target"),
        ("model:", "no target"),
        ("model:a\0b", "no target"),
        ("Model:gpt-4", "no target"),
        ("global:x", "no target"),
        ("ip:10.0.0.0/8", "no IP address"),
        ("ip:localhost", "no IP address"),
        ("key:twin", "Several keys"),
    ],
)
def test_what_is_no_target_is_refused(target: str, word: str) -> None:
    wanted = RateLimit("one", target, requests_per_minute=7)
    assert word in refusal_of(lambda: set_rate_limit(wanted))
    assert word in refusal_of(lambda: rate_limits(target))
    assert not Limit.objects.exists()


def test_a_renamed_target_is_told_by_its_name() -> None:
    set_rate_limit(RateLimit("one", "key:bot", requests_per_minute=7))
    set_rate_limit(RateLimit("two", "model:gpt-4", requests_per_minute=7))
    ApiKey.objects.filter(name="bot").update(name="robot")
    Model.objects.update(name="gpt-5")
    assert [limit.target for limit in rate_limits()] == ["key:pid-bot", "model:gpt-5"]


def test_a_limit_goes_with_what_it_limits() -> None:
    set_rate_limit(RateLimit("one", "model:gpt-4", requests_per_minute=7))
    Model.objects.all().delete()
    assert rate_limits() == []


# --- How much ----------------------------------------------------------------------------

S, M, H = ("requests", "second"), ("requests", "minute"), ("requests", "hour")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("5 0 0 0", {S: 5}),
        ("5 100 1000 0", {S: 5, M: 100, H: 1000}),
        ("5 0 0 20", {S: 20, M: 300}),
        ("5 100 0 20", {S: 20, M: 100}),
        ("5 1000 0 20", {S: 20, M: 300}),
        ("5 0 0 5", {S: 5}),
        ("5 0 0 2", {S: 2}),
        ("0 60 0 10", {S: 10, M: 60}),
        ("0 0 60 10", {S: 10, H: 60}),
        ("1 0 0 100", {S: 100, M: 100, H: 3600}),
        ("1 0 50 100", {S: 100, M: 100, H: 50}),
    ],
)
def test_rates_and_bursts_are_rows(given: str, expected: dict[Any, int]) -> None:
    second, minute, hour, burst = map(int, given.split())
    wanted = RateLimit("one", "global", second, minute, hour, burst)
    set_rate_limit(wanted)
    assert rows("one") == expected
    assert rate_limits() == [wanted]


def test_metadata_are_kept_and_what_they_limit_is_enforced() -> None:
    metadata = {
        "team": "network",
        "tokens_per_minute": "5000",
        "max_concurrency": "3",
        "output_tokens_per_day": "9",
    }
    wanted = RateLimit("one", "global", requests_per_second=1, metadata=metadata)
    set_rate_limit(wanted)
    assert rows("one") == {
        S: 1,
        ("tokens", "minute"): 5000,
        ("concurrency", ""): 3,
        ("output_tokens", "day"): 9,
    }
    assert rate_limits() == [wanted]


def test_metadata_alone_are_a_limit_and_the_stricter_of_two_counts() -> None:
    alone = {"max_concurrency": "3"}
    set_rate_limit(RateLimit("one", "global", metadata=alone))
    assert rows("one") == {("concurrency", ""): 3}
    both = {"requests_per_minute": "9"}
    set_rate_limit(RateLimit("two", "global", 0, 7, metadata=both))
    assert rows("two") == {M: 7}


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({}, "Nothing is limited"),
        ({"metadata": {"team": "network"}}, "Nothing is limited"),
        ({"requests_per_second": -1}, "requests_per_second is negative"),
        ({"requests_per_hour": 5, "burst_size": -1}, "burst_size is negative"),
        ({"burst_size": 5}, "needs a rate"),
        ({"burst_size": 5, "metadata": {"max_concurrency": "1"}}, "needs a rate"),
        ({"requests_per_second": 1, "burst_size": 3601}, "more than an hour"),
        ({"requests_per_hour": MAX_AMOUNT + 1}, "must be 1 to"),
        ({"metadata": {"tokens_per_minute": "many"}}, "tokens_per_minute"),
        ({"metadata": {"tokens_per_minute": "1.5"}}, "whole number"),
        ({"metadata": {"tokens_per_minute": "-1"}}, "whole number"),
        ({"metadata": {"max_concurrency": "0"}}, "max_concurrency must be 1"),
        ({"metadata": {"max_concurrency": "9" * 5000}}, "whole number"),
        ({"metadata": {"measure": "patience", "amount": "1"}}, "name no limit"),
        ({"requests_per_hour": 1, "metadata": {"a": "\0"}}, "zero byte"),
        ({"requests_per_hour": 1, "metadata": {"a": "x" * 10_000}}, "10,000"),
        ({"requests_per_hour": 1, "id": "x" * 201}, "200 characters"),
        ({"requests_per_hour": 1, "id": "a\0"}, "printable"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    fields: dict[str, Any], word: str
) -> None:
    set_rate_limit(RateLimit("one", "global", requests_per_minute=7))
    wanted = RateLimit(**{"id": "one", "target": "global", **fields})
    assert word in refusal_of(lambda: set_rate_limit(wanted))
    assert rows("one") == {M: 7}
    assert Limit.objects.count() == 1


# --- Setting anew --------------------------------------------------------------------------


def test_an_id_that_is_set_again_replaces_its_rows_and_those_that_stay_count_on() -> (
    None
):
    set_rate_limit(RateLimit("one", "global", 5, 60))
    minute = Limit.objects.get(window="minute").pk
    set_rate_limit(RateLimit("one", "global", 0, 70, 900))
    assert rows("one") == {M: 70, H: 900}
    assert Limit.objects.get(window="minute").pk == minute
    set_rate_limit(RateLimit("one", "model:gpt-4", 0, 70))
    row = Limit.objects.get()
    assert row.pk != minute, "another target does not inherit what was counted"
    assert row.model is not None


def test_setting_the_same_again_changes_nothing() -> None:
    wanted = RateLimit("one", "global", 5, 60, metadata={"a": "b"})
    set_rate_limit(wanted)
    before = list(Limit.objects.values()), revision.current()
    set_rate_limit(wanted)
    assert (list(Limit.objects.values()), revision.current()) == before


def test_without_an_id_it_is_named_by_its_target() -> None:
    made = set_rate_limit(RateLimit("", "model:gpt-4", 5))
    assert made.id == "model:gpt-4"
    set_rate_limit(RateLimit("", "model:gpt-4", 6))
    assert rows("model:gpt-4") == {S: 6}
    remove_rate_limit("model:gpt-4")
    assert rate_limits() == []


def test_another_id_of_the_same_target_is_another_limit() -> None:
    one = set_rate_limit(RateLimit("one", "global", 5))
    two = set_rate_limit(RateLimit("two", "global", 9))
    assert rate_limits("global") == [one, two]
    remove_rate_limit("one")
    assert rate_limits() == [two]


def test_what_is_not_enabled_is_kept_and_not_enforced() -> None:
    wanted = RateLimit("one", "global", 5, 60, enabled=False)
    set_rate_limit(wanted)
    assert set(Limit.objects.values_list("enabled", flat=True)) == {False}
    assert rate_limits() == [wanted]
    kept = set(Limit.objects.values_list("pk", flat=True))
    set_rate_limit(replace(wanted, enabled=True))
    assert set(Limit.objects.filter(enabled=True).values_list("pk", flat=True)) == kept


@pytest.mark.parametrize("limit_id", ["", "nobody", "row-99", "a\0", "row-" + "9" * 30])
def test_what_is_not_there_cannot_be_removed(limit_id: str) -> None:
    set_rate_limit(RateLimit("one", "global", 5))
    Limit.objects.create(amount=3)
    with pytest.raises(RateLimitUnknown, match="no rate limit"):
        remove_rate_limit(limit_id)
    assert Limit.objects.count() == 2


def test_a_change_that_fails_halfway_changes_nothing() -> None:
    set_rate_limit(RateLimit("one", "global", 5, 60))
    before = list(Limit.objects.order_by("id").values())
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMP TRIGGER fails BEFORE INSERT ON gateway_limit "
            "WHEN NEW.\"window\" = 'hour' BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    try:
        with pytest.raises(IntegrityError, match="full"):
            set_rate_limit(RateLimit("one", "model:gpt-4", 5, 60, 900))
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER fails")
    assert list(Limit.objects.order_by("id").values()) == before


# --- What operators made or changed --------------------------------------------------------


def test_an_operators_rows_are_listed_removed_and_replaced_by_their_own_ids() -> None:
    model = Model.objects.get()
    hour = Limit.objects.create(model=model, amount=30, window="hour")
    tokens = Limit.objects.create(
        address="::1", measure="tokens", amount=9, window="day", enabled=False
    )
    at_once = Limit.objects.create(amount=4, measure="concurrency", window="")
    listed = rate_limits()
    assert listed == [
        RateLimit(f"row-{hour.pk}", "model:gpt-4", requests_per_hour=30),
        RateLimit(
            f"row-{tokens.pk}",
            "ip:::1",
            enabled=False,
            metadata={"measure": "tokens", "amount": "9", "window": "day"},
        ),
        RateLimit(
            f"row-{at_once.pk}",
            "global",
            metadata={"measure": "concurrency", "amount": "4", "window": ""},
        ),
    ]
    for limit in listed:  # read and written back, it is the same
        assert set_rate_limit(limit) == limit
    assert rate_limits() == listed
    assert [row.pk for row in Limit.objects.all()] == [hour.pk, tokens.pk, at_once.pk]
    set_rate_limit(RateLimit(f"row-{hour.pk}", "model:gpt-4", 0, 0, 31, 2))
    assert rows(f"row-{hour.pk}") == {S: 2, H: 31}
    for limit in listed:
        remove_rate_limit(limit.id)
    assert not Limit.objects.exists()


def test_an_operators_row_is_removed_by_its_id() -> None:
    row, other = (Limit.objects.create(amount=amount) for amount in (1, 2))
    remove_rate_limit(f"row-{row.pk}")
    assert list(Limit.objects.all()) == [other]


def test_no_limit_takes_the_id_of_a_row_that_is_not_there() -> None:
    with pytest.raises(RateLimitUnknown, match="'row-99' to replace"):
        set_rate_limit(RateLimit("row-99", "global", 5))


def test_what_an_operator_has_changed_is_told_as_it_is() -> None:
    metadata = {"team": "network", "tokens_per_minute": "5000"}
    set_rate_limit(RateLimit("one", "global", 5, 0, 0, 20, metadata=metadata))
    Limit.objects.filter(measure="requests", window="minute").update(amount=100)
    Limit.objects.filter(measure="tokens").update(window="day")
    assert rate_limits() == [
        RateLimit(
            "one",
            "global",
            requests_per_second=20,
            requests_per_minute=100,
            metadata={"team": "network", "tokens_per_day": "5000"},
        )
    ]
    Limit.objects.filter(window="second").update(enabled=False)
    (limit,) = rate_limits()
    assert (limit.requests_per_second, limit.enabled) == (0, True)
    Limit.objects.update(enabled=False)
    (limit,) = rate_limits()
    assert (limit.requests_per_second, limit.enabled) == (20, False)


def test_a_row_that_an_operator_gave_to_another_target_stands_apart() -> None:
    set_rate_limit(RateLimit("one", "global", 5, 60))
    Limit.objects.filter(window="minute").update(model=Model.objects.get())
    assert [(limit.id, limit.target) for limit in rate_limits()] == [
        ("one", "global"),
        ("one", "model:gpt-4"),
    ]
    assert rate_limits("model:gpt-4")[0].requests_per_minute == 60


# --- Whatever is given ---------------------------------------------------------------------

TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp", "Zs"]),
    min_size=1,
    max_size=20,
)
AMOUNT = st.integers(0, 1_000_000)
GIVEN = st.builds(
    RateLimit,
    id=TEXT,
    target=st.sampled_from(sorted(TARGETS)),
    requests_per_second=AMOUNT,
    requests_per_minute=AMOUNT,
    requests_per_hour=st.integers(1, 1_000_000),
    burst_size=st.one_of(st.just(0), AMOUNT),
    enabled=st.booleans(),
    metadata=st.dictionaries(TEXT, TEXT, max_size=3).flatmap(
        lambda kept: st.dictionaries(
            st.sampled_from(["tokens_per_minute", "max_concurrency"]),
            st.integers(1, MAX_AMOUNT).map(str),
        ).map(lambda enforced: kept | enforced)
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(GIVEN)
def test_any_valid_rate_limit_comes_back_as_it_was_given(wanted: RateLimit) -> None:
    assume(wanted.burst_size <= 3600 * (wanted.requests_per_second or MAX_AMOUNT))
    assert set_rate_limit(wanted) == wanted
    assert rate_limits(wanted.target) == [wanted]
    for row in Limit.objects.all():
        row.full_clean()
    remove_rate_limit(wanted.id)
    assert rate_limits() == []
