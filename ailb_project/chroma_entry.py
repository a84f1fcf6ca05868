"""Becomes the local Chroma server: `chroma_entry.py FOLDER PORT`.

Run by path and on its own, before the real program: of two servers on one folder, which
would ruin it, the second waits here until the first has ended.
"""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

HOST = "127.0.0.1"
LONGEST_LOG = 1_000_000  # bytes; a longer one is begun anew
# Otherwise it writes several lines for each request.
QUIET = {"RUST_LOG": "error", "ANONYMIZED_TELEMETRY": "False"}


def main() -> None:
    """Take the folder, send what is said to FOLDER.log, and exec `chroma run`."""
    folder, port = Path(sys.argv[1]), sys.argv[2]
    os.umask(0o077)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)  # it may have been made by somebody else
    redirect_output(folder.with_suffix(".log"))
    take_lock(folder.with_suffix(".lock"))
    # By the interpreter: what the script's first line names may have moved.
    chroma = Path(sys.executable).with_name("chroma")
    argv = [sys.executable, str(chroma), "run"]
    argv += ["--path", str(folder), "--host", HOST, "--port", port]
    os.execve(sys.executable, argv, {**os.environ, **QUIET})  # noqa: S606  # no shell


def redirect_output(path: Path) -> None:
    """Let standard output and error end in a file: they are not JSON lines."""
    is_long = path.exists() and path.stat().st_size > LONGEST_LOG
    with path.open("w" if is_long else "a", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


def take_lock(path: Path) -> None:
    """Wait until nobody has the folder; the program that comes keeps the lock.

    It goes with the process that has it, however that ends.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(lock, True)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"Waiting: another server holds {path}.", flush=True)  # noqa: T201  # the log
        fcntl.flock(lock, fcntl.LOCK_EX)


if __name__ == "__main__":
    main()
