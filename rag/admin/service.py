"""How the pages come by the library, in whose name, and what they say without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.conf import settings

from rag.catalogue import OperatorScope
from rag.errors import (
    CollectionNotFound,
    DocumentNotFound,
    DocumentNotReady,
    DocumentRefused,
    InvalidField,
    NameTaken,
)
from rag.models import Collection

if TYPE_CHECKING:
    from rag.library import Library

SWITCHED_OFF = (
    "Documents are switched off: set ENABLE_RAG=true and start AILB anew to upload and "
    "search them."
)
GONE = "It is gone: somebody has deleted it meanwhile."
NOT_STORED = (
    "The file could not be stored ({reason}): look at the disk and the permissions of "
    "AILB_DOCUMENTS_DIR."
)


class Refused(Exception):
    """What was asked for is not done; the text is one sentence for whoever asked."""

    def __init__(self, reason: str, *, status: int) -> None:
        """`status` is of HTTP."""
        super().__init__(reason)
        self.status = status


def is_switched_on() -> bool:
    """Say whether documents are taken and searched."""
    return bool(settings.ENABLE_RAG)


def check_switched_on() -> None:
    """Refuse what needs documents to be switched on.

    Raises:
        Refused: They are off.

    """
    if not is_switched_on():
        raise Refused(SWITCHED_OFF, status=400)


def library() -> Library:
    """Give the library; the first call of a process takes a moment.

    Raises:
        django.db.Error: The database is away.

    """
    from rag.configured import shared_library  # noqa: PLC0415 - it brings numpy

    return shared_library()


def scope_of(collection: Collection) -> OperatorScope:
    """Give the scope in which the pages act on a collection."""
    return OperatorScope(tenant_id=collection.tenant_id)


@contextmanager
def refusals() -> Iterator[None]:
    """Have whatever the library refuses come as one kind of error.

    Raises:
        Refused: The library did not do it.

    """
    try:
        yield
    except (CollectionNotFound, DocumentNotFound) as error:
        raise Refused(GONE, status=404) from error
    except DocumentRefused as error:
        status = 413 if error.code == "too_large" else 422
        raise Refused(str(error), status=status) from error
    except (DocumentNotReady, NameTaken) as error:
        raise Refused(str(error), status=409) from error
    except InvalidField as error:
        raise Refused(error.message, status=400) from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Refused(NOT_STORED.format(reason=reason), status=503) from error
