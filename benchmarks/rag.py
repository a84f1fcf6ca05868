"""`make bench-rag DATA=path`: do documents answer, and how long do they take."""

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
    "import sys; from benchmarks.rag_report import main; "
    "sys.exit(main(data={data!r}, most={most}, repeats={repeats}))"
)


def main() -> int:
    """Print the tables; 1 when a bound is broken, which is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a folder in the form that BEIR uses")
    parser.add_argument(
        "--most", type=int, default=100_000, help="chunks of the largest collection"
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds of each timing")
    arguments = parser.parse_args()
    core = min(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="ailb-bench-") as folder:
        child = _CHILD.format(
            data=str(arguments.data.resolve()),
            most=arguments.most,
            repeats=arguments.repeats,
        )
        shell = [sys.executable, "manage.py", "shell", "--no-imports", "-c", child]
        env = {
            **os.environ,
            "AILB_DATA_DIR": folder,
            "AILB_LOG_LEVEL": "error",
            "ENABLE_RAG": "true",
        }
        env.pop("DATABASE_URL", None)  # the figures are those of SQLite
        command = ["taskset", "--cpu-list", str(core), *shell]
        print(f"All on core {core}.", flush=True)
        return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
