"""A strict sliding window over a count, and a count without a window (pure)."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

SLOTS = 60
SLOTS_OF_A_SECOND = 20  # 50 ms each; what is shorter than a round trip tells nothing


def slots_of(window_s: int) -> int:
    """Say into how many slots a window is divided."""
    return SLOTS if window_s > 1 else SLOTS_OF_A_SECOND


def reservation(needed: int, *, amount: int) -> int:
    """Say how much of `needed` is asked of a limit of `amount`.

    More than the whole limit counts as the limit: such a request is admitted when
    nothing else is counted, instead of never.
    """
    return min(needed, amount)


class Taken(NamedTuple):
    """What was counted: its slot, all that counts with it, and seconds until it is free."""

    slot: int
    used: int
    reset_s: float


class SlidingWindow:
    """What was counted in the last `window_s` seconds, with corrections.

    The window is divided into slots. A slot's count leaves when the whole slot is
    outside, so a count stays for `window_s` and up to one slot more, and no interval of
    `window_s` ever holds more than was let in. Every operation costs O(1) amortised; at
    most one count per slot is kept. A clock that goes back stands still here.
    """

    __slots__ = (
        "_counts",
        "_newest",
        "_slide_s",
        "_slots",
        "_total",
        "_width_s",
        "window_s",
    )

    def __init__(self, window_s: int) -> None:
        """Start empty."""
        self.window_s = window_s
        self._slots = slots_of(window_s)
        self._counts: dict[int, int] = {}  # by slot, oldest first
        self._total = 0
        self._newest = 0
        self._width_s = window_s / self._slots
        self._slide_s = 0.0  # until then there is nothing to slide

    def used(self, now_s: float) -> int:
        """Give what counts now; a surcharge can lift it over what was let in."""
        self._slide(now_s)
        return self._total

    def fits(self, needed: int, *, amount: int, now_s: float) -> bool:
        """Say whether `needed` more stay within `amount`; nothing always fits."""
        self._slide(now_s)
        return self._total + needed <= amount or needed <= 0

    def take(self, needed: int, *, amount: int, now_s: float) -> Taken | None:
        """Count `needed` if it fits; None if it does not, and nothing has changed."""
        self._slide(now_s)
        total, newest = self._total + needed, self._newest
        if needed <= 0:
            return Taken(newest, self._total, self.reset_s(now_s))
        if total > amount:
            return None
        self._counts[newest] = self._counts.get(newest, 0) + needed
        self._total = total
        return Taken(newest, total, self._leaves_s(newest, now_s))

    def add(self, count: int, *, now_s: float) -> int:
        """Count, whether it fits or not; give the slot, for `correct`."""
        self._slide(now_s)
        if count > 0:
            self._counts[self._newest] = self._counts.get(self._newest, 0) + count
            self._total += count
        return self._newest

    def correct(self, slot: int, difference: int, *, now_s: float) -> None:
        """Change what was counted in a slot, by less or more.

        If the slot has left already there is nothing to give back, and a surcharge counts
        now.
        """
        self._slide(now_s)
        counted = self._counts.get(slot)
        if counted is None:
            self.add(difference, now_s=now_s)
            return
        left = max(0, counted + difference)
        self._total += left - counted
        self._counts[slot] = left
        if not left:
            del self._counts[slot]

    def wait_s(self, needed: int, *, amount: int, now_s: float) -> float:
        """Give the seconds until `needed` fits, if nothing else comes."""
        self._slide(now_s)
        excess = self._total + needed - amount
        if excess <= 0 or needed <= 0:
            return 0.0
        for slot, count in self._counts.items():
            excess -= count
            if excess <= 0:
                return self._leaves_s(slot, now_s)
        return self._leaves_s(self._newest, now_s)

    def reset_s(self, now_s: float) -> float:
        """Give the seconds until nothing is counted, if nothing else comes."""
        self._slide(now_s)
        if not self._counts:
            return 0.0
        newest = self._newest
        if newest not in self._counts:
            newest = next(reversed(self._counts))
        return self._leaves_s(newest, now_s)

    def _slide(self, now_s: float) -> None:
        if now_s < self._slide_s:
            return
        slot = int(now_s * self._slots / self.window_s)
        if slot <= self._newest:
            return
        self._newest = slot
        self._slide_s = (slot + 1) * self._width_s
        counts, oldest = self._counts, slot - self._slots
        while counts and (first := next(iter(counts))) < oldest:
            self._total -= counts.pop(first)

    def _leaves_s(self, slot: int, now_s: float) -> float:
        return (slot + self._slots + 1) * self._width_s - now_s


class InFlight:
    """Requests under way, in a window's words: a count that only `correct` takes back."""

    __slots__ = ("_total",)
    window_s = None

    def __init__(self) -> None:
        """Start at zero."""
        self._total = 0

    def used(self, now_s: float) -> int:
        """Give how many are under way."""
        return self._total

    def fits(self, needed: int, *, amount: int, now_s: float) -> bool:
        """Say whether `needed` more stay within `amount`."""
        return self._total + needed <= amount

    def take(self, needed: int, *, amount: int, now_s: float) -> Taken | None:
        """Count `needed` if it fits; None if it does not, and nothing has changed."""
        if not self.fits(needed, amount=amount, now_s=now_s):
            return None
        self._total += needed
        return Taken(0, self._total, 0.0)

    def add(self, count: int, *, now_s: float) -> int:
        """Count; there are no slots, so give 0."""
        self._total += count
        return 0

    def correct(self, slot: int, difference: int, *, now_s: float) -> None:
        """Change the count, by less or more."""
        self._total += difference

    def wait_s(self, needed: int, *, amount: int, now_s: float) -> float:
        """Give infinity unless it fits: nobody knows when a request ends."""
        return 0.0 if self.fits(needed, amount=amount, now_s=now_s) else inf

    def reset_s(self, now_s: float) -> float:
        """Give 0: it frees with its requests."""
        return 0.0
