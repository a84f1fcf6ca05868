"""How the pages of deployments show what they are billed at."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.kinds import PriceOrigin, Source
from gateway.models import Deployment
from gateway.price_table import listing_of, table_version
from gateway.pricing import (
    BUCKETS,
    BucketPrice,
    bucket_prices,
    effective_prices,
    stated_prices,
)
from gateway.snapshot import Prices

BUCKET_NAMES = {
    bucket: bucket.removesuffix("_per_mtok_usd").replace("_", " ") for bucket in BUCKETS
}
ORIGINS = {
    PriceOrigin.ROW: "this deployment's own",
    PriceOrigin.SHIPPED: "AILB's price table",
    PriceOrigin.SIMULATED: "a simulator costs nothing",
    PriceOrigin.UNKNOWN: "nobody says",
}


def prices_of(row: Deployment) -> Prices:
    """Give what a deployment is billed at; its provider should be read with it."""
    return effective_prices(
        stated_prices(vars(row)),
        kind=row.provider.kind,
        upstream_model=row.upstream_model,
        is_simulated=row.provider.source == Source.SIMULATOR,
    )


def brief_prices(row: Deployment) -> str:
    """Write the prices of input and output, with their origin unless it is the row."""
    prices = prices_of(row)
    pair = (prices.input_per_mtok_usd, prices.output_per_mtok_usd)
    brief = ", ".join("-" if price is None else shown(price) for price in pair)
    return brief if prices.origin is PriceOrigin.ROW else f"{brief} ({prices.origin})"


def explained_prices(row: Deployment) -> str:
    """Write each bucket's price and origin, a line each, then about the table."""
    priced = bucket_prices(
        stated_prices(vars(row)),
        kind=row.provider.kind,
        upstream_model=row.upstream_model,
        is_simulated=row.provider.source == Source.SIMULATOR,
    )
    lines = [explained(bucket, price) for bucket, price in priced.items()]
    if any(price.origin is PriceOrigin.SHIPPED for price in priced.values()):
        lines += about_table(row.provider.kind, row.upstream_model)
    return "\n".join(lines)


def explained(bucket: str, price: BucketPrice) -> str:
    """Write one bucket's price and where it came from."""
    name = BUCKET_NAMES[bucket]
    if price.per_mtok_usd is None:
        return f"{name}: unknown"
    why = ORIGINS[price.origin]
    if price.is_derived:
        why = f"from the input price, {why}"
    return f"{name}: {shown(price.per_mtok_usd)} ({why})"


def about_table(kind: str, upstream_model: str) -> Iterator[str]:
    """Write which table it is, who published its prices, and what it cannot say."""
    table = table_version()
    sources = ", ".join(f"{s.name} of {s.as_of}" for s in table.sources[kind])
    yield f"Price table of {table.version}: {sources}."
    listing = listing_of(kind, upstream_model)
    if listing is not None and listing.notes:
        yield listing.notes


def shown(per_mtok_usd: float) -> str:
    """Write a price without needless zeros."""
    return f"{per_mtok_usd:.10g}"
