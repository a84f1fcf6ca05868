"""What a deployment is billed at, and what a request costs (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Any

from gateway.dialects.record import Usage
from gateway.kinds import PriceOrigin
from gateway.price_table import listing_of
from gateway.snapshot import Prices

MTOK = 1_000_000
NANO = 10**9

INPUT = "input_per_mtok_usd"
BUCKETS = (
    INPUT,
    "output_per_mtok_usd",
    "cache_read_per_mtok_usd",
    "cache_write_per_mtok_usd",
    "cache_write_1h_per_mtok_usd",
    "audio_input_per_mtok_usd",
    "audio_output_per_mtok_usd",
)
CACHE_BUCKETS = frozenset(bucket for bucket in BUCKETS if bucket.startswith("cache_"))

# What a cached token costs in input tokens, by provider kind and bucket, where nobody
# says a price: Anthropic publishes these, elsewhere it is an input token like any other.
CACHE_MULTIPLIERS: Mapping[str, Mapping[str, Decimal]] = {
    "anthropic": {
        "cache_read_per_mtok_usd": Decimal("0.1"),
        "cache_write_per_mtok_usd": Decimal("1.25"),
        "cache_write_1h_per_mtok_usd": Decimal(2),
    }
}


@dataclass(frozen=True, slots=True)
class BucketPrice:
    """The price of one bucket in USD per million tokens; None = unknown.

    A derived one was computed from the input price, whose origin it has.
    """

    per_mtok_usd: float | None
    origin: PriceOrigin
    is_derived: bool = False


UNKNOWN = BucketPrice(None, PriceOrigin.UNKNOWN)


def cost_nano_usd(usage: Usage, prices: Prices) -> int | None:
    """Give what a request costs, in billionths of a USD, rounded half up once.

    None when a bucket that has tokens has no price. Reasoning is billed as output.
    """
    cost = 0
    for tokens, price in (
        (usage.input_tokens, prices.input_per_mtok_usd),
        (usage.cache_read_tokens, prices.cache_read_per_mtok_usd),
        (usage.cache_write_tokens, prices.cache_write_per_mtok_usd),
        (usage.cache_write_1h_tokens, prices.cache_write_1h_per_mtok_usd),
        (usage.audio_input_tokens, prices.audio_input_per_mtok_usd),
        (usage.output_tokens + usage.reasoning_tokens, prices.output_per_mtok_usd),
        (usage.audio_output_tokens, prices.audio_output_per_mtok_usd),
    ):
        if not tokens:
            continue
        if price is None:
            return None
        cost += tokens * nano_usd_per_mtok(price)
    return (cost + MTOK // 2) // MTOK


def estimated_cost_nano_usd(
    *, input_tokens: int, output_tokens: int, prices: Prices
) -> int | None:
    """Give the most that a request of text may cost, in billionths of a USD.

    Every input token may be written to the cache, where that costs more. An hour in the
    cache is not expected: AILB never asks for it. None when a price is unknown.
    """
    per_input, per_write = prices.input_per_mtok_usd, prices.cache_write_per_mtok_usd
    if per_input is not None and per_write is not None and per_write > per_input:
        per_input = per_write
    cost = 0
    for tokens, price in (
        (input_tokens, per_input),
        (output_tokens, prices.output_per_mtok_usd),
    ):
        if tokens and price is None:
            return None
        cost += tokens * nano_usd_per_mtok(price or 0.0)
    return (cost + MTOK // 2) // MTOK


# A float such as 0.15 is not the number that was typed, its text is. Few prices exist.
@lru_cache(maxsize=4096)
def nano_usd_per_mtok(per_mtok_usd: float) -> int:
    """Give a price as billionths of a USD for a million tokens, rounded half up."""
    exact = Decimal(str(per_mtok_usd)) * NANO
    return int(exact.to_integral_value(ROUND_HALF_UP))


def stated_prices(row: Mapping[str, Any]) -> Prices:
    """Read the prices that a deployment's row gives, by column.

    A row that an older AILB kept in its file may lack some columns.
    """
    columns = {bucket: bucket.replace("_per_", "_price_per_") for bucket in BUCKETS}
    stated = {bucket: row.get(column) for bucket, column in columns.items()}
    given = {name: float(price) for name, price in stated.items() if price is not None}
    return Prices(**given, origin=PriceOrigin.ROW)


def effective_prices(
    row: Prices, *, kind: str, upstream_model: str, is_simulated: bool
) -> Prices:
    """Give what a deployment is billed at; `row` is what its row states.

    The origin is ROW if the row gives the price of input or output, and UNKNOWN without
    a price of input.
    """
    priced = bucket_prices(
        row, kind=kind, upstream_model=upstream_model, is_simulated=is_simulated
    )
    origin = priced[INPUT].origin
    if origin is not PriceOrigin.UNKNOWN and row.output_per_mtok_usd is not None:
        origin = PriceOrigin.ROW
    found = {bucket: price.per_mtok_usd for bucket, price in priced.items()}
    return Prices(**found, origin=origin)


def bucket_prices(
    row: Prices, *, kind: str, upstream_model: str, is_simulated: bool
) -> dict[str, BucketPrice]:
    """Price each bucket of BUCKETS, with where its price came from.

    In this order: the row; 0 for a simulator; the shipped table; for cached tokens a
    multiple of the input price.
    """
    listing = None if is_simulated else listing_of(kind, upstream_model)
    shipped = listing.prices if listing else Prices()
    priced: dict[str, BucketPrice] = {}
    for bucket in BUCKETS:
        own, listed = getattr(row, bucket), getattr(shipped, bucket)
        if own is not None:
            priced[bucket] = BucketPrice(own, PriceOrigin.ROW)
        elif is_simulated:
            priced[bucket] = BucketPrice(0.0, PriceOrigin.SIMULATED)
        elif bucket in CACHE_BUCKETS and _is_derived(row, listed):
            priced[bucket] = _derived(bucket, priced[INPUT], kind)
        elif listed is not None:
            priced[bucket] = BucketPrice(listed, PriceOrigin.SHIPPED)
        else:
            priced[bucket] = UNKNOWN
    return priced


def _is_derived(row: Prices, listed: float | None) -> bool:
    # Listed cache prices belong to the listed input price, not to another one.
    return listed is None or row.input_per_mtok_usd is not None


def _derived(bucket: str, input_price: BucketPrice, kind: str) -> BucketPrice:
    if input_price.per_mtok_usd is None:
        return UNKNOWN
    multiplier = CACHE_MULTIPLIERS.get(kind, {}).get(bucket, Decimal(1))
    exact = Decimal(str(input_price.per_mtok_usd)) * multiplier
    return BucketPrice(float(exact), input_price.origin, is_derived=True)
