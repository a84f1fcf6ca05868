"""What every kind of row in a document does: its fields as JSON, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db import models

from gateway.config_documents.values import References, as_json, from_json, is_other


class Kind:
    """One kind of row.

    `key` are the fields that name a row in a document, `columns` those that may be set,
    `shown` those that may only be read. `references` are fields that name another row,
    by that row's column; `sources` are columns that are called otherwise. `elsewhere`
    says how what is only shown is changed.
    """

    model: ClassVar[type[Any]]
    key: ClassVar[tuple[str, ...]] = ("name",)
    key_defaults: ClassVar[Mapping[str, Any]] = {}
    columns: ClassVar[tuple[str, ...]]
    shown: ClassVar[tuple[str, ...]] = ()
    write_only: ClassVar[tuple[str, ...]] = ()
    references: ClassVar[Mapping[str, str]] = {}
    sources: ClassVar[Mapping[str, str]] = {}
    elsewhere: ClassVar[str] = "It cannot be set here."

    def rows(self, *, is_locked: bool = False) -> Iterable[Any]:
        """Read all rows in a stable order, with those that they name."""
        named = [self.sources.get(name, name) for name in self.references]
        rows = self.model.objects.all()
        if named:  # none at all would mean every one
            rows = rows.select_related(*named)
        if is_locked:
            rows = rows.select_for_update(of=("self",))
        found: Iterable[Any] = rows
        return found

    def field(self, name: str) -> models.Field[Any, Any]:
        """Find the column of a field."""
        column = self.model._meta.get_field(self.sources.get(name, name))
        assert isinstance(column, models.Field)
        return column

    def read(self, row: Any) -> dict[str, Any]:
        """Write a row as JSON."""
        return {name: self.value(row, name) for name in (*self.columns, *self.shown)}

    def value(self, row: Any, name: str) -> Any:
        """Write one field of a row as JSON."""
        column = self.sources.get(name, name)
        if name not in self.references:
            return as_json(getattr(row, column))
        if getattr(row, self.field(name).attname) is None:
            return None
        return getattr(getattr(row, column), self.references[name])

    def identity(self, given: Mapping[str, Any]) -> tuple[Any, ...]:
        """Give what names a row, from its JSON.

        Raises:
            ValidationError: A part of it is not given.

        """
        named = {**self.key_defaults, **given}
        for name in self.key:
            if not isinstance(named.get(name), str):
                raise ValidationError({name: "It must be given, as a text."})
        return tuple(named[name] for name in self.key)

    def blank(self) -> Any:
        """Begin a row that is new.

        Raises:
            ValidationError: None can be made here.

        """
        if not self.columns:
            raise ValidationError(f"There is no such row. {self.elsewhere}")
        return self.model()

    def check_fields(self, row: Any, given: Mapping[str, Any]) -> None:
        """Refuse fields that are unknown, and others that are not as they were read.

        Raises:
            ValidationError: It names the field.

        """
        for name in given:
            if name in self.shown:
                if is_other(given[name], self.value(row, name)):
                    raise ValidationError({name: self.elsewhere})
            elif name not in self.columns and name not in self.write_only:
                raise ValidationError({name: "There is no such field here."})

    def values(
        self, row: Any, given: Mapping[str, Any], references: References
    ) -> dict[str, Any]:
        """Read a row's new values by column, only those that may differ.

        Raises:
            ValidationError: It names the field.

        """
        return {
            self.sources.get(name, name): self.read_value(
                row, name, given[name], references
            )
            for name in self.columns
            if name in given and is_other(given[name], self.value(row, name))
        }

    def read_value(
        self, row: Any, name: str, value: Any, references: References
    ) -> Any:
        """Read one value."""
        field = self.field(name)
        try:
            if name in self.references and value is not None:
                other = field.related_model
                assert isinstance(other, type)
                return references.find(other, self.references[name], value)
            return from_json(field, value)
        except ValidationError as error:
            raise ValidationError({name: error.messages}) from error

    def check(
        self, row: Any, given: Mapping[str, Any], values: Mapping[str, Any]
    ) -> None:
        """Refuse what the row itself cannot know, before it is changed.

        Raises:
            ValidationError: It names the field.

        """

    def check_all(self, row: Any, values: Mapping[str, Any]) -> None:
        """Refuse what depends on other rows of the document, when all are written.

        Raises:
            ValidationError: It names the field.

        """


class NumberedKind(Kind):
    """Rows that have a number, `id`; where it is not given, `identity` finds them."""
