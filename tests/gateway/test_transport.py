"""The pool behind httpx's types: names are resolved to addresses that are allowed."""

from __future__ import annotations

import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override

from gateway.addresses import AddressRefused
from gateway.transport import GuardedResolver


class Answers(AbstractResolver):
    """A name server that gives fixed addresses."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=each, port=port, family=family, proto=0, flags=0
            )
            for each in self._addresses
        ]

    @override
    async def close(self) -> None:
        return None


def resolver_with(*addresses: str) -> GuardedResolver:
    guarded = GuardedResolver()
    guarded._resolver = Answers(*addresses)  # type: ignore[assignment]  # a name server
    return guarded


async def test_allowed_addresses_are_given() -> None:
    found = await resolver_with("127.0.0.1", "10.0.0.1").resolve("name", 80)
    assert [entry["host"] for entry in found] == ["127.0.0.1", "10.0.0.1"]


@pytest.mark.parametrize(
    "refused", ["169.254.169.254", "::ffff:169.254.169.254", "0.0.0.0", "fe80::1"]
)
async def test_one_refused_address_refuses_the_name(refused: str) -> None:
    with pytest.raises(AddressRefused):
        await resolver_with("10.0.0.1", refused).resolve("name", 80)


async def test_names_of_this_machine_are_allowed() -> None:
    guarded = GuardedResolver()
    found = await guarded.resolve("localhost", 80)
    assert "127.0.0.1" in {entry["host"] for entry in found}
    await guarded.close()
