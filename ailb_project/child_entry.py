"""Becomes another program that cannot outlive its parent: `child_entry.py PARENT_PID ARGV...`.

Run by path and on its own, before the real program, so that a child that knows nothing
of this (a database server, say) still ends when its supervisor is killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Ask the kernel for SIGTERM at the parent's death, then exec the program."""
    parent_pid, argv = int(sys.argv[1]), sys.argv[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    # The parent may have died before the request was made: then no signal will come.
    if os.getppid() != parent_pid:
        raise SystemExit(1)
    try:
        os.execvp(argv[0], argv)  # noqa: S606  # argv is the supervisor's own, no shell
    except OSError as error:
        raise SystemExit(f"Cannot run {argv[0]}: {error.strerror}.") from None


if __name__ == "__main__":
    main()
