"""One line of the usage spool: what a request used and cost, on its way to the ledger (pure)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date
from functools import lru_cache
from operator import contains, itemgetter
from typing import Any, get_args, get_type_hints

import orjson

END_OF_TIME_S = 253_402_300_800  # the year 10,000: no database keeps it


@dataclass(slots=True)  # not frozen: one is made for every row that is written
class UsageLine:
    """One request that reached a provider: the columns of a UsageRecord, and two more.

    `at` is unix time in seconds. `worker` is the process that served, `budgets` are the
    budgets that the cost counts to: id and first day of the period, as ISO 8601.
    """

    uid: str
    request_id: str
    at: float
    tenant: str
    api_key: str
    operation: str
    model: str
    provider: str
    upstream_model: str
    deployment_id: int
    strategy: str
    attempts: int
    status: int
    code: str
    fault_domain: str
    is_stream: bool
    is_partial: bool
    is_estimated: bool
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int
    audio_input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    audio_output_tokens: int
    cost_nano_usd: int | None
    price_origin: str
    duration_ms: float
    ttft_ms: float | None
    tokens_per_s: float | None
    worker: str
    budgets: tuple[tuple[int, str], ...] = ()

    def as_bytes(self) -> bytes:
        """Write it as one line of JSON, newline included."""
        return orjson.dumps(self, option=orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def from_bytes(cls, line: bytes) -> UsageLine:
        """Read a line. Fields it has beyond ours are ignored: a newer AILB wrote it.

        Raises:
            ValueError: It is torn, or something else.

        """
        found = orjson.loads(line)
        try:
            values: list[Any] = list(_values(found))
        except (KeyError, TypeError) as error:
            raise ValueError("not a usage line") from error
        if not all(map(contains, KINDS.values(), map(type, values))):
            raise ValueError("a value has a wrong type")
        if not 0 <= found["at"] < END_OF_TIME_S:
            raise ValueError("at is no time")
        values[-1] = tuple(_budget(pair) for pair in values[-1])
        return cls(*values)


def _budget(pair: object) -> tuple[int, str]:
    match pair:
        case [int(budget_id), str(start)]:
            _check_date(start)
            return budget_id, start
        case _:
            raise ValueError("budgets is not a list of pairs")


@lru_cache(maxsize=1024)  # of a batch nearly all lines say the same
def _check_date(text: str) -> None:
    date.fromisoformat(text)


def _kinds(hint: Any) -> frozenset[type]:
    kinds = get_args(hint) or (hint,)
    return frozenset((*kinds, int) if float in kinds else kinds)


_HINTS = get_type_hints(UsageLine)
# Exact types, for `True` is no number of tokens. The budgets are the last.
KINDS = {field.name: _kinds(_HINTS[field.name]) for field in fields(UsageLine)}
KINDS["budgets"] = frozenset({list})
_values = itemgetter(*KINDS)
