"""Whose data a request may see, as a value that every query takes (pure)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """Who asks: nothing of another tenant is ever read or written for it.

    `owner` is the public id of the key that asks, empty for the anonymous tenant: what it
    makes is marked with it. `collections` are the names it may read, None for all of its
    tenant's.
    """

    tenant_id: int
    owner: str = ""
    collections: frozenset[str] | None = None
