"""How an instance stays registered with an NLB, whatever that does, and leaves it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from django.db import OperationalError

from moduleservice.pb import types_pb2
from tests.moduleservice.nlb_emulator import NlbEmulator, until
from tests.moduleservice.registering import FAST, SELDOM, Module, lines_of


@pytest.fixture
async def nlb() -> AsyncIterator[NlbEmulator]:
    async with NlbEmulator() as emulator:
        yield emulator


@pytest.fixture
def module() -> Module:
    return Module()


# --- Registering and beating ---------------------------------------------------------------


async def test_it_registers_with_all_that_the_nlb_is_to_know(
    nlb: NlbEmulator, module: Module
) -> None:
    async with module.registering(nlb.address):
        await until(lambda: nlb.registered, "it is registered")
    told = nlb.last("RegisterModule")
    assert told.instance == module.instance
    assert [route.route_id for route in told.initial_routes] == ["gpt-4"]
    assert told.health_config.health_check_path == "/readyz"
    assert dict(told.capabilities) == {"versions": "v1"}


async def test_it_beats_on_schedule_with_what_is_so_then(
    nlb: NlbEmulator, module: Module
) -> None:
    async with module.registering(nlb.address):
        await until(lambda: nlb.calls_of("Heartbeat"), "a heartbeat")
        module.requests = 5
        module.instance.health_status = types_pb2.HEALTH_STATUS_UNHEALTHY
        await until(lambda: len(nlb.calls_of("Heartbeat")) >= 8, "eight heartbeats")
    first, *_, last = nlb.requests("Heartbeat")
    assert first.registration_id == "registration-1"
    assert first.status == types_pb2.HEALTH_STATUS_HEALTHY
    assert first.current_stats.total_requests == 0
    assert first.timestamp.seconds > 0
    assert last.instance_id == "ailb-7"
    assert last.status == types_pb2.HEALTH_STATUS_UNHEALTHY
    assert last.current_stats.total_requests == 5
    assert last.current_stats.p95_latency_ms == 12.5
    times = [call.at_s for call in nlb.calls_of("Heartbeat")]
    # Seven intervals of 50 ms: early never, late only as this machine is.
    assert 0.3 < times[7] - times[0] < 2.0
    assert len(nlb.calls_of("RegisterModule")) == 1


async def test_reports_that_fail_are_left_out_and_heartbeats_go_on(
    nlb: NlbEmulator, module: Module, caplog: pytest.LogCaptureFixture
) -> None:
    async with module.registering(nlb.address):
        await until(lambda: nlb.calls_of("Heartbeat"), "a heartbeat")
        module.fault = OperationalError("the database is away")
        await until(
            lambda: nlb.last("Heartbeat").status == types_pb2.HEALTH_STATUS_DEGRADED,
            "a heartbeat says degraded",
        )
        seen = len(nlb.calls_of("Heartbeat"))
        await until(lambda: len(nlb.calls_of("Heartbeat")) > seen + 2, "more of them")
        assert not nlb.last("Heartbeat").HasField("current_stats")
        module.fault = None
        await until(
            lambda: nlb.last("Heartbeat").HasField("current_stats"), "stats again"
        )
    assert nlb.last("Heartbeat").status == types_pb2.HEALTH_STATUS_HEALTHY
    assert len(lines_of(caplog, "cannot be told")) == 2  # the instance, the stats
    assert len(nlb.calls_of("RegisterModule")) == 1


async def test_what_could_not_be_told_at_the_registration_is_told_afterwards(
    nlb: NlbEmulator, module: Module
) -> None:
    module.fault = OperationalError("the database is away")
    async with module.registering(nlb.address, SELDOM):
        await until(lambda: nlb.registered, "it is registered")
        told = nlb.last("RegisterModule")
        assert told.instance.instance_id == "ailb-7"
        assert told.instance.health_status == types_pb2.HEALTH_STATUS_DEGRADED
        assert not told.initial_routes
        module.fault = None
        await until(lambda: len(nlb.calls_of("RegisterModule")) == 2, "all is told")
    assert nlb.last("RegisterModule").initial_routes


# --- Changes -------------------------------------------------------------------------------


async def test_changed_routes_are_sent_soon_and_only_once(
    nlb: NlbEmulator, module: Module
) -> None:
    async with module.registering(nlb.address, replace(FAST, heartbeat_s=0.3)):
        await until(lambda: nlb.registered, "it is registered")
        module.models = ["gpt-4", "claude"]
        module.revision = 2
        await until(lambda: nlb.calls_of("UpdateRouting"), "the routes are sent")
        module.revision = 3  # something else has changed
        await until(lambda: nlb.calls_of("Heartbeat"), "a heartbeat")
    (sent,) = nlb.requests("UpdateRouting")
    assert [route.route_id for route in sent.routes] == ["gpt-4", "claude"]
    assert sent.replace_all
    assert sent.source_instance_id == "ailb-7"
    assert len(nlb.calls_of("RegisterModule")) == 1


async def test_an_nlb_without_update_routing_is_registered_with_again(
    nlb: NlbEmulator, module: Module, caplog: pytest.LogCaptureFixture
) -> None:
    nlb.lacks_update_routing = True
    async with module.registering(nlb.address, SELDOM):
        await until(lambda: nlb.registered, "it is registered")
        module.models = ["claude"]
        module.revision = 2
        await until(lambda: len(nlb.calls_of("RegisterModule")) == 2, "and again")
    (route,) = nlb.last("RegisterModule").initial_routes
    assert route.route_id == "claude"
    assert not lines_of(caplog, "not registered")


async def test_refused_routes_are_said_and_registered_with(
    nlb: NlbEmulator, module: Module, caplog: pytest.LogCaptureFixture
) -> None:
    nlb.routing_refusal = "route taken"
    async with module.registering(nlb.address, SELDOM, sleep=module.sleep):
        await until(lambda: nlb.registered, "it is registered")
        module.models = ["claude"]
        module.revision = 2
        await until(lambda: len(nlb.calls_of("RegisterModule")) == 2, "and again")
    first = next(line for line in caplog.records if line.levelno == logging.WARNING)
    assert vars(first)["reason"] == "route taken"


async def test_a_changed_weight_or_capability_of_this_instance_is_told(
    nlb: NlbEmulator, module: Module
) -> None:
    async with module.registering(nlb.address, SELDOM):
        await until(lambda: nlb.registered, "it is registered")
        module.instance.traffic_weight = 10
        module.revision = 2
        await until(lambda: len(nlb.calls_of("RegisterModule")) == 2, "and again")
        module.versions = "v1,v2"
        module.revision = 3
        await until(lambda: len(nlb.calls_of("RegisterModule")) == 3, "once more")
    assert nlb.last("RegisterModule").instance.traffic_weight == 10
    assert dict(nlb.last("RegisterModule").capabilities) == {"versions": "v1,v2"}
    assert not nlb.calls_of("UpdateRouting")


# --- Losing the NLB ------------------------------------------------------------------------


async def test_it_registers_again_when_the_nlb_has_restarted(
    nlb: NlbEmulator, module: Module, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with module.registering(nlb.address, sleep=module.sleep):
        await until(lambda: nlb.calls_of("Heartbeat"), "a heartbeat")
        await nlb.stop()
        await until(lambda: len(module.waits) > 5, "it tries")
        await nlb.start()
        await until(lambda: nlb.registered, "it is registered again")
        seen = len(nlb.calls_of("Heartbeat"))
        await until(lambda: len(nlb.calls_of("Heartbeat")) > seen, "it beats again")
    assert nlb.last("Heartbeat").registration_id == "registration-2"
    assert len(lines_of(caplog, "not registered with the NLB; trying")) == 1
    assert len(lines_of(caplog, "registered with the NLB again")) == 1


async def test_it_registers_again_when_the_nlb_has_forgotten_it(
    nlb: NlbEmulator, module: Module
) -> None:
    async with module.registering(nlb.address, sleep=module.sleep):
        await until(lambda: nlb.calls_of("Heartbeat"), "a heartbeat")
        nlb.registered.clear()
        await until(lambda: nlb.registered, "it is registered again")
        await until(
            lambda: nlb.last("Heartbeat").registration_id == "registration-2",
            "heartbeats bear the new name",
        )
    assert len(module.waits) == 1


async def test_it_waits_ever_longer_between_refusals(
    nlb: NlbEmulator, module: Module, caplog: pytest.LogCaptureFixture
) -> None:
    nlb.refusal = "licence expired"
    async with module.registering(nlb.address, draw=lambda: 1.0, sleep=module.sleep):
        await until(lambda: len(module.waits) >= 9, "nine refusals")
        assert module.waits[:9] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
        assert not nlb.calls_of("Heartbeat")
        assert len(lines_of(caplog, "not registered")) == 1
        nlb.refusal = ""
        await until(lambda: nlb.calls_of("Heartbeat"), "a heartbeat")
        module.waits.clear()
        nlb.registered.clear()
        await until(lambda: module.waits, "it has lost the NLB again")
    assert module.waits[0] == 1  # it began anew
    assert vars(caplog.records[0])["reason"] == "licence expired"


async def test_waits_are_a_random_part_of_the_longest(
    nlb: NlbEmulator, module: Module
) -> None:
    nlb.refusal = "not now"
    draws = iter([0.5, 0.0, 0.25, *[0.0] * 10_000])
    async with module.registering(
        nlb.address, draw=lambda: next(draws), sleep=module.sleep
    ):
        await until(lambda: len(module.waits) >= 3, "three refusals")
    assert module.waits[:3] == [0.5, 0, 1]


async def test_an_nlb_that_is_not_there_at_the_start_is_found_later(
    module: Module,
) -> None:
    nlb = NlbEmulator()
    await nlb.start()
    await nlb.stop()  # its port is known, and free
    async with module.registering(nlb.address, sleep=module.sleep):
        await until(lambda: len(module.waits) > 2, "it tries")
        await nlb.start()
        await until(lambda: nlb.registered, "it is registered")
    await nlb.stop()


async def test_a_frozen_nlb_costs_deadlines_only(
    nlb: NlbEmulator, module: Module
) -> None:
    loop = asyncio.get_running_loop()
    async with module.registering(nlb.address, sleep=module.sleep) as registration:
        await until(lambda: nlb.calls_of("Heartbeat"), "a heartbeat")
        nlb.is_frozen = True
        longest_s = 0.0
        while len(nlb.calls_of("RegisterModule")) < 3:
            before_s = loop.time()
            await asyncio.sleep(0.005)
            longest_s = max(longest_s, loop.time() - before_s)
        assert longest_s < 0.2  # nothing else of this loop is held up
        before_s = loop.time()
        await registration.leave()
        assert loop.time() - before_s < 0.8
    nlb.is_frozen = False


async def test_a_peer_that_takes_connections_and_says_nothing_is_left_in_time(
    module: Module,
) -> None:
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)  # fmt: skip
    port = server.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    async with module.registering(f"127.0.0.1:{port}", sleep=module.sleep) as it:
        await until(lambda: len(module.waits) > 1, "two tries have ended")
        before_s = loop.time()
        await it.leave()
        assert loop.time() - before_s < 0.8
    for writer in held:
        writer.close()
    server.close()


# --- Leaving -------------------------------------------------------------------------------


async def test_leaving_unregisters_exactly_once_and_ends_the_heartbeats(
    nlb: NlbEmulator, module: Module
) -> None:
    async with module.registering(nlb.address) as registration:
        await until(lambda: nlb.calls_of("Heartbeat"), "a heartbeat")
        async with asyncio.TaskGroup() as tasks:
            for _ in range(2):
                tasks.create_task(registration.leave())
        await registration.leave()
        beats = len(nlb.calls_of("Heartbeat"))
        await asyncio.sleep(FAST.heartbeat_s)
        assert len(nlb.calls_of("Heartbeat")) == beats
    (told,) = nlb.requests("UnregisterModule")
    assert told.instance_id == "ailb-7"
    assert told.registration_id == "registration-1"
    assert told.graceful
    assert told.drain_timeout_seconds == 45
    assert nlb.calls[-1].rpc == "UnregisterModule"
    assert not nlb.registered


async def test_leaving_before_it_has_begun_asks_nothing_of_the_nlb(
    nlb: NlbEmulator, module: Module
) -> None:
    async with module.registering(nlb.address) as registration:
        await registration.leave()  # its task has had no turn yet
        await asyncio.sleep(FAST.heartbeat_s)
    assert nlb.calls == []


async def test_leaving_during_a_registration_takes_it_back(
    nlb: NlbEmulator, module: Module, caplog: pytest.LogCaptureFixture
) -> None:
    nlb.is_frozen = True
    async with module.registering(nlb.address) as registration:
        await until(lambda: nlb.calls_of("RegisterModule"), "it is on its way")
        await registration.leave()
    assert len(nlb.calls_of("UnregisterModule")) == 1
    assert lines_of(caplog, "was not told that this instance stops")
    nlb.is_frozen = False


async def test_a_refused_instance_leaves_without_a_word(
    nlb: NlbEmulator, module: Module
) -> None:
    nlb.refusal = "no"

    async def wait_for_ever(wait_s: float) -> None:
        module.waits.append(wait_s)
        await asyncio.Event().wait()

    async with module.registering(nlb.address, sleep=wait_for_ever) as registration:
        await until(lambda: module.waits, "it is refused")
        await registration.leave()
    assert not nlb.calls_of("UnregisterModule")


async def test_leaving_while_it_waits_for_an_nlb_that_is_away_is_quick(
    nlb: NlbEmulator, module: Module
) -> None:
    await nlb.stop()
    pace = replace(FAST, first_wait_s=60)
    async with module.registering(nlb.address, pace, draw=lambda: 1.0) as registration:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(FAST.heartbeat_s)
        before_s = loop.time()
        await registration.leave()
        assert loop.time() - before_s < 0.8
