"""Cooldowns: how long a deployment or a provider is left alone."""

from __future__ import annotations

from gateway.kinds import Fault
from gateway.routing.cooldown import AccountCooldown, DeploymentCooldown


def refuse(cooldown: AccountCooldown, now_s: float, started_s: float | None = None):
    cooldown.refuse(
        Fault.CREDENTIAL_REJECTED,
        started_s=now_s if started_s is None else started_s,
        now_s=now_s,
    )
    return cooldown.until_s - now_s


def test_a_shorter_wait_never_cuts_a_longer_one():
    cooldown = DeploymentCooldown()
    cooldown.extend(30.0, Fault.RATE_LIMITED)
    cooldown.extend(10.0, Fault.UNAVAILABLE)
    assert (cooldown.until_s, cooldown.fault) == (30.0, Fault.RATE_LIMITED)


def test_every_refusal_doubles_the_wait_up_to_an_hour():
    cooldown, now_s, waits = AccountCooldown(), 0.0, []
    for _ in range(9):
        waits.append(refuse(cooldown, now_s))
        now_s = cooldown.until_s
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_refusals_of_requests_already_under_way_count_once():
    cooldown = AccountCooldown()
    refuse(cooldown, 10.0)
    refuse(cooldown, 11.0, started_s=9.0)
    assert cooldown.until_s == 70.0


def test_a_success_forgets_the_refusals():
    cooldown = AccountCooldown()
    refuse(cooldown, 0.0)
    cooldown.clear(started_s=60.0)
    assert cooldown.until_s < 0.0
    assert refuse(cooldown, 100.0) == 60.0


def test_a_success_of_a_request_older_than_the_refusal_forgets_nothing():
    cooldown = AccountCooldown()
    refuse(cooldown, 10.0)
    cooldown.clear(started_s=9.0)
    assert cooldown.until_s == 70.0
