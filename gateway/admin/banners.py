"""Banners on every page: which door is open, and what needs an operator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

from gateway.admin.key_forms import is_readable
from gateway.admin.unknown_prices import unpriced_deployments
from gateway.auth import is_loopback
from gateway.models import Budget, KeyPepper
from gateway.spending import Standing, standing_at, with_spending

OPEN = (
    "The door is open (AILB_AUTH=open): everybody who reaches this server is served, "
    "without a key."
)
LOCAL = "Programs on this machine are served without a key. The first API key closes the door."
UNREADABLE = (
    "No API key can be verified: AILB_ENCRYPTION_KEYS cannot open the secret that keys are "
    "stored under. Give the encryption key that was in use when the first one was made."
)


@dataclass(frozen=True, slots=True)
class Banner:
    """One line above a page; `url` is where to go about it, if anywhere."""

    text: str
    is_urgent: bool = True
    url: str = ""
    link: str = ""


def context(request: HttpRequest) -> dict[str, Any]:
    """Give templates the banners; none to those who are not logged in."""
    if not admin.site.has_permission(request):
        return {}
    return {"banners": list(banners())}


def banners() -> Iterator[Banner]:
    """Give every banner that there is a reason for; four small queries."""
    pepper = KeyPepper.objects.first()
    door = door_banner(pepper)
    if door is not None:
        yield door
    if not is_readable(pepper):
        yield Banner(UNREADABLE)
    yield from budget_banners()
    if unpriced := unpriced_deployments():
        yield price_banner(unpriced)


def door_banner(pepper: KeyPepper | None) -> Banner | None:
    """Say which door is open; None if every request needs a key.

    `pepper` is the row that the first key makes and that never goes again.
    """
    if settings.AILB_AUTH == "open":
        return Banner(OPEN)
    has_key = pepper is not None or bool(settings.AILB_API_KEY)
    if settings.AILB_AUTH != "auto" or has_key or not is_loopback(settings.HOST):
        return None
    return Banner(
        LOCAL,
        is_urgent=False,
        url=reverse("admin:gateway_apikey_add"),
        link="Make a key",
    )


def budget_banners() -> Iterator[Banner]:
    """Say how many budgets are spent, and how many have passed their warning."""
    rows = with_spending(Budget.objects.order_by())
    texts = {
        Standing.SPENT: ("1 budget is spent.", "{} budgets are spent."),
        Standing.WARNING: (
            "1 budget is at its warning.",
            "{} budgets are at their warning.",
        ),
    }
    for standing, (one, several) in texts.items():
        if count := standing_at(rows, standing).count():
            yield Banner(
                one if count == 1 else several.format(f"{count:,}"),
                url=reverse("admin:gateway_budget_changelist")
                + f"?standing={standing.value}",
                link="Show",
            )


def price_banner(unpriced: dict[int, int]) -> Banner:
    """Say that requests were served at prices nobody knows."""
    requests, deployments = sum(unpriced.values()), len(unpriced)
    served = "1 request" if requests == 1 else f"{requests:,} requests"
    by = "1 deployment" if deployments == 1 else f"{deployments:,} deployments"
    return Banner(
        f"{served} of the last day went to {by} whose price is unknown: what they cost "
        "is missing in budgets and reports.",
        url=reverse("admin:gateway_deployment_changelist") + "?price=unknown",
        link="Show",
    )
