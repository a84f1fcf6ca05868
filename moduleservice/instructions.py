"""What the NLB may have this instance do, by its answers to heartbeats."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.snapshot_store import DATABASE_AWAY
from gateway.traffic import TrafficRefused, set_draining
from moduleservice.base import Host, Refusal, Supervisor, SupervisorAway
from moduleservice.pb import nlb_pb2, types_pb2

logger = logging.getLogger(__name__)

REFUSALS = frozenset({"0", "false", "no", "off"})  # values that order nothing
MAX_COMPLAINTS = 100  # an NLB that sends other words each time fills no log

Effect = Callable[[], Awaitable[object]]


class Instruction(StrEnum):
    """The keys of `instructions` that this instance knows.

    WORKERS has a number for its value and counts only with `should_scale`; with the
    others, any value orders but those of REFUSALS.
    """

    RELOAD = "reload"
    DRAIN = "drain"
    UNDRAIN = "undrain"
    REGISTER = "register"
    SHUTDOWN = "shutdown"
    WORKERS = "workers"


@dataclass(frozen=True, slots=True)
class Effects:
    """What follows from instructions; each may come again with every heartbeat.

    They raise Refusal or SupervisorAway for what cannot be done.
    """

    reload: Effect
    drain: Effect
    undrain: Effect
    stop: Effect
    scale: Callable[[int], Awaitable[object]]


def effects_of(host: Host, reload: Effect) -> Effects:
    """Make what follows from instructions to an instance; `reload` is the RPC's effect."""

    async def drain(*, is_draining: bool) -> None:
        try:
            await host.database.run(
                lambda: set_draining(host.version, is_draining=is_draining)
            )
        except TrafficRefused as error:
            code = types_pb2.STATUS_CODE_NOT_FOUND
            raise Refusal(code, error.message) from error

    def supervisor() -> Supervisor:
        if host.supervisor is None:
            raise SupervisorAway("Its processes are not run by `serve`.")
        return host.supervisor

    return Effects(
        reload=reload,
        drain=lambda: drain(is_draining=True),
        undrain=lambda: drain(is_draining=False),
        stop=lambda: supervisor().stop(is_graceful=True, timeout_s=None),
        scale=lambda workers: supervisor().scale(workers),
    )


class Obedience:
    """Reads instructions, and does what they say beside the heartbeats.

    One that comes again while it is still being done is not begun twice. Trouble is
    logged when it first comes.
    """

    def __init__(self, effects: Effects) -> None:
        """Do these things."""
        self._effects = effects
        self._running: set[Instruction] = set()
        self._complaints: set[str] = set()

    def read(self, answer: nlb_pb2.HeartbeatResponse) -> dict[Instruction, str]:
        """Give the instructions of an answer; complain once about each unknown one."""
        found: dict[Instruction, str] = {}
        for key, value in answer.instructions.items():
            try:
                instruction = Instruction(key.strip().lower())
            except ValueError:
                self._complain("an unknown instruction of the NLB is ignored", key)
                continue
            if instruction is Instruction.WORKERS or _is_ordered(value):
                found[instruction] = value
        if answer.should_reload:
            found[Instruction.RELOAD] = ""
        if not answer.should_scale:
            found.pop(Instruction.WORKERS, None)
        elif Instruction.WORKERS not in found:
            self._complain("the NLB orders to scale, but not how far", "should_scale")
        return found

    def begin(
        self, orders: Mapping[Instruction, str], tasks: asyncio.TaskGroup
    ) -> None:
        """Begin to do them, in tasks of this group. REGISTER is the caller's own."""
        for instruction, value in orders.items():
            effect = self._effect_of(instruction, value)
            if effect is not None and instruction not in self._running:
                self._running.add(instruction)
                tasks.create_task(self._do(instruction, effect), name=instruction)

    def _effect_of(self, instruction: Instruction, value: str) -> Effect | None:
        effects = self._effects
        effect: Effect | None = None
        match instruction:
            case Instruction.RELOAD:
                effect = effects.reload
            case Instruction.DRAIN:
                effect = effects.drain
            case Instruction.UNDRAIN:
                effect = effects.undrain
            case Instruction.SHUTDOWN:
                effect = effects.stop
            case Instruction.WORKERS:
                effect = self._scaling(value)
            case Instruction.REGISTER:
                pass
        return effect

    def _scaling(self, value: str) -> Effect | None:
        try:
            workers = int(value)
        except ValueError:
            self._complain("an instruction of the NLB is no number", value)
            return None
        return lambda: self._effects.scale(workers)

    async def _do(self, instruction: Instruction, effect: Effect) -> None:
        logger.info("an instruction of the NLB", extra={"instruction": instruction})
        try:
            await effect()
        except (Refusal, SupervisorAway, *DATABASE_AWAY) as error:
            self._complain(
                "an instruction of the NLB cannot be followed",
                instruction,
                reason=str(error),
            )
        except Exception:  # a process edge: heartbeats go on after any one fault
            logger.exception(
                "an instruction of the NLB failed", extra={"instruction": instruction}
            )
        finally:
            self._running.discard(instruction)

    def _complain(self, message: str, key: str, *, reason: str = "") -> None:
        complaint = f"{message}: {key}: {reason}"
        if complaint in self._complaints or len(self._complaints) >= MAX_COMPLAINTS:
            return
        self._complaints.add(complaint)
        logger.warning(message, extra={"instruction": key, "reason": reason})


def _is_ordered(value: str) -> bool:
    return value.strip().lower() not in REFUSALS
