"""Which routes of a list are asked for: filters, order and page (pure)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.route_rows import RouteRow
from moduleservice.base import Refusal
from moduleservice.pb import types_pb2

MAX_PAGE_SIZE = 1000
TRUTHS = {"true": 1, "false": 0}

Value = str | int

# What a route has by each field; a route has several providers and versions.
FIELDS: Mapping[str, Callable[[RouteRow], list[Value]]] = {
    "route_id": lambda row: [row.name],
    "model": lambda row: [row.name],
    "provider": lambda row: sorted({each.provider for each in row.deployments}),
    "version": lambda row: sorted({each.version for each in row.deployments}),
    "enabled": lambda row: [int(row.enabled)],
    "priority": lambda row: [row.priority],
}
NUMBERS = frozenset({"enabled", "priority"})
OPERATORS = ("eq", "ne", "contains", "in", "gt", "lt")


@dataclass(frozen=True, slots=True)
class Page:
    """The routes of one page, and which page of how many it is."""

    routes: Sequence[RouteRow]
    pagination: types_pb2.Pagination


def select(rows: Sequence[RouteRow], query: types_pb2.Query) -> Page:
    """Filter, sort and cut a list of routes.

    Raises:
        Refusal: A field, operator, value or page is not known.

    """
    tests = [test_of(each) for each in query.filters]
    found = [row for row in rows if all(test(row) for test in tests)]
    found.sort(key=lambda row: row.name)
    if query.sort_by:
        found.sort(key=values_of(query.sort_by), reverse=query.sort_desc)
    elif query.sort_desc:
        found.reverse()
    return cut(found, query.pagination)


def test_of(given: types_pb2.Filter) -> Callable[[RouteRow], bool]:
    """Make the test of one filter; of several values, one that fits is enough."""
    values, operator = values_of(given.field), given.operator or "eq"
    match operator:
        case "eq":
            wanted = wanted_value(given, given.value)
            return lambda row: wanted in values(row)
        case "ne":
            wanted = wanted_value(given, given.value)
            return lambda row: wanted not in values(row)
        case "contains" if given.field not in NUMBERS:
            return lambda row: any(given.value in str(each) for each in values(row))
        case "in":
            listed = given.value.split(",")
            allowed = {wanted_value(given, each.strip()) for each in listed}
            return lambda row: not allowed.isdisjoint(values(row))
        case "gt" if given.field == "priority":
            limit = number(given, given.value)
            return lambda row: row.priority > limit
        case "lt" if given.field == "priority":
            limit = number(given, given.value)
            return lambda row: row.priority < limit
        case _ if operator in OPERATORS:
            raise bad(f"filter {given.field}: {operator!r} does not go with this field")
        case _:
            known = ", ".join(OPERATORS)
            raise bad(f"filter {given.field}: no operator {operator!r}; known: {known}")


def values_of(field: str) -> Callable[[RouteRow], list[Value]]:
    """Find how a field is read."""
    if field not in FIELDS:
        raise bad(f"routes have no field {field!r}; known: {', '.join(FIELDS)}")
    return FIELDS[field]


def wanted_value(given: types_pb2.Filter, text: str) -> Value:
    """Read a value of a filter as its field has it."""
    if given.field == "enabled":
        if text not in TRUTHS:
            raise bad("filter enabled: allowed are true and false")
        return TRUTHS[text]
    return number(given, text) if given.field == "priority" else text


def number(given: types_pb2.Filter, text: str) -> int:
    """Read a whole number."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise bad(f"filter {given.field}: {text[:50]!r} is not a whole number")
    return int(text)


def cut(found: Sequence[RouteRow], asked: types_pb2.Pagination) -> Page:
    """Take one page; a page size of 0 means all, on one page."""
    page, size = asked.page or 1, asked.page_size or len(found)
    if asked.page < 0 or not 0 <= asked.page_size <= MAX_PAGE_SIZE:
        raise bad(f"pages count from 1, a page has 1 to {MAX_PAGE_SIZE} routes, 0 all")
    first = (page - 1) * size
    return Page(
        routes=found[first : first + size],
        pagination=types_pb2.Pagination(
            page=page,
            page_size=size,
            total_items=len(found),
            total_pages=-(-len(found) // size) if size else 0,
        ),
    )


def bad(words: str) -> Refusal:
    """Make the refusal of a query."""
    return Refusal(types_pb2.STATUS_CODE_INVALID_ARGUMENT, f"Query: {words}.")
