"""`manage.py ingest`: files and folders into a collection."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from typing_extensions import override

from rag.attributes import Value, check_attributes
from rag.catalogue import OperatorScope, find_writable
from rag.collection_fields import normalised
from rag.configured import make_embedders, make_store
from rag.errors import CollectionNotFound, InvalidField
from rag.files import DocumentFiles
from rag.ingest import Ingest
from rag.library import Library
from rag.management.bringing import Bringer
from rag.management.found_files import find_files
from rag.management.ingest_run import IngestRun, Stopped
from rag.management.progress import Progress
from rag.models import Collection
from rag.scope import Scope

DEFAULT_TENANT = "default"
MOST_NAMED = 5


class Command(BaseCommand):
    """Add documents, and wait until they are found."""

    help = (
        "Add files to a collection, or put them in the place of documents of the same "
        "file name, and wait until they are indexed: by the background process, or in "
        "this one where none runs."
    )

    @override
    def add_arguments(self, parser: CommandParser) -> None:
        """Add what to bring, and where."""
        yes_or_no = argparse.BooleanOptionalAction
        parser.add_argument("collection", metavar="COLLECTION")
        parser.add_argument("paths", metavar="PATH", nargs="+", type=Path)
        parser.add_argument(
            "--tenant",
            help="Whose it is. Default: whoever has the only one of this name, else "
            f"'{DEFAULT_TENANT}'.",
        )
        parser.add_argument(
            "--create",
            action="store_true",
            help="Make the collection when there is none.",
        )
        parser.add_argument(
            "--recursive",
            action=yes_or_no,
            default=True,
            help="Take the folders in a folder, too.",
        )
        parser.add_argument(
            "--attributes",
            metavar="JSON",
            default="{}",
            help="A JSON object that each document gets, for filters.",
        )
        parser.add_argument(
            "--wait",
            action=yes_or_no,
            default=True,
            help="Wait until every document is ready or has failed.",
        )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        """Do everything, and fail when a document does."""
        if not settings.ENABLE_RAG:
            raise CommandError("Documents are switched off: set ENABLE_RAG=true.")
        attributes = read_attributes(options["attributes"])
        try:
            found = find_files(options["paths"], is_recursive=options["recursive"])
        except FileNotFoundError as error:
            raise CommandError(f"There is no file or folder {error}.") from error
        if not found:
            raise CommandError("There are no files: hidden ones do not count.")
        files = DocumentFiles(settings.AILB_DOCUMENTS_DIR)
        embedders, store = make_embedders(), make_store()
        library = Library(
            embedders,
            store,
            files=files,
            model=settings.EMBEDDING_MODEL,
            precision=settings.AILB_EMBEDDING_PRECISION,
        )
        try:
            scope, collection = choose(
                library,
                options["tenant"] or owner_of(options["collection"]),
                options["collection"],
                may_create=options["create"],
            )
            run = IngestRun(
                Bringer(library, scope, collection, attributes),
                Ingest(embedders, store, files),
                Progress(self.stderr),
            )
            failed = run.do(found, is_waiting=options["wait"])
        except Stopped as stopped:
            raise CommandError(str(stopped)) from stopped
        finally:
            library.close()
        self.stdout.write(run.summary)
        if failed:
            raise CommandError(f"{failed} of {len(found)} files failed.")


def read_attributes(text: str) -> dict[str, Value]:
    """Give what `--attributes` says.

    Raises:
        CommandError: It is no JSON, or none that are attributes.

    """
    try:
        return check_attributes(json.loads(text))
    except json.JSONDecodeError as error:
        raise CommandError(f"--attributes is no JSON: {error}.") from error
    except ValueError as error:
        raise CommandError(f"--attributes cannot be taken: {error}") from error


def owner_of(name: str) -> str:
    """Name the tenant that has the only collection of a name, the default one if none has.

    Raises:
        CommandError: Several tenants have one.

    """
    named = Collection.objects.filter(name=normalised(name)).order_by("tenant__name")
    tenants = list(named.values_list("tenant__name", flat=True)[:MOST_NAMED])
    if len(tenants) > 1:
        raise CommandError(
            f"Several tenants have a collection '{name}' ({', '.join(tenants)}): name "
            "one of them with --tenant."
        )
    return tenants[0] if tenants else DEFAULT_TENANT


def choose(
    library: Library, tenant: str, name: str, *, may_create: bool
) -> tuple[Scope, Collection]:
    """Find a tenant's collection, or make it.

    Raises:
        CommandError: There is no such tenant or collection, or it cannot be made.

    """
    found = apps.get_model("gateway", "Tenant").objects.filter(name=tenant).first()
    if found is None:
        raise CommandError(f"There is no tenant '{tenant}': name one with --tenant.")
    scope = OperatorScope(tenant_id=found.pk)
    try:
        return scope, find_writable(scope, name)
    except CollectionNotFound as error:
        if not may_create:
            raise CommandError(
                f"The tenant '{tenant}' has no collection '{name}': add --create to "
                "make it."
            ) from error
    try:
        name = library.create_collection(scope, {"name": name}).name
    except InvalidField as error:
        raise CommandError(error.message) from error
    return scope, find_writable(scope, name)
