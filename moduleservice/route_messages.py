"""Routes as messages: metadata holds what a route of AILB has and the contract does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from gateway.route_rows import DeploymentChange, RouteChange, RouteRow
from moduleservice.base import Refusal
from moduleservice.pb import types_pb2

SERVED_PROTOCOLS = (
    types_pb2.PROTOCOL_UNSPECIFIED,
    types_pb2.PROTOCOL_HTTP,
    types_pb2.PROTOCOL_HTTPS,
)
MAX_INT32 = 2**31 - 1
TRUTHS = {"true": True, "false": False}
METADATA = frozenset(
    {"model", "enabled", "strategy", "fallbacks", "source", "deployments"}
)
# What a load balancer decides by before a request comes to AILB.
NOT_OURS = (
    "source_pattern",
    "destination_pattern",
    "source_port",
    "destination_port",
    "headers",
)
DEPLOYMENT_TYPES: Mapping[str, tuple[type, ...]] = {
    "provider": (str,),
    "upstream_model": (str,),
    "version": (str,),
    "source": (str,),
    "weight": (int,),
    "priority": (int, type(None)),
    "enabled": (bool,),
}
TEXTS = ("provider", "upstream_model", "version", "source")


def route_message(row: RouteRow) -> types_pb2.Route:
    """Write a route."""
    return types_pb2.Route(
        route_id=row.name,
        protocol=types_pb2.PROTOCOL_HTTP,
        path_pattern=row.path,
        priority=int32(row.priority),
        metadata={
            "model": row.name,
            "enabled": "true" if row.enabled else "false",
            "strategy": row.strategy,
            "fallbacks": ",".join(row.fallbacks),
            "source": row.source,
            "deployments": orjson.dumps(list(map(asdict, row.deployments))).decode(),
        },
    )


def int32(value: int) -> int:
    """Give the nearest number that the contract's priorities can be."""
    return max(-MAX_INT32, min(value, MAX_INT32))


def route_change(route: types_pb2.Route) -> RouteChange:
    """Read a route that is to be.

    Raises:
        Refusal: It cannot be read; the words name route and field.

    """
    name = model_name(route)
    if route.protocol not in SERVED_PROTOCOLS:
        raise bad(name, "protocol: allowed are HTTP and HTTPS")
    metadata = route.metadata
    values: dict[str, Any] = {}
    if "enabled" in metadata:
        if metadata["enabled"] not in TRUTHS:
            raise bad(name, "metadata enabled: allowed are true and false")
        values["enabled"] = TRUTHS[metadata["enabled"]]
    if "strategy" in metadata:
        values["strategy"] = metadata["strategy"]
    if "fallbacks" in metadata:
        given = map(str.strip, metadata["fallbacks"].split(","))
        values["fallbacks"] = list(filter(None, given))
    return RouteChange(
        name=name,
        priority=route.priority,
        path=route.path_pattern,
        source=metadata.get("source", ""),
        values=values,
        deployments=(
            tuple(deployment_changes(name, metadata["deployments"]))
            if "deployments" in metadata
            else None
        ),
    )


def model_name(route: types_pb2.Route) -> str:
    """Read which model a route is for: its id and its metadata agree, or one says it."""
    named = {route.route_id, route.metadata.get("model", "")} - {""}
    if not named:
        raise bad("", "route_id or metadata model must name the model")
    if len(named) > 1:
        raise bad(route.route_id, "route_id and metadata model name different models")
    return named.pop()


def deployment_changes(name: str, text: str) -> Iterator[DeploymentChange]:
    """Read the JSON list of a route's deployments."""
    try:
        listed = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise bad(name, f"metadata deployments: not JSON: {error}") from error
    if not isinstance(listed, list):
        raise bad(name, "metadata deployments: allowed is a JSON list of objects")
    for number, given in enumerate(listed):
        place = f"deployments[{number}]"
        if not isinstance(given, dict):
            raise bad(name, f"{place}: allowed is a JSON object")
        check_types(name, place, given)
        if not given.get("provider"):
            raise bad(name, f"{place}.provider: must be given")
        yield DeploymentChange(
            provider=given["provider"],
            upstream_model=given.get("upstream_model") or name,
            version=given.get("version", ""),
            source=given.get("source", ""),
            values={key: value for key, value in given.items() if key not in TEXTS},
        )


def check_types(name: str, place: str, given: Mapping[str, Any]) -> None:
    """Refuse what a deployment does not have, and values of another JSON type."""
    for key, value in given.items():
        if key not in DEPLOYMENT_TYPES:
            known = ", ".join(DEPLOYMENT_TYPES)
            raise bad(name, f"{place}.{key}: unknown; allowed are {known}")
        if type(value) not in DEPLOYMENT_TYPES[key]:
            raise bad(name, f"{place}.{key}: not a value of the right type")


def ignored(routes: Sequence[types_pb2.Route]) -> list[str]:
    """Name what routes say that AILB neither looks at nor keeps."""
    found = set[str]()
    for route in routes:
        found.update(field for field in NOT_OURS if getattr(route, field))
        found.update(f"metadata {key}" for key in route.metadata if key not in METADATA)
    return sorted(found)


def bad(name: str, words: str) -> Refusal:
    """Make the refusal of a route that cannot be read."""
    named = f"Route {name[:200]!r}: " if name else ""
    return Refusal(types_pb2.STATUS_CODE_INVALID_ARGUMENT, f"{named}{words}.")
