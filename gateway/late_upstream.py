"""The way to providers, for processes that seldom need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.upstream import Upstream


class LateUpstream:
    """Makes an Upstream when it is first asked for one.

    The HTTP client takes 14 MiB, which most installations' background work never needs.
    """

    def __init__(self) -> None:
        """Make none yet."""
        self._upstream: Upstream | None = None

    def __call__(self) -> Upstream:
        """Give the one there is."""
        if self._upstream is None:
            from gateway.upstream import Upstream  # noqa: PLC0415  # heavy

            self._upstream = Upstream()
        return self._upstream

    async def aclose(self) -> None:
        """Close its connections, if it was ever made."""
        if self._upstream is not None:
            await self._upstream.aclose()
