"""Which version of a model serves a request: exact shares, and one per conversation (pure)."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b
from math import log

from gateway.snapshot import Model, Snapshot

REMEMBERED = 16  # sets of versions per model; the one used longest ago is forgotten
HASH_BITS = 52  # so that a half added to the hash is still exact

Shares = tuple[tuple[str, int], ...]  # (version, weight), more than one


class Splitting:
    """Where the turns of every model's versions stand.

    Requests without a conversation take turns by nginx's smooth weighted round robin,
    like deployments in `Rotations`: of each cycle (as many requests as the weights sum
    up to) every version gets exactly its weight, and no burst. Each set of versions turns
    on its own, and from the start when its weights change.
    """

    def __init__(self) -> None:
        """Start with no turn taken."""
        self._turns: dict[str, dict[Shares, dict[str, int]]] = {}

    def choose(
        self, model: Model, eligible: Collection[str], conversation: str
    ) -> str | None:
        """Choose the version whose deployments are tried first; None: any order will do.

        Of the versions that share the model's requests only those in `eligible` count.
        A conversation keeps its version as long as that is one of them, in every
        process; an empty name is none.
        """
        shares = tuple([share for share in model.split if share[0] in eligible])
        if len(shares) < 2:
            return None
        if conversation:
            return version_of(conversation, shares)
        return self._take_turn(model.name, shares)

    def retain(self, snapshot: Snapshot) -> None:
        """Forget the turns of models and weights that are no longer configured."""
        kept: dict[str, dict[Shares, dict[str, int]]] = {}
        for name, turns in self._turns.items():
            model = snapshot.models.get(name)
            current = set() if model is None else set(model.split)
            left = {
                shares: v for shares, v in turns.items() if current.issuperset(shares)
            }
            if left:
                kept[name] = left
        self._turns = kept

    def _take_turn(self, name: str, shares: Shares) -> str:
        turns = self._turns.setdefault(name, {})
        values = turns.pop(shares, None)
        if values is None:
            values = dict.fromkeys([version for version, _ in shares], 0)
            if len(turns) >= REMEMBERED:
                del turns[next(iter(turns))]
        turns[shares] = values  # at the end: the one used last
        total = 0
        for version, weight in shares:
            values[version] += weight
            total += weight
        chosen = max(values, key=values.__getitem__)
        values[chosen] -= total
        return chosen


def version_of(conversation: str, shares: Shares) -> str:
    """Choose a conversation's version by weighted rendezvous hashing.

    Each version draws a number from the conversation's name and its own, and the largest
    of -weight / ln(number) wins. So shares follow the weights, and when one changes only
    conversations move that the change is about: to what grew, or from what shrank.
    (Schindelhauer, Schomaker: "Weighted Distributed Hash Tables", SPAA 2005.)
    """
    return max(shares, key=lambda share: _score(conversation, *share))[0]


def _score(conversation: str, version: str, weight: int) -> float:
    named = f"{conversation}\0{version}".encode("utf-8", "surrogatepass")
    bits = int.from_bytes(blake2b(named, digest_size=8).digest(), "big")
    number = ((bits >> (64 - HASH_BITS)) + 0.5) / (1 << HASH_BITS)  # within 0 and 1
    return -weight / log(number)
