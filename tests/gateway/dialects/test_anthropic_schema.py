"""JSON schemas narrowed for Anthropic's grammar."""

from __future__ import annotations

import pytest

from gateway.dialects.anthropic.schema import MAX_DEPTH, narrowed
from gateway.errors import UpstreamError
from gateway.kinds import Fault


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        ({"type": "string"}, {"type": "string"}),
        (
            {"type": "object"},
            {"type": "object", "properties": {}, "additionalProperties": False},
        ),
        (
            {"type": ["object", "null"], "additionalProperties": True},
            {
                "type": ["object", "null"],
                "properties": {},
                "additionalProperties": False,
            },
        ),
        (
            {"type": "integer", "minimum": 1, "maximum": 9, "description": "A digit."},
            {
                "type": "integer",
                "description": 'A digit.\n\nIt must satisfy {"minimum":1,"maximum":9}',
            },
        ),
        (
            {"type": "string", "pattern": "^a", "minLength": 2},
            {
                "type": "string",
                "description": 'It must satisfy {"pattern":"^a","minLength":2}',
            },
        ),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
        (
            {"type": "string", "format": "phone"},
            {"type": "string", "description": 'It must satisfy {"format":"phone"}'},
        ),
        (
            {"type": "array", "items": {"type": "object"}, "minItems": 1},
            {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {},
                    "additionalProperties": False,
                },
                "minItems": 1,
            },
        ),
        (
            {"type": "array", "minItems": 2, "uniqueItems": True},
            {
                "type": "array",
                "description": 'It must satisfy {"minItems":2,"uniqueItems":true}',
            },
        ),
        (
            {"oneOf": [{"type": "string", "maxLength": 3}, {"enum": [1, None]}]},
            {
                "anyOf": [
                    {
                        "type": "string",
                        "description": 'It must satisfy {"maxLength":3}',
                    },
                    {"enum": [1, None]},
                ]
            },
        ),
        (
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "$ref": "#/$defs/Node",
                "description": "refused beside a reference",
                "$defs": {"Node": {"type": "object"}},
            },
            {
                "$ref": "#/$defs/Node",
                "$defs": {
                    "Node": {
                        "type": "object",
                        "properties": {},
                        "additionalProperties": False,
                    }
                },
            },
        ),
        # A property may have the name of a keyword, or none.
        (
            {"type": "object", "properties": {"minimum": {"type": "null"}, "": True}},
            {
                "type": "object",
                "properties": {"minimum": {"type": "null"}, "": True},
                "additionalProperties": False,
            },
        ),
        (
            {"": 1, "format": ["x"]},
            {"description": 'It must satisfy {"":1,"format":["x"]}'},
        ),
    ],
)
def test_refused_keywords_move_into_the_description(schema, sent):
    assert narrowed(schema, param="response_format") == sent


def test_the_schema_of_the_request_is_not_changed():
    schema = {"type": "object", "properties": {"a": {"type": "string", "minLength": 1}}}
    narrowed(schema, param="response_format")
    assert schema == {
        "type": "object",
        "properties": {"a": {"type": "string", "minLength": 1}},
    }


def nested(levels: int) -> dict[str, object]:
    schema: dict[str, object] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


def test_a_schema_that_nests_too_deep_is_refused_before_the_stack_ends():
    assert narrowed(nested(MAX_DEPTH), param="tools")
    with pytest.raises(UpstreamError) as caught:
        narrowed(nested(MAX_DEPTH + 1), param="tools")
    assert (caught.value.fault, caught.value.param) == (Fault.REJECTED, "tools")
