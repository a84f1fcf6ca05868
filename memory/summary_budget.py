"""What each tenant's summaries may cost (pure)."""

from __future__ import annotations

from collections import defaultdict, deque
from datetime import date, datetime, timedelta

SUMMARIES_PER_MINUTE = 6
TOKENS_PER_DAY = 200_000  # UTC


class SummaryBudget:
    """What each tenant's summaries have cost: asked in the last minute, tokens today.

    In this process's memory: it begins anew with the process.
    """

    def __init__(self) -> None:
        """Begin with nothing spent."""
        self._asked: dict[int, deque[datetime]] = defaultdict(deque)
        self._spent: dict[int, int] = defaultdict(int)
        self._day = date.min

    def take(self, tenant_id: int, tokens: int, *, now: datetime) -> bool:
        """Spend on one summary; False, and nothing spent, if it is beyond the budget."""
        if now.date() != self._day:
            self._day = now.date()
            self._spent.clear()
        asked = self._asked[tenant_id]
        while asked and asked[0] <= now - timedelta(minutes=1):
            asked.popleft()
        is_spent = self._spent[tenant_id] + tokens > TOKENS_PER_DAY
        if is_spent or len(asked) >= SUMMARIES_PER_MINUTE:
            return False
        asked.append(now)
        self._spent[tenant_id] += tokens
        return True
