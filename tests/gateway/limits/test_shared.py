"""Counting in a real Redis: one count for all processes, all or nothing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import orjson
import pytest
import redis

from gateway.access import Limit
from gateway.errors import BudgetExhausted, RateLimited
from gateway.kinds import Measure, Period, Scope
from gateway.limits import scripts
from gateway.limits.budgets import BudgetBook
from gateway.limits.charges import Grant, Spent
from gateway.limits.leases import Keyspace
from gateway.limits.limiter import Limiter
from gateway.limits.sharing import RedisTerms
from tests.gateway.limits import hammer
from tests.gateway.limits.quotas import DAY, ESTIMATE, SPENT, budget, limit
from tests.gateway.limits.redis_servers import (
    SHARED_URL,
    eventually,
    in_the_end,
    remove_keys,
    running_limiter,
    skip_without,
)

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def prefix() -> Iterator[str]:
    skip_without(SHARED_URL)
    name = f"test-{uuid.uuid4().hex}"
    yield name
    remove_keys(SHARED_URL, name)


@pytest.fixture
def client(prefix: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(SHARED_URL, decode_responses=True) as made:
        yield made


@pytest.fixture
async def start(prefix: str) -> AsyncIterator[Callable[..., object]]:
    """Start limiters that live until the test ends."""
    async with AsyncExitStack() as stack:

        async def start(worker: str = "one", *, lease_s: float = 30.0) -> Limiter:
            terms = RedisTerms(deadline_s=10.0, lease_s=lease_s)
            limiter = await stack.enter_async_context(
                running_limiter(
                    SHARED_URL, worker=worker, terms=terms, installation=prefix
                )
            )
            assert limiter.is_shared
            return limiter

        yield start


@pytest.fixture
def keys(prefix: str) -> Keyspace:
    return Keyspace(prefix)


async def tried(limiter: Limiter, *rows: Limit) -> Grant | None:
    try:
        return await limiter.admit(rows, [], ESTIMATE)
    except RateLimited:
        return None


def total_of(client: redis.Redis, key: str) -> int:
    return int(client.hget(key, "total") or 0)


async def test_two_processes_with_64_tasks_get_exactly_the_limit(prefix: str):
    processes = [process(prefix, worker, "rush") for worker in ("one", "two")]
    answers = [process.communicate(timeout=50) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert sum(int(out) for out, _ in answers) == 100


def process(prefix: str, worker: str, what: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, hammer.__file__, SHARED_URL, prefix, worker, what],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "tests.settings",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def test_leases_of_a_killed_process_are_free_again(
    prefix: str, start, client: redis.Redis, keys: Keyspace
):
    row = limit(2, Measure.CONCURRENCY)
    with process(prefix, "other", "hold") as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            first = client.zscore(keys.limit(row), "other:1")
            await eventually(lambda: client.zscore(keys.limit(row), "other:1") != first)
            limiter = await start("one", lease_s=hammer.LEASE_S)
            assert await tried(limiter, row) is None
        finally:
            other.kill()
    await in_the_end(limiter, [row])


async def test_a_settled_request_counts_what_it_used(
    start, client: redis.Redis, keys: Keyspace
):
    limiter, tokens = await start(), limit(150, Measure.TOKENS)
    flight = limit(3, Measure.CONCURRENCY, id=2)
    grant = await limiter.admit([tokens, flight], [], ESTIMATE)
    assert grant.is_shared
    assert [standing.remaining for standing in grant.standings] == [120, 2]
    assert 60 < grant.standings[0].reset_s <= 61
    limiter.settle(grant, SPENT)
    limiter.settle(grant, SPENT)
    await eventually(lambda: total_of(client, keys.limit(tokens)) == 13)
    await eventually(lambda: client.zcard(keys.limit(flight)) == 0)


async def test_a_released_request_gives_everything_back(
    start, client: redis.Redis, keys: Keyspace
):
    limiter, tokens, flight = (
        await start(),
        limit(150, Measure.TOKENS),
        limit(3, Measure.CONCURRENCY, id=2),
    )
    daily = budget(100)
    limiter.release(await limiter.admit([tokens, flight], [daily], ESTIMATE))
    await eventually(lambda: total_of(client, keys.limit(tokens)) == 0)
    await eventually(lambda: client.zcard(keys.limit(flight)) == 0)
    await limiter.admit([], [daily], ESTIMATE)


async def test_an_answer_longer_than_its_estimate_is_counted_whole(
    start, client: redis.Redis, keys: Keyspace
):
    limiter, tokens = await start(), limit(150, Measure.TOKENS)
    limiter.settle(await limiter.admit([tokens], [], ESTIMATE), Spent(100, 400))
    await eventually(lambda: total_of(client, keys.limit(tokens)) == 500)
    with pytest.raises(RateLimited) as refusal:
        await limiter.admit([tokens], [], ESTIMATE)
    assert refusal.value.retry_after_s is not None
    assert 0 < refusal.value.retry_after_s <= 61
    assert refusal.value.standings[0].remaining == 0


async def test_a_window_slides_in_redis_too(start):
    limiter, row, began_s = await start(), limit(2, window_s=1), time.monotonic()
    assert [bool(await tried(limiter, row)) for _ in range(3)] == [True, True, False]
    await in_the_end(limiter, [row])
    assert time.monotonic() - began_s >= 1.0


async def test_a_refused_request_consumes_nothing_anywhere(
    start, client: redis.Redis, keys: Keyspace
):
    limiter = await start()
    rows = (
        limit(100, id=1),
        limit(9000, Measure.TOKENS, id=2),
        limit(5, Measure.CONCURRENCY, id=3),
    )
    closed, spent = limit(1, id=4, scope=Scope.TENANT), budget(50)
    await limiter.admit([closed], [], ESTIMATE)
    limiter.refresh_spends({(1, DAY): 50})
    with pytest.raises(RateLimited) as refusal:
        await limiter.admit([*rows, closed], [], ESTIMATE)
    assert refusal.value.scope is Scope.TENANT
    with pytest.raises(BudgetExhausted):
        await limiter.admit(rows, [spent], ESTIMATE)
    assert [total_of(client, keys.limit(row)) for row in rows[:2]] == [0, 0]
    assert client.zcard(keys.limit(rows[2])) == 0


async def test_concurrency_is_named_before_any_window(start):
    limiter, flight = await start(), limit(1, Measure.CONCURRENCY, id=9)
    await limiter.admit([limit(1), flight], [], ESTIMATE)
    with pytest.raises(RateLimited) as refusal:
        await limiter.admit([limit(1), flight], [], ESTIMATE)
    assert refusal.value.measure is Measure.CONCURRENCY
    assert refusal.value.retry_after_s == 1.0


async def test_two_workers_pay_from_one_budget(start):
    one, two, daily = await start("one"), await start("two"), budget(250)
    first = await one.admit([], [daily], ESTIMATE)
    second = await two.admit([], [daily], ESTIMATE)
    third = await one.admit([], [daily], ESTIMATE)
    with pytest.raises(BudgetExhausted):
        await two.admit([], [daily], ESTIMATE)
    one.settle(first, Spent(1, 1, 10))
    two.settle(second, Spent(1, 1, 200))
    one.release(third)
    await in_the_end(two, [], [daily])


async def test_a_budget_warns_of_what_all_workers_have_spent(
    start, client: redis.Redis, keys: Keyspace
):
    one, two, daily = await start("one"), await start("two"), budget(warn_percent=60)
    one.settle(await one.admit([], [daily], ESTIMATE), Spent(1, 1, 599))
    settled, _ = keys.book(BudgetBook((daily.id, DAY), daily.period))
    await eventually(lambda: client.hget(settled, "sum") == "599")
    grant = await two.admit([], [daily], ESTIMATE)
    assert grant.warnings == ()
    two.settle(grant, Spent(1, 1, 43))
    (warning,) = (await two.admit([], [daily], ESTIMATE)).warnings
    assert (warning.spent_nano_usd, warning.percent) == (642, 64)


async def test_64_tasks_pass_a_budget_by_one_request_at_most(start):
    limiter, daily, admitted = await start(), budget(1050), 0

    async def client() -> None:
        nonlocal admitted
        try:
            grant = await limiter.admit([], [daily], ESTIMATE)
        except BudgetExhausted:
            return
        admitted += 1
        limiter.settle(grant, Spent(10, 20, 100))

    async with asyncio.TaskGroup() as group:
        for _ in range(64):
            group.create_task(client())
    assert admitted == 11


async def test_what_a_killed_worker_had_reserved_is_free_again(
    prefix: str, start, client: redis.Redis, keys: Keyspace
):
    daily = budget(100)
    terms = RedisTerms(deadline_s=10.0)
    dead = Limiter(worker="dead", redis_url=SHARED_URL, today=lambda: DAY, terms=terms)
    await dead.start(  # nothing renews
        lambda work, /, *, name: work.close(), installation=prefix
    )
    await dead.admit([], [daily], ESTIMATE)
    limiter = await start("one")
    with pytest.raises(BudgetExhausted):
        await limiter.admit([], [daily], ESTIMATE)
    client.zadd(keys.workers, {"dead": 0})  # its time is over
    await limiter.admit([], [daily], ESTIMATE)
    await dead.aclose()


async def test_a_report_that_was_overtaken_changes_nothing(
    client: redis.Redis, keys: Keyspace
):
    report = client.register_script(scripts.REPORT)
    names = keys.book(BudgetBook((1, DAY), Period.DAY))

    def say(sequence: int, settled: int, reserved: int) -> list[object]:
        book = {"settled": settled, "reserved": reserved, "ttl_ms": 60_000}
        ask = {"worker": "one", "sequence": sequence, "lease_us": 1_000_000}
        ask |= {"ended": [], "held": [], "books": [book]}
        report(keys=[*names, keys.workers], args=[orjson.dumps(ask)])
        return [client.hget(names[0], "sum"), client.hget(names[1], "one")]

    assert say(5, 4_000_000_000_000_001, 20) == ["4000000000000001", "20"]
    assert say(4, 1, 70) == ["4000000000000001", "20"]
    assert say(6, 4_000_000_000_000_001, 0) == ["4000000000000001", None]


async def test_all_keys_share_a_hash_tag_and_end_by_themselves(
    prefix: str, start, client: redis.Redis
):
    limiter = await start()
    rows = [limit(9, id=1), limit(9, Measure.CONCURRENCY, id=2)]
    limiter.settle(await limiter.admit(rows, [budget()], ESTIMATE), SPENT)
    await limiter.admit(rows, [budget()], ESTIMATE)
    found = list(client.scan_iter(f"{{ailb}}:{prefix}:*"))
    assert len(found) == 5
    assert [key for key in found if client.pttl(key) <= 0] == []


async def test_a_script_that_redis_has_forgotten_is_loaded_again(
    start, client: redis.Redis
):
    limiter = await start()
    await limiter.admit([limit()], [], ESTIMATE)
    client.script_flush()
    assert (await limiter.admit([limit()], [], ESTIMATE)).is_shared


async def test_what_waits_to_be_reported_is_reported_at_the_close(
    prefix: str, client: redis.Redis, keys: Keyspace
):
    tokens = limit(150, Measure.TOKENS)
    terms = RedisTerms(deadline_s=10.0)
    async with running_limiter(SHARED_URL, terms=terms, installation=prefix) as limiter:
        limiter.settle(await limiter.admit([tokens], [], ESTIMATE), SPENT)
    assert total_of(client, keys.limit(tokens)) == 13
