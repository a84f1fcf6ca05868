"""A process of its own that asks for admission: `hammer.py URL PREFIX WORKER WHAT`.

`rush` asks 64 times from 32 tasks for 100 requests per minute and prints how many were
admitted; `hold` takes two leases of a concurrency limit, says so, and never ends.
"""

from __future__ import annotations

import asyncio
import sys

import django

from gateway.errors import RateLimited
from gateway.kinds import Measure
from gateway.limits.limiter import Limiter
from gateway.limits.sharing import RedisTerms
from tests.gateway.limits.quotas import ESTIMATE, SPENT, limit
from tests.gateway.limits.redis_servers import running_limiter

LEASE_S = 0.6


async def rush(limiter: Limiter) -> None:
    admitted = 0

    async def client() -> None:
        nonlocal admitted
        for _ in range(6):
            try:
                grant = await limiter.admit([limit(100)], [], ESTIMATE)
            except RateLimited:
                continue
            assert grant.is_shared
            admitted += 1
            limiter.settle(grant, SPENT)

    async with asyncio.TaskGroup() as group:
        for _ in range(32):
            group.create_task(client())
    sys.stdout.write(f"{admitted}\n")


async def hold(limiter: Limiter) -> None:
    for _ in range(2):
        await limiter.admit([limit(2, Measure.CONCURRENCY)], [], ESTIMATE)
    sys.stdout.write("held\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


async def main(url: str, prefix: str, worker: str, what: str) -> None:
    terms = RedisTerms(deadline_s=10.0, lease_s=LEASE_S)
    async with running_limiter(
        url, worker=worker, terms=terms, installation=prefix
    ) as limiter:
        assert limiter.is_shared
        await (rush(limiter) if what == "rush" else hold(limiter))


if __name__ == "__main__":
    django.setup()
    asyncio.run(main(*sys.argv[1:]))
