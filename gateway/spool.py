"""The usage spool: files that keep what requests used until it stands in the database.

A line is safe from a killed process as soon as `append` returns: the kernel has it. It is
safe from a power cut after the next `sync`. Each writer has files of its own and holds a
lock on the one it is writing, so that others can tell a file that still grows from one
that was closed, or whose writer is dead.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections import deque
from contextlib import suppress
from pathlib import Path

from gateway import metrics

logger = logging.getLogger(__name__)

PATTERN = "*.jsonl"
SKIPPED_FILE = "skipped.txt"  # lines that could not be read, kept for the operator
RING_LINES = 10_000
MAX_UNSYNCED = 64  # closed files whose bytes nobody has flushed yet


class Spool:
    """Appends lines to files of one worker. For one thread, but `sync` for another."""

    def __init__(self, folder: Path, worker: str) -> None:
        """Touch nothing yet: the first line makes folder and file.

        `worker` is a name that no other process ever has.
        """
        self._folder = folder
        self._worker = worker
        self._number = 0
        self._path = folder
        self._descriptor: int | None = None
        self._is_dirty = False
        self._is_refused = False
        self._ring: deque[bytes] = deque(maxlen=RING_LINES)
        self._closed: deque[int] = deque()

    def append(self, line: bytes) -> None:
        """Keep a line; never raises.

        While the disk refuses, lines wait in memory for the next `rotate`; the oldest
        are lost, and counted, when they are more than RING_LINES.
        """
        if self._is_refused or not self._write(line):
            self._keep_in_memory(line)
        else:
            metrics.USAGE_RECORDED.inc()

    def rotate(self) -> None:
        """Close the current file, for others to read; retry what waits in memory."""
        self._is_refused = False
        if self._ring and self._write(b"".join(self._ring)):
            logger.warning("usage spool: the disk takes lines again")
            metrics.USAGE_RECORDED.inc(len(self._ring))
            self._ring.clear()
        self._retire()

    def sync(self) -> None:
        """Flush to the disk what was appended. Blocks; cheap when there is nothing.

        Raises nothing: a disk that fails here refuses the next line, too.
        """
        while self._closed:
            # Whoever takes a descriptor out closes it: it is never another file's by then.
            descriptor = self._closed.popleft()
            with suppress(OSError):
                if os.fstat(descriptor).st_nlink:  # else it was read and removed
                    os.fdatasync(descriptor)
            os.close(descriptor)
        current = self._descriptor
        if self._is_dirty and current is not None:
            self._is_dirty = False
            with suppress(OSError):
                os.fdatasync(current)

    def close(self) -> None:
        """Close everything, flushed. No `append` and no other `sync` beside it."""
        self.rotate()
        if self._ring:
            logger.error("usage lost at the stop", extra={"lines": len(self._ring)})
            metrics.USAGE_LOST.inc(len(self._ring))
            self._ring.clear()
        self.sync()

    def _write(self, lines: bytes) -> bool:
        try:
            if self._descriptor is None:
                self._descriptor = self._open()
            self._is_dirty = True
            if os.write(self._descriptor, lines) == len(lines):
                return True
            reason = "no space is left"
        except OSError as error:
            reason = str(error)
        self._refuse(reason)
        return False

    def _open(self) -> int:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            self._number += 1
            self._path = self._folder / f"{self._worker}.{self._number:08d}.jsonl"
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND
            descriptor = os.open(self._path, flags, 0o600)
            if lock(descriptor):
                return descriptor
            os.close(descriptor)  # a reader saw it before its lock: it removes it

    def _refuse(self, reason: str) -> None:
        if not self._ring:
            logger.error("usage waits in memory", extra={"reason": reason})
        self._is_refused = True
        self._retire()  # what was torn is the end of that file

    def _keep_in_memory(self, line: bytes) -> None:
        if len(self._ring) == RING_LINES:
            metrics.USAGE_LOST.inc()
        self._ring.append(line)

    def _retire(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        with suppress(OSError):
            if not os.fstat(descriptor).st_size:
                self._path.unlink()
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        self._closed.append(descriptor)
        if len(self._closed) > MAX_UNSYNCED:
            os.close(self._closed.popleft())


def lock(descriptor: int) -> bool:
    """Take a file for this process; False if another has it or has removed it.

    Closing the descriptor gives the lock back.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(descriptor).st_nlink > 0


def segments(folder: Path) -> list[Path]:
    """List the files of lines, oldest first, those being written included."""
    found = []
    for path in folder.glob(PATTERN):
        with suppress(FileNotFoundError):  # read and removed by another process
            found.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(found)]


def worker_of(segment: Path) -> str:
    """Name the worker whose file it is."""
    return segment.name.partition(".")[0]


def measure(folder: Path) -> None:
    """Set the gauges that say what waits in the spool and what could not be read."""
    waiting = 0
    for path in segments(folder):
        waiting += _size(path)
    metrics.USAGE_SPOOLED_BYTES.set(waiting)
    metrics.USAGE_SKIPPED_BYTES.set(_size(folder / SKIPPED_FILE))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
