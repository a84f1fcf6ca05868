"""`make bench-memory`: does memory find the right turns, and how long does it take."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.processes import ROOT

# In a process of its own: settings read their folder and database when they load.
_CHILD = (
    "import sys; from benchmarks.memory_report import main; "
    "sys.exit(main(locomo={locomo!r}, turns={turns}, repeats={repeats}))"
)


def main() -> int:
    """Print the tables; 1 when a bound is broken, which is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--locomo", type=Path, help="the public set's locomo10.json, for quality"
    )
    parser.add_argument(
        "--turns", type=int, default=100_000, help="stored in other sessions at most"
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds of each timing")
    arguments = parser.parse_args()
    core = min(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="ailb-bench-") as folder:
        child = _CHILD.format(
            locomo=arguments.locomo and str(arguments.locomo.resolve()),
            turns=arguments.turns,
            repeats=arguments.repeats,
        )
        shell = [sys.executable, "manage.py", "shell", "--no-imports", "-c", child]
        env = {**os.environ, "AILB_DATA_DIR": folder, "AILB_LOG_LEVEL": "error"}
        env.pop("DATABASE_URL", None)  # the figures are those of SQLite
        command = ["taskset", "--cpu-list", str(core), *shell]
        print(f"All on core {core}.", flush=True)
        return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
