"""How the pages write numbers: money, counts, durations."""

from __future__ import annotations

from decimal import Decimal

from gateway.access import NANO_PER_USD

SIGNIFICANT_DIGITS = 4  # of a sum below one USD
UNKNOWN_PRICE = "unknown price"


def usd(nano_usd: int | None) -> str:
    """Write billionths of a USD: $1,234.50, $0.0123; None is an unknown price."""
    if nano_usd is None:
        return UNKNOWN_PRICE
    amount = abs(Decimal(nano_usd) / NANO_PER_USD)
    sign = "-" if nano_usd < 0 else ""
    if amount >= 1 or not amount:
        return f"{sign}${amount:,.2f}"
    digits = SIGNIFICANT_DIGITS - 1 - amount.adjusted()
    whole, _, fraction = f"{amount:.{digits}f}".partition(".")
    return f"{sign}${whole}.{fraction.rstrip('0').ljust(2, '0')}"


def cost(nano_usd: int, *, requests: int, unpriced: int) -> str:
    """Write what requests cost; where no price was known, that is no zero."""
    if not unpriced:
        return usd(nano_usd)
    if unpriced == requests:
        return UNKNOWN_PRICE
    return f"{usd(nano_usd)} + {count(unpriced)} of unknown price"


def count(number: int | None) -> str:
    """Write a whole number with thousands apart; a dash for None."""
    return "-" if number is None else f"{number:,}"


def compact(number: float) -> str:
    """Write a number for an axis: 950, 1.2k, 3.4M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def duration(duration_ms: float | None) -> str:
    """Write milliseconds: 12 ms, 3.4 s, 2 min 5 s; a dash for None."""
    if duration_ms is None:
        return "-"
    if duration_ms < 1000:
        return f"{duration_ms:.0f} ms"
    if duration_ms < 60_000:
        return f"{duration_ms / 1000:.1f} s"
    minutes, seconds = divmod(round(duration_ms / 1000), 60)
    return f"{minutes} min {seconds} s"
