"""What requests cost, from the vendors' bytes to billionths of a dollar."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from gateway.dialects.anthropic import AnthropicDialect
from gateway.dialects.base import Built
from gateway.dialects.exchange import read_object
from gateway.dialects.openai.relay import RelayedStream, read_usage
from gateway.dialects.record import Usage, UsageUpdate
from gateway.kinds import PriceOrigin
from gateway.pricing import (
    BUCKETS,
    bucket_prices,
    cost_nano_usd,
    effective_prices,
    estimated_cost_nano_usd,
    nano_usd_per_mtok,
    stated_prices,
)
from gateway.snapshot import Prices

Wire = dict[str, Any]
Case = tuple[str, Wire, int]

FREE = Prices(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def openai_whole(usage: Wire) -> Usage | None:
    message = {"role": "assistant", "content": "Hi.", "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice]}
    return read_usage(read_object(orjson.dumps({**body, "usage": usage}))["usage"])


def openai_stream(usage: Wire) -> Usage | None:
    head = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk",'
    relayed = RelayedStream(include_usage=False)
    for event in (
        head + b'"choices":[{"index":0,"delta":{"content":"Hi."}}],"usage":null}\n\n',
        head + b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
        head + b'"choices":[],"usage":' + orjson.dumps(usage) + b"}\n\n",
        b"data: [DONE]\n\n",
    ):
        relayed.feed(event)
    return relayed.usage


def anthropic_whole(usage: Wire) -> Usage | None:
    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "Hi."}],
        "stop_reason": "end_turn",
        "usage": usage,
    }
    return AnthropicDialect().read_chat(orjson.dumps(body), Built(b"")).usage


def anthropic_stream(usage: Wire) -> Usage | None:
    """Read a stream that tells the input first and the cumulative output last."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
    first = {**usage, "output_tokens": 1, "output_tokens_details": None}
    last = {name: usage[name] for name in usage if name.startswith("output")}
    end = {"delta": {"stop_reason": "end_turn"}, "usage": last}
    stream = sse(
        {"type": "message_start", "message": {**message, "usage": first}},
        {"type": "message_delta", **end},
        {"type": "message_stop"},
    )
    events = AnthropicDialect().chat_decoder(Built(b"")).feed(stream)
    return [event.usage for event in events if isinstance(event, UsageUpdate)][-1]


def sse(*events: Wire) -> bytes:
    return b"".join(
        b"event: %s\ndata: %s\n\n" % (event["type"].encode(), orjson.dumps(event))
        for event in events
    )


def list_prices(kind: str, model: str, row: Prices | None = None) -> Prices:
    return effective_prices(
        row or Prices(), kind=kind, upstream_model=model, is_simulated=False
    )


def both(
    kind: str, cases: Iterable[Case]
) -> list[tuple[Callable[[Wire], Usage | None], str, str, Wire, int]]:
    whole, stream = {
        "openai": (openai_whole, openai_stream),
        "anthropic": (anthropic_whole, anthropic_stream),
    }[kind]
    return [(read, kind, *case) for case in cases for read in (whole, stream)]


