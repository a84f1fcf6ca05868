"""Requests of the past, as the ledger keeps them: records and their roll-ups."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from gateway.models import UsageRecord
from gateway.usage_line import UsageLine
from gateway.usage_sums import add_records, add_to_rollups

LINE: dict[str, Any] = {
    "request_id": "req-1",
    "tenant": "default",
    "api_key": "",
    "operation": "chat",
    "model": "gpt-4",
    "provider": "acme",
    "upstream_model": "gpt-4",
    "deployment_id": 1,
    "strategy": "load_balanced",
    "attempts": 1,
    "status": 200,
    "code": "",
    "fault_domain": "",
    "is_stream": False,
    "is_partial": False,
    "is_estimated": False,
    "input_tokens": 1000,
    "cache_read_tokens": 0,
    "cache_write_tokens": 0,
    "cache_write_1h_tokens": 0,
    "audio_input_tokens": 0,
    "output_tokens": 200,
    "reasoning_tokens": 0,
    "audio_output_tokens": 0,
    "cost_nano_usd": 12_300_000,
    "price_origin": "shipped",
    "duration_ms": 1234.0,
    "ttft_ms": None,
    "tokens_per_s": None,
    "worker": "w",
}


def line(at: datetime, **fields: Any) -> UsageLine:
    uid = secrets.token_hex(16)
    return UsageLine(**{**LINE, "uid": uid, "at": at.timestamp(), **fields})


def record(at: datetime, **fields: Any) -> UsageRecord:
    """Put one request into the ledger."""
    kept = line(at, **fields)
    keep([kept])
    return UsageRecord.objects.get(uid=kept.uid)


def keep(lines: list[UsageLine]) -> None:
    """Put many requests into the ledger."""
    add_records(lines)
    add_to_rollups(lines)
