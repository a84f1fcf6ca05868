"""What the database, a row or a serialiser refuses, as errors that name the field."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ValidationError as RowInvalid
from django.db import DataError, IntegrityError
from django.db.models import ProtectedError
from rest_framework.exceptions import ErrorDetail, ValidationError as JsonInvalid
from rest_framework.serializers import as_serializer_error

from gateway.errors import ClientError, Conflict, InvalidRequest

WHOLE_ROW = frozenset({"__all__", "non_field_errors"})
TAKEN = frozenset({"unique", "unique_together"})
SHOWN_USERS = 5

Place = tuple[str, ...]


def as_it_is(field: str) -> str:
    """Keep a field's name."""
    return field


@contextmanager
def refusals(wire_name: Callable[[str], str] = as_it_is) -> Iterator[None]:
    """Turn what is raised inside into a `ClientError`.

    `wire_name` gives the name under which clients know a field of the row. Open it
    outside a transaction, so that the refused change is undone first.
    """
    try:
        yield
    except (RowInvalid, JsonInvalid) as error:
        raise refusal_of(error, wire_name) from error
    except ProtectedError as error:
        raise Conflict(
            f"It is in use by {users_of(error)}. Nothing was deleted."
        ) from error
    except IntegrityError as error:
        raise Conflict("Another change came first. Read it anew.") from error
    except DataError as error:
        raise InvalidRequest("The database cannot keep one of the values.") from error


def refusal_of(
    error: RowInvalid | JsonInvalid, wire_name: Callable[[str], str]
) -> ClientError:
    """Make an error of the first fault that was found."""
    place, fault = next(faults_in(as_serializer_error(error)))
    named = [wire_name(place[0]), *place[1:]] if place else []
    param = ".".join(part for part in named if part not in WHOLE_ROW) or None
    message = str(fault) if param is None else f"{param}: {fault}"
    if fault.code in TAKEN:
        return Conflict(message, param=param)
    return InvalidRequest(message, param=param)


def faults_in(detail: Any, place: Place = ()) -> Iterator[tuple[Place, ErrorDetail]]:
    """Give each fault of DRF's nested errors, with its place."""
    if isinstance(detail, ErrorDetail):
        yield place, detail
    elif isinstance(detail, Mapping):
        for name, inner in detail.items():
            yield from faults_in(inner, (*place, str(name)))
    else:
        for number, inner in enumerate(detail):
            # The faults of one field stand in a list, as do the rows of a list.
            is_row = not isinstance(inner, ErrorDetail)
            yield from faults_in(inner, (*place, str(number)) if is_row else place)


def users_of(error: ProtectedError) -> str:
    """Name some of the rows that need the one which was to be deleted."""
    names = sorted(map(str, error.protected_objects))
    more = len(names) - SHOWN_USERS
    named = ", ".join(names[:SHOWN_USERS])
    return f"{named} and {more} more" if more > 0 else named
