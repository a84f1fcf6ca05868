"""Who may do what, how much and for how much money, as immutable values (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.kinds import Measure, Period, Right, Scope

NANO_PER_USD = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Limit:
    """One Limit row: at most `amount` of a measure in any `window_s` seconds.

    `window_s` is None for CONCURRENCY, which has none.
    """

    id: int
    scope: Scope
    measure: Measure
    amount: int
    window_s: int | None


class Standing(NamedTuple):
    """How a limit stands: what is left of it, and when all of it is free again.

    `remaining` is what the process that answers may still admit. `reset_s` is in
    seconds, if nothing else came; 0.0 for CONCURRENCY, which frees with its requests.
    """

    limit: Limit
    remaining: int
    reset_s: float


@dataclass(frozen=True, slots=True)
class Budget:
    """One Budget row: what may be spent in a period, in billionths of a USD.

    From `warn_percent` on it warns (None: never); a hard one stops requests when it is
    spent. `blocks_unknown_price` keeps requests from deployments without a price.
    """

    id: int
    scope: Scope
    period: Period
    amount_nano_usd: int
    warn_percent: int | None = 80
    is_hard: bool = True
    blocks_unknown_price: bool = False


@dataclass(frozen=True, slots=True)
class Tenant:
    """One Tenant row with its own limits and budgets."""

    id: int
    name: str
    limits: tuple[Limit, ...] = ()
    budgets: tuple[Budget, ...] = ()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One virtual key, without its secret.

    `models` and `collections` are names, None for all.
    """

    row_id: int
    public_id: str
    name: str
    tenant: Tenant
    rights: frozenset[Right]
    models: frozenset[str] | None = None
    collections: frozenset[str] | None = None
    limits: tuple[Limit, ...] = ()
    budgets: tuple[Budget, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys that open the door, by digest, each with the unix time of its end.

    None: it has no end. A key that is being rotated stands here twice, its former secret
    with an earlier end. `pepper` is None while there was never a key, or when it could
    not be read (`is_unreadable`): then no key can be checked.
    """

    keys: Mapping[str, tuple[ApiKey, float | None]] = field(
        default_factory=dict, repr=False
    )
    pepper: str | None = field(default=None, repr=False)
    is_unreadable: bool = False

    @property
    def is_empty(self) -> bool:
        """Say whether there was never a key: the first one makes the pepper."""
        return self.pepper is None and not self.is_unreadable


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask, and the limits that hold for all, for a model, for a provider.

    Tenants, models and providers by name; callers by IP address in its normal form.
    """

    tenants: Mapping[str, Tenant] = field(default_factory=dict)
    keys: KeyRing = field(default_factory=KeyRing)
    everybody: tuple[Limit, ...] = ()
    by_model: Mapping[str, tuple[Limit, ...]] = field(default_factory=dict)
    by_provider: Mapping[str, tuple[Limit, ...]] = field(default_factory=dict)
    by_address: Mapping[str, tuple[Limit, ...]] = field(default_factory=dict)
    limit_ids: frozenset[int] = frozenset()
    budget_ids: frozenset[int] = frozenset()

    @property
    def has_quotas(self) -> bool:
        """Say whether anybody has a limit or a budget."""
        return bool(self.limit_ids or self.budget_ids)
