"""The usage spool: what was appended is kept, whatever becomes of disk and process."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Counter, Gauge

from gateway import metrics, spool
from gateway.spool import RING_LINES, Spool, lock, measure, segments, worker_of

ROOT = Path(__file__).resolve().parents[2]
# Appends while no file may be longer than 50 bytes, then not longer than 0.
LIMITED = """
import resource, sys
from pathlib import Path
from gateway.spool import Spool

def append(lines, limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    for number in lines:
        spool.append(f"line {number} {'x' * 20}\\n".encode())
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    spool.rotate()

spool = Spool(Path(sys.argv[1]), "w")
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
append(range(5), 50)
append(range(5, 10), 0)
spool.close()
"""


def value(metric: Counter | Gauge) -> float:
    (family,) = metric.collect()
    return family.samples[0].value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def writer(folder: Path) -> Iterator[Spool]:
    made = Spool(folder, "w1")
    yield made
    made.close()


def text(folder: Path) -> str:
    return "".join(path.read_text() for path in segments(folder))


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def is_free(path: Path) -> bool:
    with path.open("rb") as file:
        return lock(file.fileno())


def test_nothing_is_made_before_the_first_line(writer: Spool, folder: Path) -> None:
    writer.rotate()
    writer.sync()
    assert not folder.exists()


def test_a_line_is_there_at_once_and_for_its_owner_alone(
    writer: Spool, folder: Path
) -> None:
    writer.append(b"one\n")
    (path,) = segments(folder)
    assert path.read_text() == "one\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert worker_of(path) == "w1"


def test_a_file_is_locked_until_it_is_closed(writer: Spool, folder: Path) -> None:
    writer.append(b"one\n")
    (first,) = segments(folder)
    assert not is_free(first)
    writer.rotate()
    assert is_free(first)
    writer.append(b"two\n")
    assert len(segments(folder)) == 2
    assert text(folder) == "one\ntwo\n"


def test_a_file_that_another_removed_is_not_to_be_had(
    writer: Spool, folder: Path
) -> None:
    writer.append(b"one\n")
    writer.rotate()
    (path,) = segments(folder)
    with path.open("rb") as file:
        path.unlink()
        assert not lock(file.fileno())


def test_what_the_disk_refuses_waits_for_the_next_rotation(
    writer: Spool, folder: Path
) -> None:
    before = value(metrics.USAGE_RECORDED)
    folder.write_text("a file where the folder should be")
    writer.append(b"one\n")
    writer.append(b"two\n")
    writer.rotate()
    assert value(metrics.USAGE_RECORDED) == before
    folder.unlink()
    writer.append(b"three\n")
    writer.rotate()
    assert sorted(text(folder).split()) == ["one", "three", "two"]
    assert value(metrics.USAGE_RECORDED) == before + 3


def test_memory_is_bounded_and_what_falls_out_is_counted(
    writer: Spool, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = value(metrics.USAGE_LOST)
    folder.write_text("a file where the folder should be")
    for number in range(RING_LINES + 3):
        writer.append(f"{number}\n".encode())
    writer.rotate()
    assert value(metrics.USAGE_LOST) == before + 3
    said = [each.message for each in caplog.records]
    assert said == ["usage waits in memory"], "once, not for each line"
    folder.unlink()
    writer.rotate()
    kept = text(folder).split()
    assert (kept[0], len(kept)) == ("3", RING_LINES)


def test_what_waits_in_memory_at_the_stop_is_counted_as_lost(
    writer: Spool, folder: Path
) -> None:
    before = value(metrics.USAGE_LOST)
    folder.write_text("a file where the folder should be")
    writer.append(b"one\n")
    writer.close()
    assert value(metrics.USAGE_LOST) == before + 1
    folder.unlink()


def test_a_disk_that_fills_up_in_the_middle_of_a_line_loses_none(folder: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", LIMITED, str(folder)], cwd=ROOT, check=True, timeout=60
    )
    whole = {f"line {number} {'x' * 20}" for number in range(10)}
    lines = [path.read_text() for path in segments(folder)]
    assert "" not in lines, "a file without a line is not left behind"
    assert whole <= set("\n".join(lines).split("\n"))


def test_files_that_nobody_flushes_do_not_pile_up(writer: Spool) -> None:
    before = open_files()
    for _ in range(spool.MAX_UNSYNCED * 2):
        writer.append(b"one\n")
        writer.rotate()
    assert open_files() <= before + spool.MAX_UNSYNCED
    writer.sync()
    assert open_files() == before


def test_the_gauges_say_what_waits_and_what_was_put_aside(
    writer: Spool, folder: Path
) -> None:
    measure(folder)
    assert value(metrics.USAGE_SPOOLED_BYTES) == 0
    writer.append(b"12345\n")
    writer.rotate()
    writer.append(b"123\n")
    (folder / spool.SKIPPED_FILE).write_text("torn")
    measure(folder)
    assert value(metrics.USAGE_SPOOLED_BYTES) == 10
    assert value(metrics.USAGE_SKIPPED_BYTES) == 4
