"""What a client may set on a collection, read from what it sent."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping
from functools import partial

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import Field, PositiveSmallIntegerField

from rag.chunking import ChunkSize
from rag.errors import InvalidField
from rag.fencing import sanitise
from rag.models import MAX_NAME, Collection, Index
from rag.packaged_model import MAX_TOKENS, NAMES
from rag.validators import validate_name

MAX_DESCRIPTION = 4_000
MAX_SMALL = 32_767  # what PostgreSQL's smallest column holds
# Of the packaged model's window two go for the marks it puts around a text.
PACKAGED_ROOM = MAX_TOKENS - 2


def normalised(name: str) -> str:
    """Give a collection's name as rows have it."""
    return unicodedata.normalize("NFC", name).strip()


def read_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """Give what may be set at any time, checked, by the names of the columns.

    Raises:
        InvalidField: A field is unknown, of another type, or out of its range.

    """
    read = dict[str, object]()
    for param, value in fields.items():
        if param in CHUNK_FIELDS:
            raise InvalidField(
                f"'{param}' is locked: re-index the collection to change it.", param
            )
        reader = READERS.get(param)
        if reader is None:
            raise InvalidField(f"A collection has no field '{param}'.", param)
        read[param] = reader(param, value)
    return read


def read_chunk_size(
    fields: Mapping[str, object], *, default: ChunkSize, model: str
) -> ChunkSize:
    """Give the size that `chunk_tokens` and `chunk_overlap` ask for.

    `model` is the embedding model's name, whose window is a bound where it is known.

    Raises:
        InvalidField: One of them is of another type, or out of its range.

    """
    numbers = {"chunk_tokens": default.tokens, "chunk_overlap": default.overlap}
    for param in CHUNK_FIELDS & fields.keys():
        numbers[param] = _integer(Index, param, fields[param])
    tokens, overlap = numbers["chunk_tokens"], numbers["chunk_overlap"]
    if model in NAMES and tokens > PACKAGED_ROOM:
        raise InvalidField(
            f"'chunk_tokens' is at most {PACKAGED_ROOM} for this embedding model.",
            "chunk_tokens",
        )
    try:
        return ChunkSize(tokens, overlap)
    except ValueError as error:
        raise InvalidField(str(error), "chunk_overlap") from error


def read_name(value: object) -> str:
    """Give a collection's name, normalised.

    Raises:
        InvalidField: It is none that a collection can have.

    """
    if not isinstance(value, str):
        raise InvalidField("'name' is a text.", "name")
    name = normalised(value)
    if not 0 < len(name) <= MAX_NAME:
        raise InvalidField(f"'name' has 1 to {MAX_NAME} characters.", "name")
    try:
        validate_name(name)
    except ValidationError as error:
        raise InvalidField(" ".join(error.messages), "name") from error
    return name


def _name(_param: str, value: object) -> str:
    return read_name(value)


def _description(param: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidField(f"'{param}' is a text.", param)
    text = sanitise(value).strip()
    if len(text) > MAX_DESCRIPTION:
        raise InvalidField(
            f"'{param}' has at most {MAX_DESCRIPTION:,} characters.", param
        )
    return text


def _flag(param: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidField(f"'{param}' is true or false.", param)
    return value


def _integer(model: type[Collection | Index], param: str, value: object) -> int:
    least, most = _range(model, param)
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not least <= value <= most:  # type: ignore[operator]  # an int
        raise InvalidField(
            f"'{param}' is a whole number from {least:,.0f} to {most:,.0f}.", param
        )
    return value  # type: ignore[return-value]  # an int


def _integer_or_none(param: str, value: object) -> int | None:
    return None if value is None else _integer(Collection, param, value)


def _share(param: str, value: object) -> float:
    least, most = _range(Collection, param)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # A comparison with NaN is false, and one with a huge integer is exact.
    if not is_number or not least <= value <= most:  # type: ignore[operator]  # a number
        raise InvalidField(f"'{param}' is a number from {least:g} to {most:g}.", param)
    return float(value)  # type: ignore[arg-type]  # a number


def _range(model: type[Collection | Index], name: str) -> tuple[float, float]:
    """Give the least and the greatest that a column's validators let through."""
    field: Field[object, object] = model._meta.get_field(name)  # type: ignore[assignment]  # no relation
    is_small = isinstance(field, PositiveSmallIntegerField)
    least, most = -math.inf, MAX_SMALL if is_small else math.inf
    for validator in field.validators:
        if isinstance(validator, MinValueValidator):
            least = max(least, _limit(validator))
        elif isinstance(validator, MaxValueValidator):
            most = min(most, _limit(validator))
    return least, most


def _limit(validator: MinValueValidator | MaxValueValidator) -> float:
    limit = validator.limit_value
    return float(limit() if callable(limit) else limit)


CHUNK_FIELDS = frozenset({"chunk_tokens", "chunk_overlap"})
READERS: Mapping[str, Callable[[str, object], object]] = {
    "name": _name,
    "description": _description,
    "is_strict": _flag,
    "is_required": _flag,
    "top_k": partial(_integer, Collection),
    "max_tokens": partial(_integer, Collection),
    "per_document": _integer_or_none,
    "min_score": _share,
    "relative_cut": _share,
    "joins_neighbours": _flag,
}
