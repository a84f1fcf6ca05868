"""Pages of lists in OpenAI's way: `after` and `before` name an object (pure)."""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from gateway.errors import InvalidRequest
from rag.errors import InvalidField

MAX_PAGE = 100
DEFAULT_PAGE = 20
MAX_FILES_PAGE = 10_000
DEFAULT_FILES_PAGE = 1_000
PARAMETERS = ("after", "before", "limit", "order")
NUMBER = re.compile(r"[0-9]{1,9}")
MAX_ID_CHARS = 100

T = TypeVar("T")
# Gives a list's entries with their ids, the newest first, behind the one of an id; None:
# all. Raises InvalidField when there is no such entry.
Walk: TypeAlias = Callable[[str | None], Iterable[tuple[str, T]]]


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page is wanted: at most `limit` entries behind `after` or before `before`.

    There is one of the two, or none.
    """

    after: str | None = None
    before: str | None = None
    limit: int = DEFAULT_PAGE
    is_oldest_first: bool = False

    @property
    def anchor(self) -> str | None:
        """The id of the entry that the page is beside; None: it begins the list."""
        return self.after if self.before is None else self.before

    @property
    def is_newer(self) -> bool:
        """Whether the page is on the newer side of the anchor, not on the older."""
        return self.is_oldest_first == (self.before is None)

    def unknown_anchor(self) -> InvalidRequest:
        """Say that the anchor is not in the list."""
        name = "after" if self.before is None else "before"
        return InvalidRequest(
            f"{name} must be the id of an object of the list.", param=name
        )


def paging_in(
    query: Mapping[str, str], *, most: int = MAX_PAGE, default: int = DEFAULT_PAGE
) -> Paging:
    """Read which page a query wants.

    Raises:
        InvalidRequest: A value is none that its parameter can have.

    """
    order = query.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise InvalidRequest("order must be asc or desc.", param="order")
    after, before = query.get("after"), query.get("before")
    if after is not None and before is not None:
        raise InvalidRequest("Give after or before, not both.", param="before")
    limit = _limit_in(query.get("limit"), most=most, default=default)
    paging = Paging(after, before, limit, is_oldest_first=order == "asc")
    if paging.anchor is not None and not 0 < len(paging.anchor) <= MAX_ID_CHARS:
        raise paging.unknown_anchor()
    return paging


def _limit_in(given: str | None, *, most: int, default: int) -> int:
    if given is None:
        return default
    if not NUMBER.fullmatch(given) or not 1 <= int(given) <= most:
        raise InvalidRequest(f"limit must be 1 to {most}.", param="limit")
    return int(given)


def page_of(
    walk: Walk[T], paging: Paging, *, keep: Callable[[T], bool] = lambda _: True
) -> tuple[list[T], bool]:
    """Cut a page out of a list, and say whether there is more on its far side.

    Only what `keep` accepts is in the list; what the page is beside need not be. Holds
    no more than a page, but walks as far as it must.

    Raises:
        InvalidRequest: `after` or `before` names nothing in the list.

    """
    try:
        if paging.is_newer:
            found, has_more = _newer(walk(None), paging, keep)
        else:
            found, has_more = _older(walk(paging.anchor), paging, keep)
    except InvalidField as error:
        raise paging.unknown_anchor() from error
    return found[::-1] if paging.is_oldest_first else found, has_more


def _older(
    entries: Iterable[tuple[str, T]], paging: Paging, keep: Callable[[T], bool]
) -> tuple[list[T], bool]:
    """Take the first entries that are kept."""
    kept = (entry for _, entry in entries if keep(entry))
    found = list(itertools.islice(kept, paging.limit + 1))
    return found[: paging.limit], len(found) > paging.limit


def _newer(
    entries: Iterable[tuple[str, T]], paging: Paging, keep: Callable[[T], bool]
) -> tuple[list[T], bool]:
    """Take the last entries that are kept, up to the anchor or to the end."""
    found = deque[T](maxlen=paging.limit + 1)
    for entry_id, entry in entries:
        if entry_id == paging.anchor:
            break
        if keep(entry):
            found.append(entry)
    else:
        if paging.anchor is not None:
            raise paging.unknown_anchor()
    has_more = len(found) > paging.limit
    return list(found)[1:] if has_more else list(found), has_more


def list_object(entries: Sequence[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """Write a page of a list."""
    return {
        "object": "list",
        "data": list(entries),
        "first_id": entries[0]["id"] if entries else None,
        "last_id": entries[-1]["id"] if entries else None,
        "has_more": has_more,
    }
