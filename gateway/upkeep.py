"""Work of the background process that is done again and again, each in bounded parts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from rag.errors import EmbedderUnavailable, VectorStoreUnavailable

logger = logging.getLogger(__name__)

BATCHES_LIMIT_S = 2.0  # for each kind of work, before the next one has its turn


@dataclass(slots=True)
class Step:
    """Work that is done again and again; `due_s` is on the monotonic clock.

    `work` says whether there is more to do: then the interval is not waited for.
    `problem` is why it could not be done last time; it is logged once.
    """

    name: str
    work: Callable[[datetime], bool]
    interval_s: float
    due_s: float = 0.0
    problem: str = ""


class Upkeep:
    """Does steps when they are due. Blocks; for one thread."""

    def __init__(self, name: str, steps: Sequence[Step]) -> None:
        """`name` is what the log calls it."""
        self._name = name
        self._steps = steps

    def do_round(self, now: datetime) -> None:
        """Do a bounded part of everything that is due.

        Raises:
            django.db.Error: The database is away.

        """
        for step in self._steps:
            if step.due_s <= time.monotonic():
                step.due_s = time.monotonic() + step.interval_s
                if self._do(step, now):
                    step.due_s = 0.0

    def _do(self, step: Step, now: datetime) -> bool:
        problem, has_more = "", False
        try:
            has_more = step.work(now)
        except (EmbedderUnavailable, VectorStoreUnavailable) as error:
            problem = str(error)
        if problem and not step.problem:
            logger.warning(
                "%s waits", self._name, extra={"step": step.name, "reason": problem}
            )
        step.problem = problem
        return has_more


def batches(work: Callable[[], int], size: int) -> bool:
    """Do batch after batch until one is not full, or others have waited long enough.

    Gives whether there may be more.
    """
    until_s = time.monotonic() + BATCHES_LIMIT_S
    while work() == size:
        if time.monotonic() >= until_s:
            return True
    return False
