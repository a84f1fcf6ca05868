"""The price table that comes with AILB: list prices by provider kind and model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import orjson

from gateway.kinds import PriceOrigin
from gateway.snapshot import Prices

ANY_MODEL = "*"  # stands for every model of a kind that is not named
_DATE = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8}|latest)$")


@dataclass(frozen=True, slots=True)
class Listing:
    """One model's list prices; `notes` say what one number a bucket cannot."""

    prices: Prices
    notes: str


@dataclass(frozen=True, slots=True)
class PriceSource:
    """Who published the prices; `as_of` is the date of that publication."""

    name: str
    as_of: str


@dataclass(frozen=True, slots=True)
class TableVersion:
    """`version` is the date of the table; `sources` are by provider kind."""

    version: str
    sources: Mapping[str, tuple[PriceSource, ...]]


def listing_of(kind: str, upstream_model: str) -> Listing | None:
    """Find a model's list prices; None when the table does not know them.

    A dated name (`gpt-4o-2024-08-06`, `claude-3-opus-latest`) that is not in the table
    has the prices of the name without its date.
    """
    if kind == "ollama" and is_cloud_model(upstream_model):
        return None
    listings = _listings().get(kind, {})
    names = (upstream_model, _DATE.sub("", upstream_model), ANY_MODEL)
    return next((listings[name] for name in names if name in listings), None)


def is_cloud_model(ollama_model: str) -> bool:
    """Say whether Ollama passes the model on to its cloud, which is not free."""
    _, _, tag = ollama_model.partition(":")
    return tag.endswith("cloud")


@cache
def table_version() -> TableVersion:
    """Give the table's version and sources."""
    table = _table()
    sources = {
        kind: tuple(PriceSource(**source) for source in of_kind)
        for kind, of_kind in table["sources"].items()
    }
    return TableVersion(table["version"], MappingProxyType(sources))


@cache
def _listings() -> Mapping[str, Mapping[str, Listing]]:
    return {
        kind: {name: _listing(row) for name, row in rows.items()}
        for kind, rows in _table()["models"].items()
    }


def _listing(row: dict[str, Any]) -> Listing:
    prices = {
        f"{bucket}_per_mtok_usd": float(price)
        for bucket, price in row.items()
        if bucket != "notes"
    }
    listed = Prices(**prices, origin=PriceOrigin.SHIPPED)
    return Listing(listed, row.get("notes", ""))


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = orjson.loads(
        files("gateway").joinpath("prices.json").read_bytes()
    )
    return table
