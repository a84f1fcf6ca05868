"""Documents applied: rows made and changed, the whole document or none of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import DataError, IntegrityError, transaction

from gateway.config_documents.kinds import TYPES
from gateway.config_documents.reading import checksum_of
from gateway.config_documents.row_kind import Kind, NumberedKind
from gateway.config_documents.values import References
from gateway.errors import ConfigurationError, Conflict
from gateway.operations import canonical, check_serves, exclusive, save_valid

MAX_BYTES = 4 * 2**20
MAX_CHANGES = 500  # rows of one document: others wait for the transaction
MAX_FAULTS = 50  # told of one document

Given = Mapping[str, Any]


class DocumentRefused(Exception):
    """A document that cannot be read at all; the text says why."""


@dataclass(frozen=True, slots=True)
class Applied:
    """How many rows a document changed, and what is wrong with it: then none."""

    changed: int
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """A row that was written, and the values that it was given."""

    place: str
    kind: Kind
    row: Any
    values: Given


class RowFinder:
    """Finds the rows that a list of a document means, each once."""

    def __init__(self, kind: Kind) -> None:
        """Read all rows of a kind."""
        self._kind = kind
        self._by_number: dict[Any, Any] = {}
        self._by_identity: dict[bytes, list[Any]] = {}
        self._meant: set[bytes] = set()
        for row in kind.rows(is_locked=True):
            self._by_number[row.pk] = row
            identity = canonical(kind.identity(kind.read(row)))
            self._by_identity.setdefault(identity, []).append(row)

    def find(self, given: Given) -> Any | None:
        """Give the row that is meant, None for a new one.

        Raises:
            ValidationError: It is not clear which, or it is meant for the second time.

        """
        has_number = isinstance(self._kind, NumberedKind) and "id" in given
        if has_number and given["id"] is not None:
            row = self._numbered(given["id"])
            self._mean(canonical(row.pk))
            return row
        identity = canonical(self._kind.identity(given))
        rows = self._by_identity.get(identity, [])
        if len(rows) > 1:
            raise ValidationError({"id": "There are several such rows; say which."})
        self._mean(canonical(rows[0].pk) if rows else identity)
        return rows[0] if rows else None

    def _numbered(self, number: Any) -> Any:
        row = self._by_number.get(number) if type(number) is int else None
        if row is None:
            raise ValidationError({"id": f"There is no row with the id {number!r}."})
        return row

    def _mean(self, row: bytes) -> None:
        if row in self._meant:
            raise ValidationError("This row is listed twice.")
        self._meant.add(row)


@dataclass(slots=True)
class Application:
    """One document on its way into the rows, inside a transaction."""

    references: References = field(default_factory=References)
    faults: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    def write(self, document_type: str, content: Mapping[str, list[Any]]) -> None:
        """Write every row, then check what depends on several; collect the faults."""
        for name, listed in content.items():
            kind = TYPES[document_type][name]
            finder = RowFinder(kind)
            for number, given in enumerate(listed):
                self._write_row(
                    place_of(name, number, given, kind), kind, finder, given
                )
                if self._is_enough():
                    return
        for change in self.changes:
            with self._faults_of(change.place):
                change.kind.check_all(change.row, change.values)
        if not self.faults:
            with self._faults_of("The document"):
                check_serves()

    def _write_row(self, place: str, kind: Kind, finder: RowFinder, given: Any) -> None:
        with self._faults_of(place):
            if not isinstance(given, dict):
                raise ValidationError("Allowed is a JSON object.")
            row = finder.find(given) or kind.blank()
            kind.check_fields(row, given)
            values = kind.values(row, given, self.references)
            kind.check(row, given, values)
            if save_valid(row, values):
                self.changes.append(Change(place, kind, row, values))

    def _is_enough(self) -> bool:
        if len(self.changes) > MAX_CHANGES:
            self.faults.append(
                f"More than {MAX_CHANGES} rows would change; give fewer at a time."
            )
            return True
        return len(self.faults) >= MAX_FAULTS

    @contextmanager
    def _faults_of(self, place: str) -> Iterator[None]:
        """Collect what is refused inside, which is undone; a savepoint, for the rest."""
        try:
            with transaction.atomic():
                yield
        except ValidationError as error:
            self.faults += [f"{place}: {each}" for each in messages_of(error)]
        except (Conflict, ConfigurationError) as error:
            self.faults.append(f"{place}: {error.message}")
        except IntegrityError:
            self.faults.append(f"{place}: Another change came first; read it anew.")
        except DataError:
            self.faults.append(f"{place}: The database cannot keep one of the values.")


def apply(
    document_type: str, data: bytes, *, checksum: str = "", validate_only: bool = False
) -> Applied:
    """Make or change the rows of a document; rows it does not list are left alone.

    A row is found by what names it, and fields that are not given stay as they are. With
    any fault, or with `validate_only`, nothing is changed. An empty `checksum` is not
    compared.

    Raises:
        django.db.Error: The database is away.

    """
    try:
        content = parsed(document_type, data, checksum)
    except DocumentRefused as refused:
        return Applied(0, (str(refused),))
    application = Application()
    with exclusive():
        application.write(document_type, content)
        if application.faults or validate_only:
            transaction.set_rollback(True)
    if application.faults:
        return Applied(0, tuple(application.faults))
    return Applied(len(application.changes))


def parsed(document_type: str, data: bytes, checksum: str) -> dict[str, list[Any]]:
    """Read a document as lists of rows.

    Raises:
        DocumentRefused: It is none, or not the one that the checksum is of.

    """
    if document_type not in TYPES:
        known = ", ".join(TYPES)
        raise DocumentRefused(f"There is no type {document_type!r}; known are {known}.")
    if len(data) > MAX_BYTES:
        raise DocumentRefused(f"The document has more than {MAX_BYTES} bytes.")
    if checksum and checksum.lower() != checksum_of(data):
        raise DocumentRefused("The checksum is not the SHA-256 of the document in hex.")
    try:
        content = orjson.loads(data)
        canonical(content)  # deeper nesting can be read than written
    except orjson.JSONDecodeError as error:
        raise DocumentRefused(f"The document is not JSON: {error}.") from error
    except orjson.JSONEncodeError as error:
        raise DocumentRefused(f"The document cannot be kept: {error}.") from error
    names = TYPES[document_type]
    is_right = isinstance(content, dict) and content.keys() <= names.keys()
    if not is_right or not all(isinstance(rows, list) for rows in content.values()):
        form = ", ".join(f'"{name}": [...]' for name in names)
        raise DocumentRefused(f"Allowed is a JSON object {{{form}}}.")
    lists: dict[str, list[Any]] = content
    return lists


def place_of(name: str, number: int, given: Any, kind: Kind) -> str:
    """Name a row of a document for people: by its place, and by what names it."""
    keys = ("id", *kind.key) if isinstance(kind, NumberedKind) else kind.key
    named = [given.get(key) for key in keys] if isinstance(given, dict) else []
    texts = [str(each)[:100] for each in named if isinstance(each, str | int)]
    words = " ".join(filter(None, texts))
    return f"{name}[{number}] ({words})" if words else f"{name}[{number}]"


def messages_of(error: ValidationError) -> list[str]:
    """Write what a row finds in itself, each fault with its field."""
    if not hasattr(error, "error_dict"):
        return error.messages
    return [
        message if name == NON_FIELD_ERRORS else f"{name}: {message}"
        for name, messages in error.message_dict.items()
        for message in messages
    ]
