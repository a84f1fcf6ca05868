"""The smallest honest instance of a JSON schema: tool arguments and JSON answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

WORD = "simulated"
_DEPTH_OF_OPTIONAL_PROPERTIES = 4
_MAX_DEPTH = 24
# A client's schema must not decide how much memory a simulator takes.
_MAX_ITEMS = 1_000
_MAX_CHARS = 100_000

# A value each for the formats that draft 2020-12 defines and models are asked for.
_FORMATS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "simulated@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/simulated",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def example_of(schema: object) -> Any:
    """Build a value that satisfies `schema`, always the same for the same schema.

    Keeps type, enum, const, $ref into the document, properties, required, items,
    prefixItems, minItems, string lengths, well-known formats, bounds, multipleOf,
    anyOf, oneOf and allOf. `pattern`, `not` and conditionals are not solved.
    Anything that is no schema yields an empty object.
    """
    if not isinstance(schema, Mapping):
        return {}
    return _value(schema, root=schema, depth=0)


def _value(schema: object, *, root: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return None
    schema = _flatten(schema, root=root)
    if "const" in schema:
        return schema["const"]
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    kind = _type_of(schema)
    if kind == "object":
        return _object(schema, root=root, depth=depth)
    if kind == "array":
        return _array(schema, root=root, depth=depth)
    return _scalar(schema, kind)


def _scalar(schema: Mapping[str, Any], kind: str) -> Any:
    match kind:
        case "integer":
            return int(_number(schema, whole=True))
        case "number":
            return _number(schema, whole=False)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _string(schema)


def _flatten(schema: Mapping[str, Any], *, root: Mapping[str, Any]) -> dict[str, Any]:
    """Follow $ref, take the first branch of anyOf/oneOf, merge allOf."""
    flat = dict(schema)
    for _ in range(_MAX_DEPTH):
        parts: list[object] = []
        if isinstance(reference := flat.pop("$ref", None), str):
            parts.append(_resolve(reference, root))
        for key, most in (("anyOf", 1), ("oneOf", 1), ("allOf", None)):
            if isinstance(branches := flat.pop(key, None), list):
                parts.extend(branches[:most])
        if not parts:
            break
        for part in parts:
            if isinstance(part, Mapping):
                _merge(flat, part)
    return flat


def _merge(flat: dict[str, Any], part: Mapping[str, Any]) -> None:
    for key, value in part.items():
        if key == "properties" and isinstance(flat.get(key), Mapping):
            flat[key] = {**flat[key], **value}
        elif key == "required" and isinstance(flat.get(key), list):
            flat[key] = [*flat[key], *value]
        else:
            flat.setdefault(key, value)


def _resolve(reference: str, root: Mapping[str, Any]) -> object:
    node: object = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        if not part:
            continue
        key = part.replace("~1", "/").replace("~0", "~")
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _type_of(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in schema or "required" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    if "minimum" in schema or "maximum" in schema or "multipleOf" in schema:
        return "number"
    return "string"


def _object(
    schema: Mapping[str, Any], *, root: Mapping[str, Any], depth: int
) -> dict[str, Any]:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    required = schema.get("required")
    required = list(required) if isinstance(required, list) else []
    # Optional properties stop early, or a schema that refers to itself would not end.
    shallow = depth < _DEPTH_OF_OPTIONAL_PROPERTIES
    names = [*properties] if shallow else []
    names += [name for name in required if name not in names]
    return {
        name: _value(properties.get(name, {}), root=root, depth=depth + 1)
        for name in names
    }


def _array(
    schema: Mapping[str, Any], *, root: Mapping[str, Any], depth: int
) -> list[Any]:
    prefix = schema.get("prefixItems")
    items = [
        _value(item, root=root, depth=depth + 1)
        for item in (prefix if isinstance(prefix, list) else [])
    ]
    wanted = _count(schema, "minItems", int(depth < _DEPTH_OF_OPTIONAL_PROPERTIES))
    wanted = min(wanted, _count(schema, "maxItems", wanted), _MAX_ITEMS)
    while len(items) < wanted:
        items.append(_value(schema.get("items", {}), root=root, depth=depth + 1))
    return items


def _string(schema: Mapping[str, Any]) -> str:
    text = _FORMATS.get(str(schema.get("format")), WORD)
    shortest = min(_count(schema, "minLength", 0), _MAX_CHARS)
    if len(text) < shortest:
        text = (text * (shortest // len(text) + 1))[:shortest]
    return text[: _count(schema, "maxLength", len(text))]


def _count(schema: Mapping[str, Any], key: str, default: int) -> int:
    value = schema.get(key)
    return value if isinstance(value, int) and value >= 0 else default


def _bound(schema: Mapping[str, Any], key: str, default: float) -> float:
    value = schema.get(key)
    return value if isinstance(value, int | float) else default


def _number(schema: Mapping[str, Any], *, whole: bool) -> float:
    """Take the value nearest to 1 within the bounds, on the grid of multipleOf."""
    step = _bound(schema, "multipleOf", 1 if whole else 0)
    nudge = step or 0.5
    low, high = (
        _bound(schema, "minimum", -math.inf),
        _bound(schema, "maximum", math.inf),
    )
    above = _bound(schema, "exclusiveMinimum", -math.inf)
    below = _bound(schema, "exclusiveMaximum", math.inf)
    if above >= low and not math.isinf(above):
        low = above + _inside(above, min(high, below), nudge)
    if below <= high and not math.isinf(below):
        high = below - _inside(low, below, nudge)
    value = min(max(1, low), high)
    if step > 0:
        value = math.ceil(value / step) * step
        value = value - step if value > high else value
    return value


def _inside(low: float, high: float, nudge: float) -> float:
    """Give a step off an exclusive bound that stays below the other bound."""
    if math.isinf(low) or math.isinf(high):
        return nudge
    return min(nudge, (high - low) / 2)
