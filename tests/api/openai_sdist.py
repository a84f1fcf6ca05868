"""The official openai package's own tests: fetched, unpacked, run as a black box."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest

FETCH_LIMIT_S = 180
RUN_LIMIT_S = 150


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of the package's tests came to; `output` is what pytest printed."""

    passed: tuple[str, ...]
    failed: tuple[str, ...]
    skipped: tuple[str, ...]
    output: str


def fetch_sdist(cache: Path) -> Path:
    """Give the unpacked sources of the installed version; skip where none can be had.

    `cache` outlives the test run; what is there already is not fetched again.
    """
    name = f"openai-{openai.__version__}"
    folder = cache / name
    if not folder.is_dir():
        archive = _download(cache / "archives", name)
        # Renamed when whole: a run that is cut off leaves nothing half unpacked.
        draft = cache / f"{name}.{os.getpid()}"
        with tarfile.open(archive) as tar:
            tar.extractall(draft, filter="data")
        (draft / name).rename(folder)
        draft.rmdir()
    return folder


def _download(folder: Path, name: str) -> Path:
    """Let pip fetch the sources, as its own configuration says from where."""
    requirement = name.replace("-", "==")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--retries", "1", "--timeout", "15"]
    command += ["--no-binary", "openai", "--dest", str(folder), requirement]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=FETCH_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"pip did not fetch the sources of {requirement} in time")
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        pytest.skip(f"the sources of {requirement} cannot be had: {reason}")
    return next(folder.glob(f"{name}.tar.gz"))


def run_tests(
    sdist: Path, files: Iterable[str], *, select: str, base_url: str, report: Path
) -> Outcome:
    """Run files of the package's tests against a server, unchanged, in their own pytest.

    `select` is what pytest takes with -k. `report` is where the results are written.
    The package's own options are dropped: they ask for a plugin that spreads tests over
    processes.
    """
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-q", "--tb=short"]
    command += ["-p", "no:cacheprovider", "-k", select, f"--junitxml={report}", *files]
    done = subprocess.run(
        command,
        cwd=sdist,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(report.parent),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TEST_API_BASE_URL": base_url,
        },
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT_S,
        check=False,
    )
    return _read_report(report, done.stdout + done.stderr)


def _read_report(report: Path, output: str) -> Outcome:
    assert report.exists(), output
    by_result: dict[str, list[str]] = {"passed": [], "failed": [], "skipped": []}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - our own pytest's
        kinds = {child.tag for child in case}
        result = "failed" if kinds & {"failure", "error"} else "passed"
        result = "skipped" if "skipped" in kinds else result
        by_result[result].append(f"{case.get('classname')}::{case.get('name')}")
    return Outcome(
        passed=tuple(by_result["passed"]),
        failed=tuple(by_result["failed"]),
        skipped=tuple(by_result["skipped"]),
        output=output,
    )
