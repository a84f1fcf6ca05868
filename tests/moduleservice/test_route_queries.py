"""Queries of routes: filters, order and pages."""

from __future__ import annotations

import pytest

from gateway.route_rows import RouteDeployment, RouteRow
from moduleservice.base import Refusal
from moduleservice.pb import types_pb2
from moduleservice.route_queries import select


def row(name: str, priority: int, enabled: bool, *deployments: str) -> RouteRow:
    """Give a route; each deployment is written as `provider/version`."""
    return RouteRow(
        name=name,
        path="/v1/chat/completions",
        priority=priority,
        enabled=enabled,
        strategy="",
        fallbacks=(),
        deployments=tuple(
            RouteDeployment(provider, name, 1, None, version, True, "operator")
            for provider, version in (each.split("/") for each in deployments)
        ),
        source="operator",
    )


ROWS = [
    row("gpt-5", 2, True, "a/v1", "b/v2"),
    row("gpt-4", -1, True, "a/v1"),
    row("llama", 2, False, "c/v1"),
    row("bare", 0, True),
]


def found(*filters: tuple[str, str, str], **query: object) -> list[str]:
    given = [types_pb2.Filter(field=f, operator=o, value=v) for f, o, v in filters]
    asked = types_pb2.Query(filters=given, **query)  # type: ignore[arg-type]  # any
    return [each.name for each in select(ROWS, asked).routes]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ([], ["bare", "gpt-4", "gpt-5", "llama"]),
        ([("route_id", "eq", "llama")], ["llama"]),
        ([("model", "", "llama")], ["llama"]),
        ([("model", "ne", "llama")], ["bare", "gpt-4", "gpt-5"]),
        ([("model", "contains", "gpt")], ["gpt-4", "gpt-5"]),
        ([("model", "in", "llama, bare")], ["bare", "llama"]),
        ([("provider", "eq", "a")], ["gpt-4", "gpt-5"]),
        ([("provider", "ne", "a")], ["bare", "llama"]),
        ([("version", "in", "v2,v3")], ["gpt-5"]),
        ([("enabled", "eq", "false")], ["llama"]),
        ([("priority", "eq", "2")], ["gpt-5", "llama"]),
        ([("priority", "gt", "-1")], ["bare", "gpt-5", "llama"]),
        ([("priority", "lt", "0")], ["gpt-4"]),
        ([("priority", "in", "2,0")], ["bare", "gpt-5", "llama"]),
        ([("provider", "eq", "a"), ("version", "eq", "v2")], ["gpt-5"]),
    ],
)
def test_filters_choose_routes(
    filters: list[tuple[str, str, str]], names: list[str]
) -> None:
    assert found(*filters) == names


@pytest.mark.parametrize(
    ("sort_by", "is_descending", "names"),
    [
        ("", True, ["llama", "gpt-5", "gpt-4", "bare"]),
        ("route_id", False, ["bare", "gpt-4", "gpt-5", "llama"]),
        ("priority", False, ["gpt-4", "bare", "gpt-5", "llama"]),
        ("priority", True, ["gpt-5", "llama", "bare", "gpt-4"]),
        ("provider", False, ["bare", "gpt-4", "gpt-5", "llama"]),
        ("enabled", False, ["llama", "bare", "gpt-4", "gpt-5"]),
    ],
)
def test_routes_are_sorted_and_equal_ones_by_name(
    sort_by: str, is_descending: bool, names: list[str]
) -> None:
    assert found(sort_by=sort_by, sort_desc=is_descending) == names


@pytest.mark.parametrize(
    ("page", "size", "names", "told"),
    [
        (0, 0, ["bare", "gpt-4", "gpt-5", "llama"], (1, 4, 4, 1)),
        (1, 3, ["bare", "gpt-4", "gpt-5"], (1, 3, 4, 2)),
        (2, 3, ["llama"], (2, 3, 4, 2)),
        (3, 3, [], (3, 3, 4, 2)),
    ],
)
def test_a_page_says_how_many_there_are(
    page: int, size: int, names: list[str], told: tuple[int, ...]
) -> None:
    pagination = types_pb2.Pagination(page=page, page_size=size)
    answer = select(ROWS, types_pb2.Query(pagination=pagination))
    assert [each.name for each in answer.routes] == names
    said = answer.pagination
    assert told == (
        said.page,
        said.page_size,
        said.total_items,
        said.total_pages,
    )


def test_no_route_is_no_page() -> None:
    assert select([], types_pb2.Query()).pagination.total_pages == 0


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"filters": [{"field": "colour"}]}, "routes have no field 'colour'"),
        ({"filters": [{"field": "model", "operator": "like"}]}, "no operator 'like'"),
        ({"filters": [{"field": "model", "operator": "gt"}]}, "'gt' does not go with"),
        ({"filters": [{"field": "priority", "value": "x"}]}, "'x' is not a whole"),
        ({"filters": [{"field": "priority", "value": "²"}]}, "'²' is not a whole"),
        ({"filters": [{"field": "enabled", "value": "1"}]}, "allowed are true and"),
        ({"sort_by": "colour"}, "routes have no field 'colour'"),
        ({"pagination": {"page": -1}}, "pages count from 1"),
        ({"pagination": {"page_size": 1001}}, "pages count from 1"),
    ],
)
def test_what_is_unknown_is_refused(query: dict[str, object], words: str) -> None:
    with pytest.raises(Refusal, match=r"^Query: ") as caught:
        select(ROWS, types_pb2.Query(**query))  # type: ignore[arg-type]  # any
    assert words in caught.value.message
    assert caught.value.code == types_pb2.STATUS_CODE_INVALID_ARGUMENT
