"""`make bench-usage`: how long the admin's pages take over a ledger of a million rows."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile

from benchmarks.processes import ROOT

# In a process of its own: settings read their folder and database when they load.
_CHILD = "import sys; from benchmarks.usage_timing import main; sys.exit(main({rows}))"


def main() -> int:
    """Print the table; 1 when a page is too slow."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Uses an SQLite file of its own, or the empty database of DATABASE_URL.",
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="of usage")
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="ailb-bench-") as folder:
        child = _CHILD.format(rows=rows)
        command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", child]
        env = {**os.environ, "AILB_DATA_DIR": folder, "AILB_LOG_LEVEL": "error"}
        return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
