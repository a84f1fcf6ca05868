"""Gateways whose collections are filled: documents are indexed once, and copied."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pytest_django.plugin import DjangoDbBlocker

from tests.api.gateway_process import Gateway, running_gateway
from tests.api.rag_scenes import RAG, fill, running_jobs


@pytest.fixture(scope="session")
def documents_template(
    database_template: Path,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_blocker: DjangoDbBlocker,
) -> Path:
    """Make a database with the collections of `rag_scenes.fill`, indexed, once."""
    path = tmp_path_factory.mktemp("documents") / "ailb.sqlite3"
    with (
        django_db_blocker.unblock(),
        running_gateway(
            tmp_path_factory.mktemp("gateway"),
            template=database_template,
            workers=1,
            environment=RAG,
        ) as gateway,
    ):
        with running_jobs(gateway):
            fill(gateway)
        gateway.stop()
        gateway.let_go()  # the last one writes everything into the one file
        shutil.copyfile(gateway.database, path)
    return path


@pytest.fixture(scope="module")
def start_library(
    documents_template: Path,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Callable[..., Gateway]]:
    """Start gateways like `start_gateway`, with documents on and collections filled."""
    with ExitStack() as stack, django_db_blocker.unblock():

        def start(*, workers: int = 1, **environment: str) -> Gateway:
            return stack.enter_context(
                running_gateway(
                    tmp_path_factory.mktemp("gateway"),
                    template=documents_template,
                    workers=workers,
                    environment={**RAG, **environment},
                )
            )

        yield start