OPENAI: list[Case] = [
    # 7 x 0.15 + 5 x 0.60
    ("gpt-4o-mini", {"prompt_tokens": 7, "completion_tokens": 5}, 4_050),
    # The prompt's count includes the cached: 86 x 2.50 + 1920 x 1.25 + 300 x 10
    (
        "gpt-4o-2024-08-06",
        {
            "prompt_tokens": 2006,
            "completion_tokens": 300,
            "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
        },
        5_615_000,
    ),
    # Reasoning is in the output already, and billed as output: 81 x 1.10 + 1035 x 4.40
    (
        "o3-mini",
        {
            "prompt_tokens": 81,
            "completion_tokens": 1035,
            "completion_tokens_details": {"reasoning_tokens": 832},
        },
        4_643_100,
    ),
    # Writes are in the prompt as well: 500 x 2 + 1000 x 0.10 + 1500 x 2.50 + 10 x 10
    (
        "gpt-6.1-sol",
        {
            "prompt_tokens": 3000,
            "completion_tokens": 10,
            "prompt_tokens_details": {
                "cached_tokens": 1000,
                "cache_write_tokens": 1500,
            },
        },
        4_950_000,
    ),
    # 10 x 2.50 + 20 x 32 + 40 x 10 + 60 x 64
    (
        "gpt-audio",
        {
            "prompt_tokens": 30,
            "completion_tokens": 100,
            "prompt_tokens_details": {"audio_tokens": 20},
            "completion_tokens_details": {"audio_tokens": 60},
        },
        4_905_000,
    ),
]
ANTHROPIC: list[Case] = [
    # A bill of Anthropic's: 4.614 cents for the write, 0.825 for the output. Who takes
    # the count of input for inclusive, or charges written tokens as input too, gets
    # 0.0913 USD.
    (
        "claude-3-7-sonnet-20250219",
        {
            "input_tokens": 3,
            "cache_creation_input_tokens": 12304,
            "cache_read_input_tokens": 0,
            "output_tokens": 550,
        },
        54_399_000,
    ),
    # 12 x 3 + 5 x 0.30 + 10 x 3.75 + 20 x 6 + 9 x 15
    (
        "claude-sonnet-4-5-20250929",
        {
            "input_tokens": 12,
            "cache_creation_input_tokens": 30,
            "cache_read_input_tokens": 5,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 10,
                "ephemeral_1h_input_tokens": 20,
            },
            "output_tokens": 9,
            "output_tokens_details": {"thinking_tokens": 4},
        },
        330_000,
    ),
    # The breakdown covers a part: 30 x 6.25 + 70 x 6.25 + 100 x 10 + 1 x 25
    (
        "claude-opus-4-5",
        {
            "cache_creation_input_tokens": 200,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 30,
                "ephemeral_1h_input_tokens": 100,
            },
            "output_tokens": 1,
        },
        1_650_000,
    ),
    # Its cache is cheaper than a tenth of its input: 10 x 4 + 1000 x 0.20 + 1 x 20
    (
        "claude-opus-5-5",
        {"input_tokens": 10, "cache_read_input_tokens": 1000, "output_tokens": 1},
        260_000,
    ),
]


@pytest.mark.parametrize(
    ("read", "kind", "model", "usage", "nano_usd"),
    [*both("openai", OPENAI), *both("anthropic", ANTHROPIC)],
)
def test_an_answer_costs_what_its_vendor_bills(
    read: Callable[[Wire], Usage | None],
    kind: str,
    model: str,
    usage: Wire,
    nano_usd: int,
) -> None:
    found = read(usage)
    assert found is not None
    assert cost_nano_usd(found, list_prices(kind, model)) == nano_usd


def test_embeddings_need_no_price_of_output() -> None:
    usage = read_usage({"prompt_tokens": 8, "total_tokens": 8})
    assert usage is not None
    prices = list_prices("openai", "text-embedding-3-small")
    assert prices.output_per_mtok_usd is None
    assert cost_nano_usd(usage, prices) == 160
    assert (
        estimated_cost_nano_usd(input_tokens=8, output_tokens=0, prices=prices) == 160
    )


def test_tokens_without_a_price_make_the_cost_unknown_and_no_tokens_do_not() -> None:
    prices = Prices(input_per_mtok_usd=1.0, output_per_mtok_usd=2.0)
    assert cost_nano_usd(Usage(1000, output_tokens=1), prices) == 1_002_000
    assert cost_nano_usd(Usage(1000, audio_input_tokens=1), prices) is None
    assert cost_nano_usd(Usage(), Prices()) == 0
    assert cost_nano_usd(Usage(reasoning_tokens=3), Prices()) is None


