"""What every route of files and vector stores does: find by id, and say what is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from typing_extensions import override

from gateway.errors import NotFound
from gateway.views.documents.base import DEADLINE_S, DocumentsView, NotReadyYet
from gateway.views.vector_stores.objects import FILE_PREFIX, STORE_PREFIX, uid_in
from rag.errors import (
    CollectionNotFound,
    DocumentNotFound,
    DocumentNotReady,
    FileNotKept,
)

if TYPE_CHECKING:  # it brings numpy: not before the first store is asked for
    from rag.library import Library
    from rag.records import CollectionRecord
    from rag.scope import Scope

T = TypeVar("T")


class VectorStoresView(DocumentsView):
    """A view in OpenAI's shape; its errors speak of files and vector stores."""

    @override
    async def in_library(
        self, work: Callable[[Library, Scope], T], *, deadline_s: float = DEADLINE_S
    ) -> T:
        """Do as `DocumentsView` does."""

        def refusing(library: Library, scope: Scope) -> T:
            with refusals():
                return work(library, scope)

        return await super().in_library(refusing, deadline_s=deadline_s)


@contextmanager
def refusals() -> Iterator[None]:
    """Say in OpenAI's words what is not there, whosever it is."""
    try:
        yield
    except CollectionNotFound as error:
        raise NotFound(
            "There is no such vector store.",
            param="vector_store_id",
            code="vector_store_not_found",
        ) from error
    except DocumentNotFound as error:
        raise NotFound(
            "There is no such file in this vector store.",
            param="file_id",
            code="file_not_found",
        ) from error
    except DocumentNotReady as error:
        raise NotReadyYet(str(error), param="file_id") from error
    except FileNotKept as error:
        raise no_file("file_id") from error


def no_file(param: str) -> NotFound:
    """Say that the tenant keeps no such file."""
    return NotFound("There is no such file.", param=param, code="file_not_found")


def store_of(library: Library, scope: Scope, store_id: str) -> CollectionRecord:
    """Find a vector store by its id; what is done with it then goes by its name.

    Raises:
        CollectionNotFound: There is none that this scope may read, or its name means
            another collection here: one of the tenant's own.

    """
    if (uid := uid_in(store_id, STORE_PREFIX)) is None:
        raise CollectionNotFound
    found = library.collection_of_uid(scope, uid)
    if not found.is_own and library.collection(scope, found.name).uid != found.uid:
        raise CollectionNotFound
    return found


def file_uid(file_id: str) -> str:
    """Give the id that the library knows a file by.

    Raises:
        FileNotKept: It is none that a file can have.

    """
    if (uid := uid_in(file_id, FILE_PREFIX)) is None:
        raise FileNotKept
    return uid
