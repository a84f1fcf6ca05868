"""Instructions of the NLB, as answers to real heartbeats bring them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from moduleservice.base import Refusal, SupervisorAway
from moduleservice.pb import types_pb2
from tests.moduleservice.nlb_emulator import NlbEmulator, until
from tests.moduleservice.registering import Module, lines_of


@pytest.fixture
async def nlb() -> AsyncIterator[NlbEmulator]:
    async with NlbEmulator() as emulator:
        yield emulator


@pytest.fixture
def module() -> Module:
    return Module()


@pytest.mark.parametrize(
    ("order", "effect"),
    [
        ({"should_reload": True}, "reload"),
        ({"instructions": {"reload": ""}}, "reload"),
        ({"instructions": {"drain": "true"}}, "drain"),
        ({"instructions": {"undrain": "yes"}}, "undrain"),
        ({"instructions": {"shutdown": "1"}}, "stop"),
        ({"should_scale": True, "instructions": {"workers": "4"}}, "scale 4"),
    ],
)
async def test_an_instruction_has_its_effect_once(
    nlb: NlbEmulator, module: Module, order: dict[str, Any], effect: str
) -> None:
    async with module.registering(nlb.address):
        nlb.order(**order)
        await until(lambda: module.done, "it is done")
        seen = len(nlb.calls_of("Heartbeat"))
        await until(
            lambda: len(nlb.calls_of("Heartbeat")) > seen + 1, "more heartbeats"
        )
    assert module.done == [effect]


async def test_it_registers_again_when_it_is_told_to(
    nlb: NlbEmulator, module: Module
) -> None:
    async with module.registering(nlb.address, sleep=module.sleep):
        nlb.order(instructions={"register": ""})
        await until(lambda: len(nlb.calls_of("RegisterModule")) == 2, "it does")
        await until(
            lambda: nlb.last("Heartbeat").registration_id == "registration-2",
            "heartbeats bear the new name",
        )
    assert module.waits == []


@pytest.mark.parametrize(
    ("order", "complaint"),
    [
        ({"instructions": {"dance": "now"}}, "unknown instruction"),
        ({"should_scale": True}, "not how far"),
        ({"should_scale": True, "instructions": {"workers": "many"}}, "no number"),
    ],
)
async def test_what_cannot_be_understood_is_said_once_and_ignored(
    nlb: NlbEmulator,
    module: Module,
    caplog: pytest.LogCaptureFixture,
    order: dict[str, Any],
    complaint: str,
) -> None:
    async with module.registering(nlb.address):
        nlb.order(**order)
        nlb.order(**order)
        nlb.order(should_reload=True)
        await until(lambda: module.done == ["reload"], "what follows is done")
    assert len(lines_of(caplog, complaint)) == 1
    assert len(nlb.calls_of("RegisterModule")) == 1


async def test_an_instruction_that_orders_nothing_does_nothing(
    nlb: NlbEmulator, module: Module
) -> None:
    async with module.registering(nlb.address):
        nlb.order(instructions={"drain": "false", "shutdown": "0", "workers": "3"})
        nlb.order(should_reload=True)
        await until(lambda: module.done, "what follows is done")
    assert module.done == ["reload"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Refusal(types_pb2.STATUS_CODE_INVALID_ARGUMENT, "too many"), "too many"),
        (SupervisorAway("nobody there"), "nobody there"),
        (RuntimeError("a bug"), "a bug"),
    ],
)
async def test_an_instruction_that_fails_is_said_and_heartbeats_go_on(
    nlb: NlbEmulator,
    module: Module,
    caplog: pytest.LogCaptureFixture,
    fault: Exception,
    said: str,
) -> None:
    module.effect_fault = fault
    async with module.registering(nlb.address):
        nlb.order(should_reload=True)
        await until(lambda: module.done, "it is begun")
        seen = len(nlb.calls_of("Heartbeat"))
        await until(
            lambda: len(nlb.calls_of("Heartbeat")) > seen + 1, "more heartbeats"
        )
    assert said in caplog.text or said in str(vars(caplog.records[-1]))


async def test_an_instruction_that_takes_long_holds_up_no_heartbeat(
    nlb: NlbEmulator, module: Module
) -> None:
    module.hold = asyncio.Event()
    async with module.registering(nlb.address) as registration:
        nlb.order(should_reload=True)
        nlb.order(should_reload=True)  # while the first is being done
        await until(lambda: module.done, "it is begun")
        seen = len(nlb.calls_of("Heartbeat"))
        await until(
            lambda: len(nlb.calls_of("Heartbeat")) > seen + 2, "more heartbeats"
        )
        assert module.done == ["reload"]
        await registration.leave()
    assert len(nlb.calls_of("UnregisterModule")) == 1
