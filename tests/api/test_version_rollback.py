"""Automatic rollback end to end: what workers count takes a broken version back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections
from django.utils import timezone

from gateway import traffic
from gateway.kinds import TrafficAction
from gateway.models import TrafficChange, TrafficPolicy
from gateway.promoting import Promoter
from tests.api.gateway_process import Gateway, fresh, wait_until
from tests.upstreams.simulators import running_simulator

LEAST = 20


@pytest.fixture
def _in_gateway(gateway: Gateway) -> Iterator[None]:
    """Work in the gateway's database, as its background process does."""
    own = connections["default"]
    connections["default"] = connections[gateway.alias]
    try:
        yield
    finally:
        connections["default"] = own


@pytest.mark.usefixtures("_in_gateway")
def test_a_version_that_never_works_is_taken_back_though_its_breaker_opens(
    gateway: Gateway,
) -> None:
    model = fresh("model")
    with running_simulator() as good, running_simulator() as bad:
        bad.plan.replace(["status:500"], repeat=True)
        for version, sim in (("v1", good), ("v2", bad)):
            gateway.add_provider(
                fresh(version),
                "openai",
                sim,
                models=[model],
                deployment={"version": version},
            )
        TrafficPolicy.objects.create(is_automatic=True, minimum_requests=LEAST)
        traffic.begin_promotion("v2", 50)
        gateway.apply()
        promoter = Promoter()
        promoter.do_round(timezone.now())
        for _ in range(2 * LEAST + 2):
            assert gateway.client.chat(model).is_whole
        assert len(bad.calls) < LEAST, "its breaker opened"

        def is_taken_back() -> bool:
            promoter.do_round(timezone.now())
            return traffic.standing().weights == {"v1": 100, "v2": 0}

        wait_until(is_taken_back, "v2 is taken back", limit_s=5, poll_s=0.1)
    change = TrafficChange.objects.all()[0]
    assert change.action == TrafficAction.AUTOMATIC_ROLLBACK
    assert change.reason.startswith("v2 failed 100.0 % of ")
