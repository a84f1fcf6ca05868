"""Writers that are killed, and several drainers at once: every line counts once."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db.models import Sum

from gateway.bookkeeping import drain
from gateway.models import UsageRecord, UsageRollup
from gateway.spool import segments
from gateway.usage_line import UsageLine
from tests.gateway.usage_lines import usage_line, write_file
from tests.postgresql import empty_database

ROOT = Path(__file__).resolve().parents[2]
KILLS = 30
# A process for each name it reads, which tells each uid once `append` has returned.
WRITERS = """
import os, sys
from pathlib import Path
from gateway.spool import Spool

folder, line = sys.argv[1:]
for name in sys.stdin:
    worker, number = name.strip(), 0
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        os.write(1, b"ended\\n")
        continue
    os.write(1, f"{os.getpid()}\\n".encode())
    spool = Spool(Path(folder), worker)
    while True:
        number += 1
        uid = f"{worker}-{number}"
        spool.append(line.replace("UID", uid).encode() + b"\\n")
        os.write(1, f"{uid}\\n".encode())
        if number % 40 == 0:
            spool.rotate()
"""
# Says that it is ready, waits for a line, and drains.
DRAINER = """
import sys
from pathlib import Path
from gateway.bookkeeping import drain

print("ready", flush=True)
sys.stdin.readline()
drain(Path({folder!r}))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.mark.django_db
def test_a_killed_writer_loses_no_line_and_none_counts_twice(folder: Path) -> None:
    draw = random.Random(7)  # noqa: S311 - the same in every run
    line = usage_line(uid="UID").as_bytes().decode().strip()
    acknowledged: set[str] = set()
    with subprocess.Popen(
        [sys.executable, "-c", WRITERS, str(folder), line],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pipesize=4096,  # they are held up when nobody reads what they tell
    ) as writers:
        assert writers.stdin is not None
        assert writers.stdout is not None
        for number in range(KILLS):
            writers.stdin.write(f"w{number}\n")
            writers.stdin.flush()
            pid = int(writers.stdout.readline())
            told = [writers.stdout.readline() for _ in range(draw.randrange(1, 150))]
            drain(folder)
            os.kill(pid, signal.SIGKILL)
            told += iter(writers.stdout.readline, "ended\n")
            acknowledged |= {uid.strip() for uid in told}
        writers.stdin.close()
    drain(folder)
    assert segments(folder) == []
    found = set(UsageRecord.objects.values_list("uid", flat=True))
    assert acknowledged <= found
    grains = UsageRollup.objects.order_by().values_list("grain")
    assert {each for _, each in grains.annotate(Sum("requests"))} == {len(found)}


def manage(*argv: str, url: str, data: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", *argv],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url, "AILB_DATA_DIR": str(data)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def drain_at_once(folders: Sequence[Path], *, url: str, data: Path) -> None:
    """Drain in processes that begin together; fail when one does."""
    drainers = [
        manage(
            "shell", "--no-imports", "-c", DRAINER.format(folder=str(each)),
            url=url, data=data,
        )
        for each in folders
    ]  # fmt: skip
    for drainer in drainers:
        assert drainer.stdout is not None
        assert drainer.stdout.readline() == "ready\n"
    for drainer in drainers:
        assert drainer.stdin is not None
        drainer.stdin.write("go\n")
        drainer.stdin.flush()
    for drainer in drainers:
        _, errors = drainer.communicate(timeout=120)
        assert drainer.returncode == 0, errors


def mixed_lines(count: int, *, budget: int | None = None) -> list[UsageLine]:
    """Make lines of many groups, in no order."""
    draw = random.Random(count)  # noqa: S311 - the same in every run
    budgets = ((budget, "2026-03-01"),) if budget else ()
    return [
        usage_line(
            tenant=f"t{draw.randrange(30)}", model=f"m{draw.randrange(30)}",
            budgets=budgets, worker=f"w{draw.randrange(3)}",
        )
        for _ in range(count)
    ]  # fmt: skip


def test_two_drainers_of_one_folder_count_every_line_once(
    folder: Path, tmp_path: Path, database_template: Path
) -> None:
    database = tmp_path / "ailb.sqlite3"
    database.write_bytes(database_template.read_bytes())
    for number in range(40):
        write_file(folder, mixed_lines(100), f"w{number}.1")
    url = f"sqlite:///{database}"
    drain_at_once([folder, folder], url=url, data=tmp_path / "data")
    assert segments(folder) == []
    with closing(sqlite3.connect(database)) as opened:
        assert sums_by_grain(lambda sql: list(opened.execute(sql))) == (4000, 4000)


@pytest.fixture
def postgres_url(postgresql_template: str) -> Iterator[str]:
    with empty_database(template=postgresql_template) as url:
        yield url


def test_replicas_add_to_the_same_rows_on_postgresql(
    folder: Path, tmp_path: Path, postgres_url: str
) -> None:
    data = tmp_path / "data"
    with psycopg.connect(postgres_url, autocommit=True) as opened:
        opened.execute(
            "INSERT INTO gateway_budget (id, tenant_id, period, amount_usd, is_hard, "
            "blocks_unknown_price, webhook_url, enabled) SELECT 1, id, 'month', 1, "
            "true, false, '', true FROM gateway_tenant WHERE name = 'default'"
        )
        folders = [folder, tmp_path / "other"]
        for each in folders:
            bad = usage_line(model="nul \x00 is refused")
            write_file(each, [*mixed_lines(5000, budget=1), bad])
        drain_at_once(folders, url=postgres_url, data=data)

        def query(sql: str) -> list[tuple[Any, ...]]:
            return opened.execute(sql.encode()).fetchall()

        assert sums_by_grain(query) == (10_000, 10_000)
        assert query("SELECT sum(spent_nano_usd) FROM gateway_budgetspend") == [
            (10_000 * 2_500,)
        ]
    assert [len(segments(each)) for each in folders] == [0, 0]


def sums_by_grain(query: Callable[[str], list[tuple[Any, ...]]]) -> tuple[int, int]:
    """Give how many records there are and how many requests each grain counts."""
    ((records,),) = query("SELECT count(*) FROM gateway_usagerecord")
    sums = query("SELECT sum(requests) FROM gateway_usagerollup GROUP BY grain")
    (by_grain,) = {int(each) for (each,) in sums}
    return records, by_grain
