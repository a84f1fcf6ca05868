"""When a worker gives freed memory back, and that it does."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ailb_project.freed_memory import (
    RESTING_S,
    WORK_S,
    WORTH_BYTES,
    Trimmer,
    resident_bytes,
)
from ailb_project.server_settings import SERVER_MODULES
from tests.ailb_project.server_process import SETTINGS, running_server, wait_until

GROWN = WORTH_BYTES + 1
HOLES = replace(SETTINGS, application=f"{__name__}:leave_holes")

kept: list[bytes] = []


async def leave_holes(
    _scope: Mapping[str, Any],
    _receive: object,
    send: Callable[[Mapping[str, Any]], Awaitable[None]],
) -> None:
    """Fill 100 MB and free all but a hundredth; answer what was taken before and after."""
    blocks = [os.urandom(100_000) for _ in range(1_000)]  # too small to be mapped
    full = resident_bytes()
    kept.extend([*blocks[::100], blocks[-1]])
    del blocks
    body = f"{full} {resident_bytes()}".encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize("name", SERVER_MODULES)
def test_free_memory_below_a_block_in_use_is_given_back(
    tmp_path: Path, name: str
) -> None:
    with running_server(tmp_path, HOLES, server=name) as server:
        with server.connect() as client:
            full, freed = map(int, client.ask("/").body.split())
        assert freed > full - WORTH_BYTES  # glibc keeps it: else nothing is shown
        wait_until(
            lambda: server.resident_bytes() < full - 3 * WORTH_BYTES,
            "the memory is given back",
        )


def test_a_process_that_has_grown_is_trimmed_once_it_is_at_rest() -> None:
    trimmer = Trimmer(0, cpu_s=0.0)
    assert not trimmer.is_due(GROWN, cpu_s=RESTING_S)
    assert trimmer.is_due(GROWN, cpu_s=RESTING_S)


def test_a_process_that_has_not_grown_since_it_was_smallest_is_left_alone() -> None:
    trimmer = Trimmer(10 * WORTH_BYTES, cpu_s=0.0)
    assert not trimmer.is_due(WORTH_BYTES, cpu_s=WORK_S)
    assert not trimmer.is_due(2 * WORTH_BYTES, cpu_s=2 * WORK_S)
    assert trimmer.is_due(WORTH_BYTES + GROWN, cpu_s=3 * WORK_S)


def test_after_a_trim_it_has_to_work_before_the_next() -> None:
    trimmer = Trimmer(0, cpu_s=0.0)
    assert not trimmer.is_due(GROWN, cpu_s=WORK_S / 2)
    assert trimmer.is_due(GROWN, cpu_s=WORK_S)
    assert not trimmer.is_due(GROWN, cpu_s=WORK_S * 1.5)
    assert trimmer.is_due(GROWN, cpu_s=WORK_S * 2.5)
