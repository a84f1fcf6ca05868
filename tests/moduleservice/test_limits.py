"""The RPCs of rate limits, against the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.database_threads import DatabaseThreads
from gateway.models import Limit, Model
from gateway.snapshot import Snapshot
from moduleservice.base import Host, Refusal
from moduleservice.limits import Limits
from moduleservice.pb import module_service_pb2 as pb, types_pb2

pytestmark = pytest.mark.django_db(transaction=True)

NOT_FOUND = types_pb2.STATUS_CODE_NOT_FOUND
INVALID_ARGUMENT = types_pb2.STATUS_CODE_INVALID_ARGUMENT


def no_snapshot() -> Snapshot:
    raise AssertionError("limits are rows")


@pytest.fixture
async def limits() -> AsyncIterator[Limits]:
    database = DatabaseThreads(1, name="tests")
    yield Limits(Host("ailb-tests", "v1", database, no_snapshot))
    await database.aclose(limit_s=5)


def message(**fields: Any) -> types_pb2.RateLimit:
    given = {"limit_id": "one", "target": "global", "enabled": True, **fields}
    return types_pb2.RateLimit(**given)


def setting(**fields: Any) -> pb.SetRateLimitRequest:
    return pb.SetRateLimitRequest(limit=message(**fields))


async def listed(limits: Limits, target: str = "") -> list[types_pb2.RateLimit]:
    answer = await limits.GetRateLimits(pb.GetRateLimitsRequest(target=target))
    assert answer.total_limits == len(answer.limits)
    return list(answer.limits)


async def refusal_of(call: Any) -> tuple[types_pb2.StatusCode, str]:
    with pytest.raises(Refusal) as refused:
        await call
    return refused.value.code, refused.value.message


@pytest.mark.parametrize("name", ["SetRateLimit", "ApplyRateLimit"])
async def test_a_limit_is_set_listed_changed_and_removed(
    limits: Limits, name: str
) -> None:
    await Model.objects.acreate(name="gpt-4")
    fields: dict[str, Any] = {
        "target": "model:gpt-4",
        "requests_per_second": 5,
        "requests_per_minute": 200,
        "requests_per_hour": 9000,
        "burst_size": 10,
        "metadata": {"team": "network", "max_concurrency": "3"},
    }
    answer = await getattr(limits, name)(setting(**fields))
    assert (answer.success, answer.HasField("error")) == (True, False)
    assert "one" in answer.message
    assert await listed(limits) == [message(**fields)]
    assert await Limit.objects.filter(model__name="gpt-4", enabled=True).acount() == 4
    await getattr(limits, name)(setting(**fields | {"burst_size": 0}))
    assert await listed(limits, "model:gpt-4") == [
        message(**fields | {"burst_size": 0})
    ]
    assert await listed(limits, "global") == []
    removed = await limits.RemoveRateLimit(pb.RemoveRateLimitRequest(limit_id="one"))
    assert removed.success
    assert await listed(limits) == []
    assert not await Limit.objects.aexists()


async def test_a_limit_without_an_id_is_told_its_own(limits: Limits) -> None:
    answer = await limits.SetRateLimit(
        setting(limit_id="", target="ip:::1", requests_per_second=1)
    )
    assert "ip:::1" in answer.message
    assert [limit.limit_id for limit in await listed(limits)] == ["ip:::1"]


async def test_a_limit_that_is_not_enabled_is_said_to_be_only_kept(
    limits: Limits,
) -> None:
    answer = await limits.SetRateLimit(setting(requests_per_second=1, enabled=False))
    assert "not enforced" in answer.message
    assert [limit.enabled for limit in await listed(limits)] == [False]
    assert not await Limit.objects.filter(enabled=True).aexists()


async def test_an_operators_row_is_among_them(limits: Limits) -> None:
    row = await Limit.objects.acreate(amount=9, measure="tokens", window="day")
    (limit,) = await listed(limits)
    assert (limit.limit_id, limit.target) == (f"row-{row.pk}", "global")
    assert dict(limit.metadata) == {"measure": "tokens", "amount": "9", "window": "day"}
    await limits.RemoveRateLimit(pb.RemoveRateLimitRequest(limit_id=limit.limit_id))
    assert await listed(limits) == []


@pytest.mark.parametrize(
    ("fields", "code", "word"),
    [
        ({"target": "model:nobody"}, NOT_FOUND, "no model 'nobody'"),
        ({"target": "everyone"}, INVALID_ARGUMENT, "no target"),
        ({"target": "ip:here"}, INVALID_ARGUMENT, "no IP address"),
        ({"requests_per_second": -1}, INVALID_ARGUMENT, "negative"),
        ({"requests_per_second": 0}, INVALID_ARGUMENT, "Nothing is limited"),
        ({"limit_id": "row-99"}, NOT_FOUND, "row-99"),
    ],
)
async def test_what_cannot_be_set_is_refused_in_words(
    limits: Limits, fields: dict[str, Any], code: int, word: str
) -> None:
    request = setting(**{"requests_per_second": 1, **fields})
    found, said = await refusal_of(limits.SetRateLimit(request))
    assert (found, word in said) == (code, True), said
    assert not await Limit.objects.aexists()


async def test_other_requests_that_cannot_be_answered_are_refused(
    limits: Limits,
) -> None:
    for call, code in [
        (limits.SetRateLimit(pb.SetRateLimitRequest()), INVALID_ARGUMENT),
        (limits.GetRateLimits(pb.GetRateLimitsRequest(target="x")), INVALID_ARGUMENT),
        (limits.RemoveRateLimit(pb.RemoveRateLimitRequest(limit_id="x")), NOT_FOUND),
        (limits.RemoveRateLimit(pb.RemoveRateLimitRequest()), NOT_FOUND),
    ]:
        assert (await refusal_of(call))[0] == code
