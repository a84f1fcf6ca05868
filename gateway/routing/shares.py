"""What becomes of all weights when one version's weight is set (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

WHOLE = 100  # percent


def rebalanced(
    weights: Mapping[str, int],
    version: str,
    weight: int,
    *,
    active: str,
    heirs: Iterable[str],
) -> dict[str, int]:
    """Give `version` exactly `weight` percent, and the others what is left of 100.

    The active version takes or gives the difference, if it is among `heirs`: those that
    may get what a version gives up. When it has not enough, or is itself the one that is
    set, the others do in proportion to their weights; when all of them are 0, the heirs
    in equal parts. Without any heir nothing is given, and the sum is below 100.
    """
    rest = WHOLE - weight
    others = {name: value for name, value in weights.items() if name != version}
    able = set(heirs) - {version}
    if active in able:
        spared = sum(value for name, value in others.items() if name != active)
        others[active] = max(rest - spared, 0)
        if spared > rest:
            others |= scaled({n: w for n, w in others.items() if n != active}, rest)
        return {**others, version: weight}
    if active in others:
        others[active] = 0  # nothing would serve what it gets
    given = others if any(others.values()) else dict.fromkeys(sorted(able), 1)
    return {**others, **scaled(given, rest), version: weight}


def scaled(parts: Mapping[str, int], total: int) -> dict[str, int]:
    """Scale parts to a total: in proportion, in whole numbers, by largest remainder.

    Equal remainders go by name. Empty gives empty; the parts may not all be 0.
    """
    if not parts:
        return {}
    whole = sum(parts.values())
    shares = {name: part * total // whole for name, part in parts.items()}
    missing = total - sum(shares.values())
    by_remainder = sorted(
        parts, key=lambda name: (-(parts[name] * total % whole), name)
    )
    for name in by_remainder[:missing]:
        shares[name] += 1
    return shares
