"""What a request holds in Redis, and under which names (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gateway.access import Limit
from gateway.limits.budgets import BudgetBook
from gateway.limits.charges import Grant
from gateway.limits.window import slots_of


class Hold(NamedTuple):
    """What one request holds of one limit; `slot` is 0 for what is in flight."""

    limit: Limit
    slot: int
    reserved: int


@dataclass(slots=True, eq=False)
class SharedGrant(Grant):
    """A grant with what it holds in Redis, in flight under the name of its lease."""

    is_shared = True
    lease: str = ""
    holds: tuple[Hold, ...] = ()
    books: tuple[BudgetBook, ...] = ()
    reserved_nano_usd: int = 0


@dataclass(slots=True)
class Keyspace:
    """The keys of one installation; one hash tag keeps them on one node of a cluster.

    `prefix` tells it from others that use the same Redis; set it before the first key.
    """

    prefix: str = ""

    @property
    def workers(self) -> str:
        """Name the set of workers that live."""
        return f"{{ailb}}:{self.prefix}:workers"

    def limit(self, limit: Limit) -> str:
        """Name a limit's count; another window is another count."""
        kind = "flight" if limit.window_s is None else f"window:{limit.window_s}"
        return f"{{ailb}}:{self.prefix}:limit:{limit.id}:{kind}"

    def book(self, book: BudgetBook) -> tuple[str, str]:
        """Name what workers have settled, and what they have reserved."""
        budget_id, start = book.key
        stem = f"{{ailb}}:{self.prefix}:budget:{budget_id}:{start}"
        return f"{stem}:settled", f"{stem}:reserved"


def shape_of(window_s: int) -> dict[str, float]:
    """Describe a window to the scripts."""
    slots = slots_of(window_s)
    return {
        "slots": slots,
        "width_us": window_s * 1_000_000 / slots,
        "ttl_ms": window_s * 1000 * (slots + 2) // slots,
    }
