"""What every test stands on: a data directory of its own, and real gateways to ask."""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.apps import apps
from django.conf import settings
from django.core import serializers
from django.db import connections
from django.db.models.signals import post_migrate
from pytest_django.plugin import DjangoDbBlocker

from gateway.simulator import Behaviour
from tests.api.gateway_process import Gateway, make_template, running_gateway
from tests.api.scenes import ANSWER, LETTERS, Stage, Upstreams
from tests.postgresql import migrated_template
from tests.upstreams.simulators import running_simulator

# The same examples in every run: a find that another seed makes must not fail somebody
# else's change. `pytest --hypothesis-profile=default` looks for new ones.
hypothesis.settings.register_profile("steady", derandomize=True)
hypothesis.settings.load_profile("steady")

# Thousands of collected tests are objects that live to the end: looking through them again
# and again takes a tenth of the processor time.
gc.set_threshold(20_000, 20, 50)


# Tests that start processes or a browser; the rest, short and many, fill the end.
SLOW_FOLDERS = ("api", "browser", "ailb_project", "rag", "memory")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that two processes end at the same time."""
    rank = {folder: number for number, folder in enumerate(SLOW_FOLDERS)}
    items.sort(key=lambda item: rank.get(item.path.parent.name, len(rank)))


def pytest_unconfigure() -> None:
    """Remove the data directory that `tests.settings` made."""
    if settings.AILB_DATA_DIR.name.startswith("ailb-tests-"):
        shutil.rmtree(settings.AILB_DATA_DIR, ignore_errors=True)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Put back what migrations wrote whenever a test's transactions flushed it.

    A flush is followed by `post_migrate`. Without this, such tests must be the last.
    """
    with django_db_blocker.unblock():
        if not connections["default"].introspection.table_names():
            return  # no test that was collected asks for the database
        written = json.loads(connections["default"].creation.serialize_db_to_string())
    kept = [row for row in written if row["model"].startswith("gateway.")]

    def put_back(*, using: str, **_: Any) -> None:
        if using == "default":
            for row in serializers.deserialize("python", kept):
                row.save()

    post_migrate.connect(put_back, sender=apps.get_app_config("memory"), weak=False)


@pytest.fixture(scope="session")
def database_template(
    tmp_path_factory: pytest.TempPathFactory,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Path:
    """Make a migrated SQLite file to copy, once.

    After pytest-django's own databases, which would else include ours.
    """
    path = tmp_path_factory.mktemp("template") / "ailb.sqlite3"
    with django_db_blocker.unblock():
        make_template(path)
    return path


@pytest.fixture(scope="session")
def postgresql_template(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    """Make a migrated PostgreSQL database to copy, once, and give its name."""
    with django_db_blocker.unblock(), migrated_template() as name:
        yield name


@pytest.fixture(scope="module")
def start_gateway(
    database_template: Path,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Callable[..., Gateway]]:
    """Start gateways that live until the module ends; see `running_gateway`."""
    with ExitStack() as stack, django_db_blocker.unblock():

        def start(*, workers: int = 1, **environment: str) -> Gateway:
            return stack.enter_context(
                running_gateway(
                    tmp_path_factory.mktemp("gateway"),
                    template=database_template,
                    workers=workers,
                    environment=environment,
                )
            )

        yield start


@pytest.fixture(scope="module")
def gateway(start_gateway: Callable[..., Gateway]) -> Gateway:
    """One gateway for the module; a test makes its own providers and models in it."""
    return start_gateway()


@pytest.fixture(scope="session")
def upstreams() -> Iterator[Upstreams]:
    """Three simulators, a, b and c, which always say the same."""
    with ExitStack() as stack:
        yield {
            letter: stack.enter_context(
                running_simulator(behaviour=Behaviour(answer_text=ANSWER))
            )
            for letter in LETTERS
        }


@pytest.fixture(scope="module")
def stage(gateway: Gateway, upstreams: Upstreams) -> Stage:
    """Scenes on the module's gateway."""
    return Stage(gateway, upstreams)
