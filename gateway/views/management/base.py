"""What every route of `/api` does: the right by the method, the database, the query."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection
from typing import TypeVar

from django.core.handlers.asgi import ASGIRequest
from typing_extensions import override

from gateway.caller_address import normal_address
from gateway.dialects.openai.request.body import read_object
from gateway.errors import DatabaseAway, InvalidRequest
from gateway.kinds import Right
from gateway.runtime import runtime
from gateway.snapshot_store import DATABASE_AWAY
from gateway.views.base import GatewayView
from gateway.views.management.refusals import refusals

DATABASE_DEADLINE_S = 10.0
MAX_PAGE = 1000
DEFAULT_PAGE = 100
NUMBER = re.compile(r"[0-9]{1,18}")  # what fits 64 bits
READING = frozenset({"GET", "HEAD", "OPTIONS"})

T = TypeVar("T")


class ManagementView(GatewayView):
    """A view for keys with the management rights: one to read, another to write."""

    @override
    def required_right(self, request: ASGIRequest) -> Right | None:
        """Decide by the method; the right to write does not include that to read."""
        if request.method in READING:
            return Right.MANAGEMENT_READ
        return Right.MANAGEMENT_WRITE

    async def in_database(self, work: Callable[[], T]) -> T:
        """Run blocking work in the database's thread, within the deadline.

        Raises:
            ClientError: The database refuses what was asked.
            DatabaseAway: It does not answer; a write may still be done.

        """

        def refusing() -> T:
            with refusals():
                return work()

        try:
            async with asyncio.timeout(DATABASE_DEADLINE_S):
                return await runtime.in_database(refusing)
        except DATABASE_AWAY as error:
            raise DatabaseAway(
                "The database does not answer. If this was a change, read it back: it "
                "may still have been made."
            ) from error

    def json_object(self) -> dict[str, object]:
        """Read the body, which must be a JSON object."""
        return read_object(self.json_body())

    def query(self, allowed: Collection[str]) -> dict[str, str]:
        """Give the query's parameters.

        Raises:
            InvalidRequest: One is unknown: ignored, it would look like an answer.

        """
        given = {name: str(value) for name, value in self.asgi_request.GET.items()}
        for name in given:
            if name not in allowed:
                known = ", ".join(allowed)
                raise InvalidRequest(
                    f"There is no parameter '{name[:100]}' here; known are: {known}.",
                    param=name[:100],
                )
        return given


def page_size(given: str | None) -> int:
    """Read `limit`: how many rows an answer may hold."""
    if given is None:
        return DEFAULT_PAGE
    if not NUMBER.fullmatch(given) or not 1 <= int(given) <= MAX_PAGE:
        raise InvalidRequest(f"limit must be 1 to {MAX_PAGE}.", param="limit")
    return int(given)


def ip_address(given: str, param: str) -> str:
    """Read an IP address, into its normal form."""
    try:
        return normal_address(given)
    except ValueError as error:
        raise InvalidRequest(f"{param} must be an IP address.", param=param) from error


def row_number(given: str | None, param: str) -> str | None:
    """Check a number that is passed on as a text."""
    if given is not None and not NUMBER.fullmatch(given):
        raise InvalidRequest(f"{param} must be a number.", param=param)
    return given
