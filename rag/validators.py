"""What names, ids and attributes of rows may be."""

from __future__ import annotations

import re
import uuid

from django.core.exceptions import ValidationError

from rag.attributes import check_attributes

# What may stand in a URL and in a list with commas, and shows as what it is.
NAME = re.compile(r"[^\W_](?:[\w .()+-]*[\w.()+-])?")


def new_uid() -> str:
    """Make an id that is given to nothing else."""
    return uuid.uuid4().hex


def validate_name(name: str) -> None:
    """Refuse names that a URL or a list with commas cannot hold.

    Raises:
        ValidationError: It begins with something else than a letter or digit, or holds
            more than letters, digits, spaces and . ( ) + - _

    """
    if not NAME.fullmatch(name):
        raise ValidationError(
            "A collection's name begins with a letter or digit and holds letters, "
            "digits, spaces and . ( ) + - _"
        )


def validate_attributes(attributes: object) -> None:
    """Refuse what is no set of attributes.

    Raises:
        ValidationError: Says what is wrong.

    """
    try:
        check_attributes(attributes)
    except ValueError as error:
        raise ValidationError(str(error)) from error
