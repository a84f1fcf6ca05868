"""The pages of versions, promotions, the policy and the history of traffic."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from gateway import traffic
from gateway.kinds import PromotionState, TrafficAction
from gateway.models import (
    Heartbeat,
    Promotion,
    TrafficChange,
    TrafficPolicy,
    VersionWeight,
)
from tests.gateway.admin.pages import (
    deployment,
    errors_in,
    page_of,
    provider,
    saved,
    text_of,
)

pytestmark = pytest.mark.django_db

VERSIONS = "/admin/gateway/versionweight/"
ROLL_BACK = VERSIONS + "roll_back/"
PROMOTE = VERSIONS + "promote/{}/"
POLICY = "/admin/gateway/trafficpolicy/1/change/"
HISTORY = "/admin/gateway/trafficchange/"
PROMOTIONS = "/admin/gateway/promotion/"
PAGES = (VERSIONS, POLICY, HISTORY, PROMOTIONS)


@pytest.fixture(autouse=True)
def _two_versions() -> None:
    at = provider()
    deployment("m", at, upstream_model="blue")
    deployment("m", at, upstream_model="green", version="v2")


def weights() -> dict[str, int]:
    return dict(traffic.standing().weights)


def row(version: str) -> VersionWeight:
    return VersionWeight.objects.get(version=version)


def heartbeat(instance: str, version: str, *, silent_s: float = 0) -> None:
    now = timezone.now()
    Heartbeat.objects.create(
        worker=f"w of {instance}",
        instance=instance,
        run="r",
        pid=1,
        started_at=now,
        beat_at=now - timedelta(seconds=silent_s),
        config_revision=1,
        version=version,
    )


def viewer(*names: str) -> Client:
    """Log in somebody who may only view these kinds of rows."""
    user = User.objects.create_user("viewer", is_staff=True)
    codes = [f"view_{name}" for name in names]
    user.user_permissions.set(Permission.objects.filter(codename__in=codes))
    client = Client()
    client.force_login(user)
    return client


def told(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def test_the_list_shows_every_version_before_any_weight_was_set(
    admin_client: Client,
) -> None:
    heartbeat("one", "v1")
    heartbeat("two", "v3")
    heartbeat("gone", "v1", silent_s=60)
    page = text_of(admin_client.get(VERSIONS))
    for shown in ("100 %", "active", "1 deployment", "one", "two", "?version=v2"):
        assert shown in page, shown
    assert "gone" not in page
    assert not VersionWeight.objects.exists()
    assert PROMOTE.format("v2") in page
    assert PROMOTE.format("v1") not in page


def test_the_first_weight_of_a_version_is_taken_from_the_active_one(
    admin_client: Client,
) -> None:
    form = text_of(admin_client.get(f"{VERSIONS}add/?version=v2"))
    assert '<option value="v2" selected>' in form
    data = {"version": "v2", "weight": "10"}
    response = admin_client.post(f"{VERSIONS}add/", data, follow=True)
    assert "v1 90 %, v2 10 %." in told(response)
    assert weights() == {"v1": 90, "v2": 10}
    assert TrafficChange.objects.get().reason == "In the admin, by root."


def test_a_saved_weight_changes_the_others(admin_client: Client) -> None:
    traffic.set_weight("v2", 10)
    assert saved(admin_client.post(page_of(row("v2")), {"weight": "35"}))
    assert weights() == {"v1": 65, "v2": 35}
    assert saved(admin_client.post(page_of(row("v1")), {"weight": "0"}))
    assert weights() == {"v1": 0, "v2": 100}
    assert row("v1").is_draining


def test_a_weight_that_is_saved_as_it_was_changes_nothing(admin_client: Client) -> None:
    traffic.promote("v2")
    assert not row("v1").is_draining
    assert saved(admin_client.post(page_of(row("v1")), {"weight": "0"}))
    assert not row("v1").is_draining
    assert TrafficChange.objects.count() == 1


def test_the_instances_of_a_version_drain_by_order_and_serve_again(
    admin_client: Client,
) -> None:
    traffic.promote("v2")
    url = page_of(row("v1"))
    assert saved(admin_client.post(url, {"weight": "0", "is_draining": "on"}))
    assert row("v1").is_draining
    assert "draining" in text_of(admin_client.get(VERSIONS))
    assert saved(admin_client.post(url, {"weight": "5", "is_draining": "on"}))
    assert not row("v1").is_draining
    assert saved(admin_client.post(url, {"weight": "5", "is_draining": "on"}))
    assert saved(admin_client.post(url, {"weight": "5"}))
    assert not row("v1").is_draining
    assert weights() == {"v1": 5, "v2": 95}


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"version": "v2", "weight": "101"}, "weight"),
        ({"version": "v2", "weight": "-1"}, "weight"),
        ({"version": "v2"}, "weight"),
        ({"version": "v9", "weight": "10"}, "version"),
    ],
)
def test_a_bad_weight_or_an_unknown_version_is_refused_at_its_field(
    admin_client: Client, data: dict[str, str], field: str
) -> None:
    assert set(errors_in(admin_client.post(f"{VERSIONS}add/", data))) == {field}
    assert not VersionWeight.objects.exists()


def test_a_version_is_promoted_at_once_after_a_question(admin_client: Client) -> None:
    page = text_of(admin_client.get(PROMOTE.format("v2")))
    assert "v1 100 %, v2 0 %." in page
    assert weights() == {"v1": 100, "v2": 0}
    response = admin_client.post(PROMOTE.format("v2"), {"step_percent": ""})
    assert response.status_code == HTTPStatus.FOUND
    standing = traffic.standing()
    assert standing.weights == {"v1": 0, "v2": 100}
    assert (standing.active_version, standing.previous_version) == ("v2", "v1")
    assert TrafficChange.objects.get().reason == "In the admin, by root."


def test_a_version_is_promoted_in_steps_and_that_is_cancelled(
    admin_client: Client,
) -> None:
    admin_client.post(PROMOTE.format("v2"), {"step_percent": "20"})
    promotion = Promotion.objects.get()
    cancel = f"{PROMOTIONS}{promotion.pk}/cancel/"
    assert "running" in text_of(admin_client.get(PROMOTIONS))
    assert cancel in text_of(admin_client.get(page_of(promotion)))
    text_of(admin_client.get(cancel))
    promotion.refresh_from_db()
    assert promotion.state == PromotionState.RUNNING
    assert admin_client.post(cancel).status_code == HTTPStatus.FOUND
    promotion.refresh_from_db()
    assert promotion.state == PromotionState.CANCELLED
    assert promotion.reason == "In the admin, by root."
    assert weights() == {"v1": 80, "v2": 20}
    assert cancel not in text_of(admin_client.get(page_of(promotion)))
    assert admin_client.post(cancel).status_code == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize("step", ["0", "101", "x"])
def test_a_step_out_of_range_is_refused(admin_client: Client, step: str) -> None:
    response = admin_client.post(PROMOTE.format("v2"), {"step_percent": step})
    assert set(response.context["form"].errors) == {"step_percent"}
    assert not TrafficChange.objects.exists()


def test_what_nothing_bears_cannot_be_promoted(admin_client: Client) -> None:
    page = text_of(admin_client.post(PROMOTE.format("v9"), {"step_percent": ""}))
    assert "has the version label &#x27;v9&#x27;." in page
    assert weights() == {"v1": 100, "v2": 0}


def test_rolling_back_goes_to_the_active_version_then_to_the_one_before(
    admin_client: Client,
) -> None:
    traffic.promote("v2")
    traffic.set_weight("v1", 30)
    assert "Roll back" in text_of(admin_client.get(VERSIONS))
    assert "v2 is active; before it, v1 was." in text_of(admin_client.get(ROLL_BACK))
    admin_client.post(ROLL_BACK, {"target": ""})
    assert weights() == {"v1": 0, "v2": 100}
    admin_client.post(ROLL_BACK, {"target": ""})
    assert weights() == {"v1": 100, "v2": 0}
    admin_client.post(ROLL_BACK, {"target": "v2"})
    assert weights() == {"v1": 0, "v2": 100}
    actions = TrafficChange.objects.values_list("action", flat=True)[:3]
    assert set(actions) == {TrafficAction.ROLLBACK}


def test_a_rollback_to_nowhere_says_why(admin_client: Client) -> None:
    page = text_of(admin_client.post(ROLL_BACK, {"target": ""}))
    assert "no version was active before it" in page


def test_only_a_version_that_nothing_bears_can_be_deleted(
    admin_client: Client,
) -> None:
    traffic.set_weight("v2", 0)
    gone = VersionWeight.objects.create(version="v0", weight=0)
    for version, status in (("v2", HTTPStatus.FORBIDDEN), ("v0", HTTPStatus.OK)):
        url = f"{VERSIONS}{row(version).pk}/delete/"
        assert admin_client.get(url).status_code == status
    admin_client.post(f"{VERSIONS}{gone.pk}/delete/", {"post": "yes"})
    assert weights() == {"v1": 100, "v2": 0}
    assert not VersionWeight.objects.filter(version="v0").exists()


def test_the_policy_shows_its_defaults_before_it_has_a_row_and_keeps_what_is_active(
    admin_client: Client,
) -> None:
    TrafficPolicy.objects.all().delete()
    response = admin_client.get("/admin/gateway/trafficpolicy/")
    assert response.headers["location"] == POLICY
    assert "v1" in text_of(admin_client.get(POLICY))
    assert not TrafficPolicy.objects.exists()
    data = {
        "is_automatic": "on",
        "error_margin_percent": "2.5",
        "ttft_margin_percent": "50",
        "minimum_requests": "20",
    }
    assert saved(admin_client.post(POLICY, data))
    traffic.promote("v2")
    assert saved(admin_client.post(POLICY, data | {"minimum_requests": "30"}))
    policy = TrafficPolicy.objects.get()
    assert (policy.is_automatic, policy.error_margin_percent) == (True, 2.5)
    assert (policy.minimum_requests, policy.active_version) == (30, "v2")
    bad = admin_client.post(POLICY, data | {"minimum_requests": "0"})
    assert set(errors_in(bad)) == {"minimum_requests"}


def test_the_policy_is_one_row(admin_client: Client) -> None:
    add = admin_client.get("/admin/gateway/trafficpolicy/add/")
    delete = admin_client.get("/admin/gateway/trafficpolicy/1/delete/")
    assert {add.status_code, delete.status_code} == {HTTPStatus.FORBIDDEN}
    other = admin_client.get("/admin/gateway/trafficpolicy/2/change/")
    assert other.status_code == HTTPStatus.FOUND


def test_the_history_is_shown_and_not_changed(admin_client: Client) -> None:
    traffic.promote("v2", reason="because <b>")
    page = text_of(admin_client.get(HISTORY))
    for shown in ("promote", "v2 100 %", "because &lt;b&gt;"):
        assert shown in page, shown
    change = TrafficChange.objects.get()
    assert "v2 100 %" in text_of(admin_client.get(page_of(change)))
    for url in (f"{HISTORY}add/", f"{HISTORY}{change.pk}/delete/"):
        assert admin_client.get(url).status_code == HTTPStatus.FORBIDDEN
    assert admin_client.post(page_of(change)).status_code == HTTPStatus.FORBIDDEN


def test_who_may_only_view_sees_everything_and_changes_nothing() -> None:
    traffic.begin_promotion("v2", 20)
    client = viewer("versionweight", "trafficpolicy", "trafficchange", "promotion")
    promotion = Promotion.objects.get()
    for url in (*PAGES, page_of(row("v2")), page_of(promotion)):
        page = text_of(client.get(url))
        assert "Roll back" not in page
        assert "/cancel/" not in page
        assert "/promote/" not in page
    refused = (
        PROMOTE.format("v2"),
        ROLL_BACK,
        f"{PROMOTIONS}{promotion.pk}/cancel/",
        page_of(row("v2")),
        POLICY,
    )
    for url in refused:
        answer = client.post(url, {"weight": "5", "target": "v1"})
        assert answer.status_code == HTTPStatus.FORBIDDEN, url
    assert weights() == {"v1": 80, "v2": 20}
    assert client.get(PROMOTE.format("v2")).status_code == HTTPStatus.FORBIDDEN


def test_the_lists_need_a_fixed_number_of_queries(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    at = provider("another")
    for number in range(30):
        deployment("many", at, upstream_model=f"u{number}", version=f"w{number}")
        traffic.set_weight(f"w{number}", 1)
    for url in (VERSIONS, HISTORY, PROMOTIONS, "/admin/gateway/deployment/"):
        admin_client.get(url)
        with django_assert_max_num_queries(18):
            text_of(admin_client.get(url))


def test_deployments_show_the_weight_of_their_version(admin_client: Client) -> None:
    url = "/admin/gateway/deployment/"
    page = text_of(admin_client.get(url))
    assert page.count(">100 %") == 1
    assert page.count(">0 %") == 1
    traffic.set_weight("v2", 40)
    page = text_of(admin_client.get(url))
    assert page.count(">60 %") == 1
    assert page.count(">40 %") == 1
