"""JSON schemas narrowed to what Anthropic's grammar compiler accepts (pure)."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.dialects.anthropic.encoding import encode
from gateway.dialects.faults import rejected

MAX_DEPTH = 64
"""Deeper schemas are refused; OpenAI's own limit is 10 levels of objects."""

_DEFINITIONS = ("$defs", "definitions")
_SCHEMA_MAPS = frozenset({"properties", *_DEFINITIONS})
_SCHEMA_LISTS = frozenset({"anyOf", "oneOf", "allOf"})
_RENAMED = {"oneOf": "anyOf"}
_KEPT = frozenset({"type", "enum", "const", "title", "default", "required", "$ref"})
_REPLACED = frozenset({"description", "additionalProperties", "$schema", "$id"})
_STRING_FORMATS = frozenset(
    {
        "date-time",
        "time",
        "date",
        "duration",
        "email",
        "hostname",
        "uri",
        "ipv4",
        "ipv6",
        "uuid",
    }
)


def narrowed(
    schema: Mapping[str, object], *, param: str, depth: int = 0
) -> dict[str, object]:
    """Copy a schema: objects closed, refused keywords moved into the description.

    The model still reads what it is no longer forced to obey.

    Raises:
        UpstreamError: REJECTED with `param` when it nests deeper than `MAX_DEPTH`.

    """
    if depth > MAX_DEPTH:
        raise rejected(param, f"The schema nests deeper than {MAX_DEPTH} levels.")
    result: dict[str, object] = {}
    refused: dict[str, object] = {}
    for key, value in schema.items():
        if (inner := _inner(key, value, param=param, depth=depth + 1)) is not None:
            result[_RENAMED.get(key, key)] = inner
        elif _is_accepted(key, value):
            result[key] = value
        elif key not in _REPLACED:
            refused[key] = value
    if "$ref" in result:  # siblings of a reference are refused, definitions are not
        return {key: result[key] for key in ("$ref", *_DEFINITIONS) if key in result}
    return _finished(result, refused, schema.get("description"))


def _inner(key: str, value: object, *, param: str, depth: int) -> object | None:
    """Narrow the schemas below a keyword; None when it holds none."""

    def one(part: object) -> object:
        if isinstance(part, Mapping):
            return narrowed(part, param=param, depth=depth)
        return part

    if key in _SCHEMA_MAPS and isinstance(value, Mapping):
        return {name: one(part) for name, part in value.items()}
    if key in _SCHEMA_LISTS and isinstance(value, list):
        return [one(part) for part in value]
    return one(value) if key == "items" and isinstance(value, Mapping) else None


def _is_accepted(key: str, value: object) -> bool:
    return (
        key in _KEPT
        or (key == "minItems" and value in (0, 1))
        or (key == "format" and str(value) in _STRING_FORMATS)
    )


def _finished(
    schema: dict[str, object], refused: dict[str, object], description: object
) -> dict[str, object]:
    """Close an object and describe what had to be left out."""
    kind = schema.get("type")
    if (
        kind == "object"
        or (isinstance(kind, list) and "object" in kind)
        or (kind is None and "properties" in schema)
    ):
        schema.setdefault("properties", {})
        schema["additionalProperties"] = False
    words = [description] if isinstance(description, str) and description else []
    if refused:
        words.append(f"It must satisfy {encode(refused).decode()}")
    if words:
        schema["description"] = "\n\n".join(words)
    return schema
