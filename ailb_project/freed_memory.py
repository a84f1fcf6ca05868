"""Gives memory back that the process has freed and the C library keeps.

glibc gives back what lies at the top of its heap. Below that it keeps what is free for
the next use: after a burst of bodies of a megabyte, hundreds of them (mallopt(3),
malloc_trim(3)). A lower M_MMAP_THRESHOLD would keep none, but each such body would then
be mapped, zeroed and unmapped anew: twice the processor time of a request.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path

CHECK_INTERVAL_S = 2.0
WORTH_BYTES = 16 * 1024 * 1024  # a trim takes about 0.1 ms a megabyte: not for less
RESTING_S = 1.0  # of each interval: who is busier would soon want it again
WORK_S = 0.1  # since the last trim: who did less has freed nothing

_STATM = Path("/proc/self/statm")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Trimmer:
    """Decides when a trim is due, by what the process takes and does."""

    def __init__(self, resident_bytes: int, cpu_s: float) -> None:
        """Take the figures of a process that has done nothing yet."""
        self._least_bytes = resident_bytes
        self._cpu_s = cpu_s
        self._worked_s = 0.0

    def is_due(self, resident_bytes: int, cpu_s: float) -> bool:
        """Look once in CHECK_INTERVAL_S: true if it has grown, worked and come to rest.

        What it has grown by may be in use now and free after its next work.
        """
        spent_s, self._cpu_s = cpu_s - self._cpu_s, cpu_s
        self._worked_s += spent_s
        self._least_bytes = min(self._least_bytes, resident_bytes)
        has_grown = resident_bytes - self._least_bytes > WORTH_BYTES
        if spent_s >= RESTING_S or self._worked_s < WORK_S or not has_grown:
            return False
        self._worked_s = 0.0
        return True


async def give_back_forever() -> None:
    """Trim whenever it is due; end at once where the C library is not glibc."""
    trim = find_malloc_trim()
    if trim is None:
        return
    trimmer = Trimmer(resident_bytes(), time.process_time())
    while True:
        await asyncio.sleep(CHECK_INTERVAL_S)
        if trimmer.is_due(resident_bytes(), time.process_time()):
            trim(0)


def find_malloc_trim() -> Callable[[int], int] | None:
    """Find glibc's malloc_trim; None with another C library, such as musl."""
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim if _STATM.exists() else None


def resident_bytes() -> int:
    """Measure this process's resident memory."""
    return int(_STATM.read_bytes().split()[1]) * _PAGE_BYTES
