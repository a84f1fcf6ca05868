"""The supervisor's end of its link with the gRPC process: one socket pair a start."""

from __future__ import annotations

import logging
import socket
from typing import Any, Protocol

from moduleservice.line_channel import (
    ChannelClosed,
    LineChannel,
    Message,
    RequestRefused,
)
from moduleservice.supervisor_orders import MOST_WORKERS, Order

logger = logging.getLogger(__name__)

LEAVE_S = 3.0


class Orders(Protocol):
    """What the gRPC process may order; each is decided at once and done later."""

    def counts(self) -> tuple[int, int]:
        """Give how many workers run and how many are wanted."""
        ...

    def scale(self, workers: int) -> None:
        """Have so many workers; raises RequestRefused."""
        ...

    def stop(self, *, is_graceful: bool, timeout_s: float | None) -> None:
        """Begin to stop everything."""
        ...


class SupervisorLink:
    """Does what the present gRPC process asks; it may die and come again."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._channel: LineChannel | None = None

    def open(self) -> socket.socket:
        """Make the link of one start; give the end for the child, to be closed here."""
        ours, theirs = socket.socketpair()
        self.close()
        self._channel = LineChannel(ours, self._handle)
        return theirs

    def close(self) -> None:
        """Hang up. Safe to call twice."""
        if self._channel is not None:
            self._channel.close()

    async def take_leave(self) -> None:
        """Have the NLB told that this instance goes; wait 3 s for it at most."""
        channel = self._channel
        if channel is None or not channel.is_open:
            return
        try:
            await channel.ask(Order.LEAVE, deadline_s=LEAVE_S)
        except ChannelClosed:
            logger.info("The gRPC process ended before it could take leave.")
        except TimeoutError:
            logger.warning("The gRPC process did not take leave in %g s.", LEAVE_S)
        except RequestRefused as error:
            logger.warning("The gRPC process could not take leave: %s", error)

    async def _handle(self, message: Message) -> Message:
        match message["do"]:
            case Order.WORKERS:
                pass
            case Order.SCALE:
                self._orders.scale(_worker_count(message.get("workers")))
            case Order.STOP:
                self._orders.stop(
                    is_graceful=message.get("is_graceful") is not False,
                    timeout_s=_seconds(message.get("timeout_s")),
                )
            case unknown:
                raise RequestRefused(f"There is no order {unknown!r:.80}.")
        running, wanted = self._orders.counts()
        return {"running": running, "wanted": wanted}


def _worker_count(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= MOST_WORKERS:
        raise RequestRefused(f"`workers` must be a number from 1 to {MOST_WORKERS}.")
    return value


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    if type(value) not in {int, float} or value < 0:
        raise RequestRefused("`timeout_s` must be a number of seconds, or null.")
    return float(value)
