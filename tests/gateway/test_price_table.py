"""The table of list prices: whole, dated, and found by the names that vendors use."""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path

import orjson
import pytest

from gateway.dialects import registry
from gateway.kinds import PriceOrigin
from gateway.price_table import ANY_MODEL, is_cloud_model, listing_of, table_version
from gateway.pricing import BUCKETS
from gateway.snapshot import Prices

ROOT = Path(__file__).resolve().parents[2]
TABLE = orjson.loads((ROOT / "gateway/prices.json").read_bytes())
ROWS = [(kind, name) for kind, rows in TABLE["models"].items() for name in rows]


def listed(kind: str, name: str) -> Prices:
    listing = listing_of(kind, name)
    assert listing is not None
    return listing.prices


@pytest.mark.parametrize(("kind", "name"), ROWS)
def test_every_row_has_an_input_price_and_nothing_absurd(kind: str, name: str) -> None:
    row = dict(TABLE["models"][kind][name])
    notes = row.pop("notes", "")
    assert isinstance(notes, str)
    assert {f"{bucket}_per_mtok_usd" for bucket in row} <= set(BUCKETS)
    assert "input" in row
    assert all(0 <= price < 1000 for price in row.values()), row
    assert row.get("cache_read", 0) <= row["input"] <= row.get("output", row["input"])
    assert row.get("cache_write", row["input"]) >= row["input"]


@pytest.mark.parametrize("name", TABLE["models"]["anthropic"])
def test_anthropic_keeps_a_prompt_for_an_hour_at_twice_its_price(name: str) -> None:
    prices = listed("anthropic", name)
    assert prices.input_per_mtok_usd is not None
    assert prices.cache_write_1h_per_mtok_usd == 2 * prices.input_per_mtok_usd
    assert prices.cache_write_per_mtok_usd is not None
    assert prices.cache_read_per_mtok_usd is not None
    assert prices.output_per_mtok_usd is not None


def test_the_table_is_dated_and_names_the_sources_of_each_kind() -> None:
    table = table_version()
    assert set(table.sources) == set(TABLE["models"]) <= set(registry.kinds())
    for sources in table.sources.values():
        assert sources
        for source in sources:
            assert source.name
            assert date.fromisoformat(source.as_of) <= date.fromisoformat(table.version)


@pytest.mark.parametrize(
    ("kind", "name", "input_usd"),
    [
        ("openai", "gpt-4o", 2.5),
        ("openai", "gpt-4o-2024-08-06", 2.5),
        ("openai", "gpt-4o-2024-05-13", 5.0),  # this date has its own
        ("openai", "gpt-5-chat-latest", 1.25),
        ("anthropic", "claude-3-opus-20240229", 15.0),
        ("anthropic", "claude-3-5-sonnet-latest", 3.0),
        ("anthropic", "claude-sonnet-4-20250514", 3.0),
        ("ollama", "whatever:7b", 0.0),
    ],
)
def test_a_model_is_found_with_and_without_its_date(
    kind: str, name: str, input_usd: float
) -> None:
    prices = listed(kind, name)
    assert prices.input_per_mtok_usd == input_usd
    assert prices.origin is PriceOrigin.SHIPPED


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("openai", "gpt-4o-mini-tuned"),
        ("openai", "gpt-4o-2024"),
        ("openai", "not-a-model-2024-08-06"),
        ("openai", ""),
        ("anthropic", "gpt-4o"),
        ("openai_compatible", "gpt-4o"),
        ("ollama", "gpt-oss:120b-cloud"),
        ("ollama", "kimi-k2:cloud"),
    ],
)
def test_what_is_not_in_the_table_is_unknown(kind: str, name: str) -> None:
    assert listing_of(kind, name) is None


def test_the_notes_say_what_one_number_cannot() -> None:
    listing = listing_of("anthropic", "claude-haiku-5-5")
    assert listing is not None
    assert "100,000" in listing.notes


def test_only_the_tag_makes_a_cloud_model() -> None:
    assert is_cloud_model("gpt-oss:20b-cloud")
    assert not is_cloud_model("mycloud")
    assert not is_cloud_model("cloud:8b")


def test_the_star_stands_only_for_models_that_nobody_bills_by_name() -> None:
    assert [kind for kind, name in ROWS if name == ANY_MODEL] == ["ollama"]


def test_the_table_is_a_part_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "prices.json" in project["tool"]["setuptools"]["package-data"]["gateway"]