def test_the_cost_is_rounded_half_up_once() -> None:
    prices = Prices(input_per_mtok_usd=0.0005, output_per_mtok_usd=0.0005)
    assert cost_nano_usd(Usage(input_tokens=1), prices) == 1
    assert cost_nano_usd(Usage(input_tokens=1, output_tokens=1), prices) == 1
    assert cost_nano_usd(Usage(input_tokens=3), prices) == 2


@given(st.decimals(0, 100_000, places=6))
def test_a_price_is_the_number_that_was_typed(typed: Decimal) -> None:
    assert nano_usd_per_mtok(float(typed)) == typed * 10**9


counts = st.integers(0, 10**7)
usages = st.builds(Usage, *[counts] * 8)
priced = st.builds(Prices, *[st.decimals(0, 200, places=6).map(float)] * len(BUCKETS))


@given(usages, priced)
def test_the_cost_is_exact(usage: Usage, prices: Prices) -> None:
    exact = sum(
        tokens * Fraction(str(price)) * 1000
        for tokens, price in (
            (usage.input_tokens, prices.input_per_mtok_usd),
            (usage.cache_read_tokens, prices.cache_read_per_mtok_usd),
            (usage.cache_write_tokens, prices.cache_write_per_mtok_usd),
            (usage.cache_write_1h_tokens, prices.cache_write_1h_per_mtok_usd),
            (usage.audio_input_tokens, prices.audio_input_per_mtok_usd),
            (usage.output_tokens, prices.output_per_mtok_usd),
            (usage.reasoning_tokens, prices.output_per_mtok_usd),
            (usage.audio_output_tokens, prices.audio_output_per_mtok_usd),
        )
    )
    cost = cost_nano_usd(usage, prices)
    assert cost is not None
    assert Fraction(-1, 2) < cost - exact <= Fraction(1, 2)


@given(usages, usages, priced)
def test_costs_add_up_but_for_rounding_and_never_fall(
    one: Usage, other: Usage, prices: Prices
) -> None:
    names = [name for name in Usage.__slots__ if name != "is_estimated"]
    together = Usage(*(getattr(one, name) + getattr(other, name) for name in names))
    costs = [cost_nano_usd(usage, prices) for usage in (one, other, together)]
    first, second, both_ = [cost for cost in costs if cost is not None]
    assert abs(first + second - both_) <= 1
    assert both_ >= max(first, second)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), priced)
def test_a_text_costs_no_more_than_was_estimated(
    plain: int, written: int, output: int, prices: Prices
) -> None:
    estimate = estimated_cost_nano_usd(
        input_tokens=plain + written, output_tokens=output, prices=prices
    )
    usage = Usage(plain, cache_write_tokens=written, reasoning_tokens=output)
    cost = cost_nano_usd(usage, prices)
    assert estimate is not None
    assert cost is not None
    assert cost <= estimate


def test_an_estimate_without_a_price_is_unknown() -> None:
    assert (
        estimated_cost_nano_usd(input_tokens=1, output_tokens=1, prices=Prices(1.0))
        is None
    )
    assert (
        estimated_cost_nano_usd(input_tokens=4, output_tokens=0, prices=Prices(1.0))
        == 4000
    )


SHIPPED = Prices(3.0, 15.0, 0.3, 3.75, 6.0, origin=PriceOrigin.SHIPPED)


