"""Instances of JSON schemas, judged by an independent validator."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # no stubs

from gateway.simulator.schema import example_of

LEAVES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.builds(
        lambda low, span: {"type": "integer", "minimum": low, "maximum": low + span},
        st.integers(-1000, 1000),
        st.integers(0, 50),
    ),
    st.builds(
        lambda low, span: {
            "type": "number",
            "exclusiveMinimum": low,
            "exclusiveMaximum": low + span,
        },
        st.integers(-1000, 1000),
        st.integers(1, 50),
    ),
    st.builds(
        lambda short, more: {
            "type": "string",
            "minLength": short,
            "maxLength": short + more,
        },
        st.integers(0, 40),
        st.integers(0, 40),
    ),
    st.sampled_from(
        [
            {"type": "boolean"},
            {"type": "null"},
            {"type": ["null", "string"]},
            {"enum": ["a", 2, None]},
            {"const": {"x": 1}},
            {"type": "integer", "multipleOf": 7, "minimum": 3},
            {"type": "string", "format": "date-time"},
            {},
        ]
    ),
)


def combine(inner: st.SearchStrategy[dict[str, Any]]) -> Any:
    objects = st.dictionaries(st.text(max_size=5), inner, max_size=4).map(
        lambda properties: {
            "type": "object",
            "properties": properties,
            "required": sorted(properties),
            "additionalProperties": False,
        }
    )
    arrays = st.builds(
        lambda items, least: {"type": "array", "items": items, "minItems": least},
        inner,
        st.integers(0, 3),
    )
    unions = st.lists(inner, min_size=1, max_size=3).map(lambda s: {"anyOf": s})
    return objects | arrays | unions


@settings(max_examples=300)
@given(st.recursive(LEAVES, combine, max_leaves=12))
def test_the_example_satisfies_its_schema(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(example_of(schema))


def test_references_are_followed_and_a_schema_that_holds_itself_ends() -> None:
    schema = {
        "type": "object",
        "properties": {"tree": {"$ref": "#/$defs/node"}},
        "required": ["tree"],
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                },
                "required": ["name"],
            }
        },
    }
    Draft202012Validator(schema).validate(example_of(schema))


def test_parts_of_all_of_are_merged() -> None:
    schema = {
        "allOf": [
            {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]},
            {"properties": {"b": {"type": "string"}}, "required": ["b"]},
        ]
    }
    assert example_of(schema) == {"a": 1, "b": "simulated"}


@pytest.mark.parametrize("odd", [None, 3, "x", [], {"type": "integer", "minimum": "a"}])
def test_what_is_no_schema_never_raises(odd: object) -> None:
    assert example_of(odd) in ({}, 1)


def test_a_schema_does_not_decide_how_much_memory_is_used() -> None:
    assert len(example_of({"type": "array", "minItems": 10**9})) == 1000
    assert len(example_of({"type": "string", "minLength": 10**9})) == 100_000
