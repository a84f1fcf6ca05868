"""The gRPC process's end of its link with the supervisor, which runs the workers."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from moduleservice.base import SupervisorAway, Workers
from moduleservice.line_channel import (
    ChannelClosed,
    LineChannel,
    Message,
    RequestRefused,
)
from moduleservice.supervisor_orders import FD_VARIABLE, Order

logger = logging.getLogger(__name__)

DEADLINE_S = 5.0


class SupervisorLink:
    """A `Supervisor` over the inherited socket. Belongs to the running loop.

    `on_leave` is awaited when everything is about to stop: it takes leave of the NLB.
    """

    def __init__(
        self,
        end: socket.socket,
        *,
        on_leave: Callable[[], Awaitable[None]] | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """Listen at once; no answer within `deadline_s` means that it is away."""
        self.on_leave = on_leave
        self._deadline_s = deadline_s
        self._channel = LineChannel(end, self._handle)

    @classmethod
    def from_environment(cls) -> SupervisorLink | None:
        """Find the socket that `serve` has handed on; None where nobody did."""
        number = os.environ.get(FD_VARIABLE, "")
        if not number:
            return None
        try:
            end = socket.socket(fileno=int(number))
        except (OSError, ValueError):
            logger.warning("%s=%s is no socket: ignored.", FD_VARIABLE, number)
            return None
        end.set_inheritable(False)
        return cls(end)

    async def workers(self) -> Workers:
        """Say how many workers there are; raises SupervisorAway."""
        return _workers_of(await self._ask(Order.WORKERS))

    async def scale(self, workers: int) -> Workers:
        """Have so many, without a refused request; raises SupervisorAway."""
        return _workers_of(await self._ask(Order.SCALE, workers=workers))

    async def stop(self, *, is_graceful: bool, timeout_s: float | None) -> None:
        """Begin to stop everything; raises SupervisorAway."""
        await self._ask(Order.STOP, is_graceful=is_graceful, timeout_s=timeout_s)

    def close(self) -> None:
        """Hang up. Safe to call twice."""
        self._channel.close()

    async def _ask(self, order: Order, **fields: Any) -> Message:
        try:
            return await self._channel.ask(order, deadline_s=self._deadline_s, **fields)
        except ChannelClosed as error:
            raise SupervisorAway("The supervisor has gone.") from error
        except TimeoutError as error:
            raise SupervisorAway("The supervisor does not answer.") from error
        except RequestRefused as error:
            raise SupervisorAway(f"The supervisor refuses: {error}") from error

    async def _handle(self, message: Message) -> Message:
        if message["do"] != Order.LEAVE:
            raise RequestRefused("Only LEAVE may be asked of the gRPC process.")
        if self.on_leave is not None:
            await self.on_leave()
        return {}


def _workers_of(message: Message) -> Workers:
    try:
        return Workers(running=int(message["running"]), wanted=int(message["wanted"]))
    except (KeyError, TypeError, ValueError) as error:
        raise SupervisorAway("The supervisor's answer says nothing.") from error
