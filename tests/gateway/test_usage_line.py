"""A line of the usage spool: it comes back as it was, or is refused."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, strategies as st

from gateway.models import UsageRecord
from gateway.usage_line import KINDS, UsageLine
from tests.gateway.usage_lines import usage_line

LINE = usage_line(budgets=((3, "2026-03-01"), (4, "1970-01-01")))


def changed(**fields: object) -> bytes:
    return orjson.dumps(orjson.loads(LINE.as_bytes()) | fields)


def test_a_line_has_the_columns_of_a_usage_record() -> None:
    columns = {field.name for field in UsageRecord._meta.fields} - {"id"}
    assert set(KINDS) == columns | {"worker", "budgets"}


@given(
    text=st.text(),
    number=st.integers(-(2**63), 2**63 - 1),
    cost=st.none() | st.integers(0, 2**53),
    ttft=st.none() | st.floats(0, 1e9),
)
def test_a_line_comes_back_as_it_was(
    text: str, number: int, cost: int | None, ttft: float | None
) -> None:
    line = usage_line(
        model=text, deployment_id=number, cost_nano_usd=cost, ttft_ms=ttft
    )
    written = line.as_bytes()
    assert written.endswith(b"\n")
    assert written.count(b"\n") == 1
    assert UsageLine.from_bytes(written) == line


def test_budgets_come_back() -> None:
    assert UsageLine.from_bytes(LINE.as_bytes()) == LINE


def test_a_line_torn_anywhere_is_refused() -> None:
    written = LINE.as_bytes()
    for length in range(len(written) - 1):
        with pytest.raises(ValueError, match=r".*"):
            UsageLine.from_bytes(written[:length])
    assert UsageLine.from_bytes(written[:-1]) == LINE, "only its newline is missing"


def test_two_lines_run_together_are_refused() -> None:
    written = LINE.as_bytes()
    with pytest.raises(ValueError, match=r".*"):
        UsageLine.from_bytes(written[:100] + written)


def test_what_a_newer_version_adds_is_ignored() -> None:
    assert UsageLine.from_bytes(changed(region="moon")) == LINE


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"[]",
        b"{}",
        b"null",
        b'"text"',
        b"\xff\xfe",
        changed(input_tokens=True),
        changed(input_tokens=1.5),
        changed(input_tokens=None),
        changed(uid=7),
        changed(is_stream=1),
        changed(cost_nano_usd="1"),
        changed(at=-1),
        changed(at=1e15),
        changed(budgets=None),
        changed(budgets=[[1]]),
        changed(budgets=[[1, "soon"]]),
        changed(budgets=[["1", "2026-03-01"]]),
    ],
)
def test_something_else_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        UsageLine.from_bytes(line)
