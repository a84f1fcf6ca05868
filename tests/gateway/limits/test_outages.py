"""Redis frozen, full, emptied, restarted, absent: requests go on, counted here."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator

import pytest

from gateway import metrics
from gateway.errors import BudgetExhausted, RateLimited
from gateway.kinds import Measure
from gateway.limits.charges import Spent
from gateway.limits.circuit import FAILURES
from gateway.limits.limiter import Limiter
from gateway.limits.sharing import RedisTerms
from tests.gateway.limits.quotas import (
    DAY,
    ESTIMATE,
    SPENT,
    at_once,
    budget,
    limit,
)
from tests.gateway.limits.redis_servers import (
    RedisServer,
    eventually,
    in_the_end,
    running_limiter,
)

TERMS = RedisTerms(
    background_deadline_s=0.2, lease_s=0.9, first_wait_s=0.1, longest_wait_s=0.2
)
PATIENT = RedisTerms(deadline_s=10.0, lease_s=0.9, first_wait_s=0.1, longest_wait_s=0.2)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


def states(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.levelname
        for record in caplog.records
        if record.name == "gateway.limits.link"
    ]


async def fall_back(limiter: Limiter) -> None:
    """Ask until Redis is given up; each of these requests is served all the same."""
    for _ in range(FAILURES):
        assert not (await limiter.admit([limit(1000)], [], ESTIMATE)).is_shared


async def test_a_frozen_redis_slows_five_requests_and_then_none(
    server: RedisServer, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "gateway.limits.link")
    async with running_limiter(server.url, terms=TERMS) as limiter:
        await eventually(lambda: limiter.is_shared)
        server.freeze()
        await fall_back(limiter)
        assert not limiter.is_shared
        assert metrics.LIMITS_SHARED._value.get() == 0
        for _ in range(200):
            grant = at_once(limiter.admit([limit(1000)], [], ESTIMATE))
            limiter.settle(grant, SPENT)
        assert states(caplog) == ["INFO", "WARNING"]
        server.thaw()
        await eventually(lambda: limiter.is_shared)
        assert metrics.LIMITS_SHARED._value.get() == 1
        assert states(caplog) == ["INFO", "WARNING", "INFO"]


async def test_while_redis_is_away_a_process_enforces_its_share(server: RedisServer):
    async with running_limiter(server.url, terms=TERMS) as limiter:
        limiter.set_share(4)
        server.freeze()
        for _ in range(25):
            await limiter.admit([limit(100)], [], ESTIMATE)
        with pytest.raises(RateLimited):
            await limiter.admit([limit(100)], [], ESTIMATE)


async def test_a_process_knows_alone_what_it_let_in_through_redis(
    server: RedisServer,
):
    async with running_limiter(server.url, terms=PATIENT) as limiter:
        limiter.set_share(2)
        row = limit(100)
        grants = [await limiter.admit([row], [], ESTIMATE) for _ in range(48)]
        assert all(grant.is_shared for grant in grants)
        limiter.release(grants[0])
        server.kill()
        for _ in range(3):
            await limiter.admit([row], [], ESTIMATE)
        with pytest.raises(RateLimited):
            await limiter.admit([row], [], ESTIMATE)


async def test_money_spent_through_redis_counts_without_it(server: RedisServer):
    daily = budget(100)
    async with running_limiter(server.url, terms=PATIENT) as limiter:
        grant = await limiter.admit([], [daily], ESTIMATE)
        assert grant.is_shared
        server.kill()
        await fall_back(limiter)
        with pytest.raises(BudgetExhausted):
            at_once(limiter.admit([], [daily], ESTIMATE))
        limiter.settle(grant, SPENT)
        at_once(limiter.admit([], [daily], ESTIMATE))


async def test_a_redis_without_memory_is_left_alone_until_it_has_some(
    server: RedisServer,
):
    async with running_limiter(server.url, terms=PATIENT) as limiter:
        server.ask("CONFIG", "SET", "maxmemory", "1")
        await fall_back(limiter)
        assert not limiter.is_shared
        server.ask("CONFIG", "SET", "maxmemory", "0")
        await eventually(lambda: limiter.is_shared)
        assert (await limiter.admit([limit()], [], ESTIMATE)).is_shared


async def test_an_emptied_redis_learns_again_what_is_held_and_what_is_spent(
    server: RedisServer,
):
    row, daily = limit(2, Measure.CONCURRENCY), budget(1000)
    async with running_limiter(server.url, terms=PATIENT) as limiter:
        limiter.refresh_spends({(1, DAY): 850})
        for _ in range(2):
            await limiter.admit([row], [daily], ESTIMATE)
        server.ask("FLUSHALL")
        with pytest.raises(BudgetExhausted):
            await limiter.admit([], [daily], ESTIMATE)
        await eventually(lambda: server.ask("KEYS", "*flight"))
        with pytest.raises(RateLimited):
            await limiter.admit([row], [], ESTIMATE)


async def test_another_worker_sees_what_was_spent_before_redis_was_emptied(
    server: RedisServer,
):
    daily = budget(1000)
    async with (
        running_limiter(server.url, worker="one", terms=PATIENT) as one,
        running_limiter(server.url, worker="two", terms=PATIENT) as two,
    ):
        one.settle(await one.admit([], [daily], ESTIMATE), Spent(1, 1, 1000))
        server.ask("FLUSHALL")
        two.refresh_spends({(1, DAY): 1000})  # as the database has it
        with pytest.raises(BudgetExhausted):
            await two.admit([], [daily], ESTIMATE)


async def test_a_redis_that_was_restarted_counts_again(server: RedisServer):
    async with running_limiter(server.url, terms=PATIENT) as limiter:
        await limiter.admit([limit(1)], [], ESTIMATE)
        server.kill()
        await fall_back(limiter)
        server.start()
        await eventually(lambda: limiter.is_shared)
        assert (await limiter.admit([limit(1)], [], ESTIMATE)).is_shared


async def test_a_grant_of_one_side_ends_on_that_side(server: RedisServer):
    row = limit(1, Measure.CONCURRENCY)
    async with running_limiter(server.url, terms=PATIENT) as limiter:
        shared = await limiter.admit([row], [], ESTIMATE)
        server.kill()
        await fall_back(limiter)
        local = at_once(limiter.admit([row], [], ESTIMATE))
        limiter.settle(shared, SPENT)
        with pytest.raises(RateLimited):
            at_once(limiter.admit([row], [], ESTIMATE))
        limiter.settle(local, SPENT)
        at_once(limiter.admit([row], [], ESTIMATE))


async def test_a_client_that_leaves_during_the_admission_leaves_no_lease(
    server: RedisServer,
):
    row, daily = limit(1, Measure.CONCURRENCY), budget(100)
    terms = RedisTerms(deadline_s=10.0, background_deadline_s=10.0)
    async with running_limiter(server.url, terms=terms) as limiter:
        limiter.release(await limiter.admit([row], [daily], ESTIMATE))
        await eventually(lambda: not server.ask("KEYS", "*flight"))
        server.freeze()
        asking = asyncio.get_running_loop().create_task(
            limiter.admit([row], [daily], ESTIMATE)
        )
        for _ in range(20):  # turns of the loop: the question is sent, not answered
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking})
        assert asking.cancelled()
        server.thaw()
        assert (await in_the_end(limiter, [row], [daily])).is_shared


async def test_a_process_starts_without_redis_and_finds_it_later(server: RedisServer):
    server.kill()
    async with running_limiter(server.url, terms=PATIENT) as limiter:
        assert not at_once(limiter.admit([limit()], [], ESTIMATE)).is_shared
        server.start()
        await eventually(lambda: limiter.is_shared)


async def test_a_busy_process_does_not_take_its_own_lateness_for_redis(
    server: RedisServer,
):
    terms = RedisTerms(deadline_s=0.05, background_deadline_s=0.2, lease_s=30.0)
    async with running_limiter(server.url, terms=terms) as limiter:
        await eventually(lambda: limiter.is_shared)
        row = limit(1_000_000)
        for _ in range(10):
            admitted = [
                asyncio.ensure_future(limiter.admit([row], [], ESTIMATE))
                for _ in range(64)
            ]
            await asyncio.sleep(0)  # all of them are under way
            await asyncio.sleep(0)
            block_the_loop(0.1)  # twice the deadline
            await asyncio.wait(admitted)
            assert all(task.result().is_shared for task in admitted)


def block_the_loop(seconds: float) -> None:
    """Do what requests do: keep the loop from everything else."""
    ends_s = time.monotonic() + seconds
    while time.monotonic() < ends_s:
        pass
