"""Makes lines of the usage spool and files of them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.usage_line import UsageLine

NOON = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
PLAIN = UsageLine(
    uid="",
    request_id="r",
    at=NOON.timestamp(),
    tenant="acme",
    api_key="k1",
    operation="chat",
    model="m",
    provider="p",
    upstream_model="u",
    deployment_id=7,
    strategy="load_balanced",
    attempts=1,
    status=200,
    code="",
    fault_domain="",
    is_stream=True,
    is_partial=False,
    is_estimated=False,
    input_tokens=100,
    cache_read_tokens=0,
    cache_write_tokens=0,
    cache_write_1h_tokens=0,
    audio_input_tokens=0,
    output_tokens=50,
    reasoning_tokens=0,
    audio_output_tokens=0,
    cost_nano_usd=2_500,
    price_origin="row",
    duration_ms=120.5,
    ttft_ms=20.25,
    tokens_per_s=90.0,
    worker="w1",
)


def usage_line(**changed: Any) -> UsageLine:
    """Make a line of its own uid."""
    return replace(PLAIN, **{"uid": secrets.token_hex(16), **changed})


def write_file(folder: Path, lines: Iterable[UsageLine], name: str = "w1.1") -> Path:
    """Leave a closed file of lines, as a writer does that is gone."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.jsonl"
    path.write_bytes(b"".join(line.as_bytes() for line in lines))
    return path


def age(path: Path, *, seconds: float) -> None:
    """Make a file look as old as that."""
    at_s = path.stat().st_mtime - seconds
    os.utime(path, (at_s, at_s))
