"""Attributes of documents, and filters on them: read strictly, held against any document."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from rag.attributes import (
    MAX_ATTRIBUTES,
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_LISTED,
    check_attributes,
    matches,
    parse_filter,
)

KEYS = st.sampled_from(["year", "lang", "draft"])
VALUES = (
    st.booleans()
    | st.integers(-3, 3)
    | st.floats(-3, 3)
    | st.sampled_from(["", "de", "1", "true"])
)
ATTRIBUTES = st.dictionaries(KEYS, VALUES)
ORDERED = ["gt", "gte", "lt", "lte"]
CONDITIONS = st.one_of(
    st.builds(
        lambda kind, key, value: {"type": kind, "key": key, "value": value},
        st.sampled_from(["eq", "ne"]),
        KEYS,
        VALUES,
    ),
    st.builds(
        lambda kind, key, value: {"type": kind, "key": key, "value": value},
        st.sampled_from(ORDERED),
        KEYS,
        VALUES.filter(lambda value: not isinstance(value, bool)),
    ),
    st.builds(
        lambda kind, key, values: {"type": kind, "key": key, "value": values},
        st.sampled_from(["in", "nin"]),
        KEYS,
        st.lists(VALUES, min_size=1, max_size=4),
    ),
)
FILTERS = st.recursive(
    CONDITIONS,
    lambda each: st.builds(
        lambda kind, filters: {"type": kind, "filters": filters},
        st.sampled_from(["and", "or"]),
        st.lists(each, min_size=1, max_size=3),
    ),
    max_leaves=6,
)
DOCUMENT = {"year": 2026, "lang": "de", "draft": False, "share": 0.5}


def condition(kind: str, key: Any, value: Any) -> dict[str, Any]:
    return {"type": kind, "key": key, "value": value}


def holds(value: object, attributes: dict[str, Any] | None = None) -> bool:
    return matches(parse_filter(value), DOCUMENT if attributes is None else attributes)


@pytest.mark.parametrize(
    ("kind", "key", "value", "expected"),
    [
        ("eq", "year", 2026, True),
        ("eq", "year", 2026.0, True),
        ("eq", "year", "2026", False),
        ("eq", "draft", False, True),
        ("eq", "draft", 0, False),
        ("eq", "nothing", "", False),
        ("ne", "year", 2025, True),
        ("ne", "year", "2026", True),
        ("ne", "draft", 0, True),
        ("ne", "nothing", "de", True),
        ("gt", "year", 2025, True),
        ("gt", "year", 2026, False),
        ("gte", "year", 2026, True),
        ("gte", "year", "2000", False),
        ("lt", "share", 1, True),
        ("lte", "share", 0.5, True),
        ("lt", "lang", "en", True),
        ("lt", "draft", 1, False),
        ("lt", "nothing", 1, False),
        ("gte", "nothing", "", False),
        ("in", "lang", ["en", "de"], True),
        ("in", "year", ["2026", True], False),
        ("in", "nothing", ["de"], False),
        ("nin", "lang", ["en", "de"], False),
        ("nin", "lang", ["en", 1], True),
        ("nin", "nothing", ["de"], True),
    ],
)
def test_an_attribute_is_compared_with_its_own_kind(kind, key, value, expected):
    assert holds(condition(kind, key, value)) is expected


def test_filters_are_put_together():
    old, german = condition("lt", "year", 2000), condition("eq", "lang", "de")
    assert not holds({"type": "and", "filters": [old, german]})
    assert holds({"type": "or", "filters": [old, german]})
    inner = {"type": "or", "filters": [old, german]}
    draft = condition("eq", "draft", True)
    assert not holds({"type": "and", "filters": [inner, draft]})


@given(FILTERS, ATTRIBUTES)
def test_every_filter_holds_or_does_not_and_its_opposite_is_the_other(filters, given):
    opposites = {"eq": "ne", "ne": "eq", "in": "nin", "nin": "in"}
    held = matches(parse_filter(filters), given)
    assert held in (True, False)
    if (kind := filters["type"]) in opposites:
        opposite = {**filters, "type": opposites[kind]}
        assert matches(parse_filter(opposite), given) is not held
    if kind == "eq":
        listed = {**filters, "type": "in", "value": [filters["value"]]}
        assert matches(parse_filter(listed), given) is held
    if kind in ("and", "or"):
        each = [matches(parse_filter(one), given) for one in filters["filters"]]
        assert held is (all(each) if kind == "and" else any(each))


@given(FILTERS)
def test_a_filter_that_went_through_json_is_the_same(filters):
    assert parse_filter(json.loads(json.dumps(filters))) == parse_filter(filters)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "JSON object"),
        ("year", "JSON object"),
        ([condition("eq", "year", 1)], "JSON object"),
        ({}, "'type' of a filter is one of eq, ne, gt"),
        ({"type": "like", "key": "a", "value": "b"}, "'type' of a filter"),
        ({"type": ["eq"], "key": "a", "value": "b"}, "'type' of a filter"),
        ({"type": "eq", "key": "a"}, "exactly 'type', 'key', 'value'"),
        ({**condition("eq", "a", 1), "more": 1}, "exactly 'type', 'key', 'value'"),
        (condition("eq", "", 1), "1 to 64 characters"),
        (condition("eq", "k" * 65, 1), "1 to 64 characters"),
        (condition("eq", "k\0", 1), "1 to 64 characters"),
        (condition("eq", 5, 1), "1 to 64 characters"),
        (condition("eq", "a", None), "a text, a number, true or false"),
        (condition("eq", "a", ["b"]), "a text, a number, true or false"),
        (condition("eq", "a", float("nan")), "a text, a number, true or false"),
        (condition("eq", "a", 10**400), "a text, a number, true or false"),
        (condition("eq", "a", "v" * 513), "at most 512 characters"),
        (condition("gt", "a", True), "compares with a text or a number"),
        (condition("in", "a", "b"), "list of 1 to 256 values"),
        (condition("in", "a", []), "list of 1 to 256 values"),
        (condition("nin", "a", [1] * (MAX_LISTED + 1)), "list of 1 to 256 values"),
        (condition("in", "a", [[1]]), "a text, a number, true or false"),
        ({"type": "and"}, "exactly 'type', 'filters'"),
        ({"type": "and", "filters": []}, "list of 1 to 64 filters"),
        ({"type": "or", "filters": condition("eq", "a", 1)}, "list of 1 to 64"),
        ({"type": "or", "filters": ["a"]}, "JSON object"),
    ],
)
def test_what_is_no_filter_is_refused_in_a_sentence(value, said):
    with pytest.raises(ValueError, match=said) as told:
        parse_filter(value)
    assert str(told.value).endswith(".")


def test_a_filter_is_neither_too_deep_nor_too_large():
    def nested(depth: int) -> dict[str, Any]:
        filters = condition("eq", "a", 1)
        for _ in range(depth - 1):
            filters = {"type": "and", "filters": [filters]}
        return filters

    parse_filter(nested(MAX_DEPTH))
    for depth in (MAX_DEPTH + 1, 5_000):
        with pytest.raises(ValueError, match="nested at most 8 deep"):
            parse_filter(nested(depth))

    def wide(count: int) -> dict[str, Any]:
        half = [condition("eq", "a", 1)] * (count // 2)
        both = [{"type": "or", "filters": half}, {"type": "or", "filters": half}]
        return {"type": "and", "filters": both}

    parse_filter(wide(MAX_CONDITIONS))
    with pytest.raises(ValueError, match="at most 64 conditions"):
        parse_filter(wide(MAX_CONDITIONS + 2))


@given(ATTRIBUTES)
def test_attributes_are_taken_as_they_are(given):
    assert check_attributes(given) is given


@pytest.mark.parametrize(
    "attributes",
    [
        None,
        [],
        {"a": None},
        {"a": {"b": 1}},
        {"a": float("inf")},
        {"a": 10**400},
        {"a": "\0"},
        {"a": "v" * 513},
        {"": 1},
        {"k" * 65: 1},
        {"a\0": 1},
        {1: 1},
        {f"k{number}": 1 for number in range(MAX_ATTRIBUTES + 1)},
    ],
)
def test_what_is_no_set_of_attributes_is_refused(attributes):
    with pytest.raises(ValueError, match=r"\.$"):
        check_attributes(attributes)
