"""When to stop asking a store that does not answer, and when to try again (pure)."""

from __future__ import annotations

from dataclasses import dataclass

FAILURES = 5  # in a row


@dataclass(slots=True)
class Circuit:
    """Closed while the store answers; opens on a run of failures.

    It begins open, with a try due at once. While it is open only one party tries, from
    `try_at_s` on; each failed try doubles the wait.
    """

    first_wait_s: float
    longest_wait_s: float
    is_closed: bool = False
    try_at_s: float = float("-inf")
    _failures: int = 0
    _wait_s: float = 0.0

    def succeeded(self) -> None:
        """Note an answer."""
        self.is_closed = True
        self._failures = 0
        self._wait_s = 0.0

    def failed(self, now_s: float) -> None:
        """Note that none came.

        Calls that were under way when it opened fail a little later: no news.
        """
        if self.is_closed:
            self._failures += 1
            if self._failures < FAILURES:
                return
        elif now_s < self.try_at_s:
            return
        self.is_closed = False
        self._wait_s = min(
            self.longest_wait_s, max(self.first_wait_s, 2 * self._wait_s)
        )
        self.try_at_s = now_s + self._wait_s