@pytest.mark.parametrize(
    ("kind", "model", "row", "effective"),
    [
        ("anthropic", "claude-sonnet-4-5-20250929", Prices(), SHIPPED),
        # The row's own prices win, one by one.
        (
            "anthropic",
            "claude-sonnet-4-5",
            Prices(cache_read_per_mtok_usd=0.2),
            replace(SHIPPED, cache_read_per_mtok_usd=0.2),
        ),
        (
            "anthropic",
            "claude-sonnet-4-5",
            Prices(output_per_mtok_usd=1.0),
            replace(SHIPPED, output_per_mtok_usd=1.0, origin=PriceOrigin.ROW),
        ),
        # A listed cache price belongs to the listed input price: here it follows the row.
        (
            "anthropic",
            "claude-opus-5-5",
            Prices(input_per_mtok_usd=1.0),
            Prices(1.0, 20.0, 0.1, 1.25, 2.0, origin=PriceOrigin.ROW),
        ),
        (
            "anthropic",
            "not-in-the-table",
            Prices(input_per_mtok_usd=3.0),
            Prices(3.0, None, 0.3, 3.75, 6.0, origin=PriceOrigin.ROW),
        ),
        # Elsewhere a cached token without a price of its own is a token like any other.
        (
            "openai",
            "gpt-4",
            Prices(),
            Prices(30.0, 60.0, 30.0, 30.0, 30.0, origin=PriceOrigin.SHIPPED),
        ),
        (
            "openai_compatible",
            "gpt-4",
            Prices(input_per_mtok_usd=0.07, output_per_mtok_usd=0.3),
            Prices(0.07, 0.3, 0.07, 0.07, 0.07, origin=PriceOrigin.ROW),
        ),
        # Audio is never derived, but may be listed.
        (
            "openai",
            "gpt-audio",
            Prices(),
            Prices(2.5, 10.0, 2.5, 2.5, 2.5, 32.0, 64.0, PriceOrigin.SHIPPED),
        ),
        ("openai_compatible", "gpt-4", Prices(), Prices()),
        ("openai", "ft:gpt-4o:acme", Prices(), Prices()),
        # Without a price of input nothing follows.
        (
            "openai_compatible",
            "m",
            Prices(output_per_mtok_usd=2.0),
            Prices(output_per_mtok_usd=2.0),
        ),
        ("ollama", "llama3:8b", Prices(), replace(FREE, origin=PriceOrigin.SHIPPED)),
        ("ollama", "gpt-oss:120b-cloud", Prices(), Prices()),
    ],
)
def test_where_a_deployments_prices_come_from(
    kind: str, model: str, row: Prices, effective: Prices
) -> None:
    assert list_prices(kind, model, row) == effective


def test_a_simulator_costs_nothing_unless_the_row_says_so() -> None:
    def simulated(row: Prices) -> Prices:
        return effective_prices(
            row, kind="openai", upstream_model="gpt-4", is_simulated=True
        )

    free = replace(FREE, origin=PriceOrigin.SIMULATED)
    assert simulated(Prices()) == free
    assert simulated(Prices(input_per_mtok_usd=2.0)) == replace(
        free, input_per_mtok_usd=2.0, origin=PriceOrigin.ROW
    )


def test_a_derived_price_is_told_from_a_given_one() -> None:
    found = bucket_prices(
        Prices(input_per_mtok_usd=3.0, cache_write_per_mtok_usd=9.0),
        kind="anthropic",
        upstream_model="claude-sonnet-4-5",
        is_simulated=False,
    )
    told = {
        bucket.removesuffix("_per_mtok_usd"): (price.origin, price.is_derived)
        for bucket, price in found.items()
    }
    assert told == {
        "input": (PriceOrigin.ROW, False),
        "output": (PriceOrigin.SHIPPED, False),
        "cache_read": (PriceOrigin.ROW, True),
        "cache_write": (PriceOrigin.ROW, False),
        "cache_write_1h": (PriceOrigin.ROW, True),
        "audio_input": (PriceOrigin.UNKNOWN, False),
        "audio_output": (PriceOrigin.UNKNOWN, False),
    }


def test_a_rows_columns_are_read_and_those_it_lacks_are_unknown() -> None:
    row = {
        "input_price_per_mtok_usd": Decimal("0.150000"),
        "output_price_per_mtok_usd": None,
        "cache_write_1h_price_per_mtok_usd": 6,
    }
    assert stated_prices(row) == Prices(
        input_per_mtok_usd=0.15,
        cache_write_1h_per_mtok_usd=6.0,
        origin=PriceOrigin.ROW,
    )
