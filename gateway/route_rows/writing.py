"""Routes written: a list of them as a whole, or one deleted; owners are respected."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError

from gateway.errors import ClientError, Conflict, InvalidRequest, NotFound
from gateway.kinds import Source
from gateway.models import Deployment, Model, Provider, RoutingStrategy
from gateway.models.configuration import Row
from gateway.models.traffic import DEFAULT_VERSION
from gateway.operations import (
    ORIGINS,
    check_fallbacks,
    check_serves,
    exclusive,
    save_valid,
)
from gateway.route_rows.reading import (
    EMBEDDINGS_PATH,
    DeploymentChange,
    RouteChange,
    matches,
    path_of,
    priority_of,
)
from gateway.snapshot_compiler import AUTO

EMBEDS_ONLY = {"chat": False, "embeddings": True}


def update_routes(changes: Sequence[RouteChange], *, replace_all: bool = False) -> int:
    """Make or change routes, all of them or none; give how many that changed.

    With `replace_all`, an operator's routes that are not listed are deleted.

    Raises:
        Conflict: The owner of a row forbids it; the message names the route.
        InvalidRequest: A value is not valid; the message names route and field.
        ConfigurationError: The rows would not serve.

    """
    names = [change.name for change in changes]
    for name in names:
        check_name(name, names)
    with refusing_all(), exclusive():
        deleted = delete_others(names) if replace_all else 0
        changed = [change.name for change in changes if write_route(change)]
        for name in changed:
            with about(name):
                # What it falls back to may stand in the same list.
                check_new_fallbacks(name, changes)
        check_serves()
        return deleted + len(changed)


def delete_route(name: str) -> None:
    """Delete a model with its deployments and limits.

    Raises:
        NotFound: There is none.
        Conflict: It would come back.

    """
    check_name(name, ())
    with refusing_all(), exclusive():
        row = Model.objects.select_for_update().filter(name=name).first()
        if row is None:
            raise NotFound(f"There is no route {name[:200]!r}.")
        if (owner := owner_of(row)) is not None:
            raise Conflict(
                f"Route {name!r} {ORIGINS[owner]} and would come back. Disable it "
                "instead."
            )
        row.delete()


def check_name(name: str, names: Sequence[str]) -> None:
    """Refuse `auto`, and a name that is listed twice."""
    if name == AUTO:
        raise InvalidRequest(
            f"{AUTO!r} is no route: it spans the deployments of all models."
        )
    if names.count(name) > 1:
        raise InvalidRequest(f"Route {name!r} is listed twice.")


def owner_of(row: Model) -> Source | None:
    """Say who would make a route anew; None if it may go."""
    owned = [each for each in row.deployments.all() if each.source != Source.OPERATOR]
    live = [each for each in owned if not each.is_withdrawn]
    if live:
        return Source(live[0].source)
    # Withdrawn deployments say that its origin is gone.
    is_owned = row.source != Source.OPERATOR and not owned
    return Source(row.source) if is_owned else None


def delete_others(names: Collection[str]) -> int:
    """Delete the routes that are not listed, unless some would come back."""
    rows = Model.objects.exclude(name__in=[*names, AUTO])
    others = list(rows.prefetch_related("deployments"))
    owned = [(row, owner) for row in others if (owner := owner_of(row)) is not None]
    if owned:
        named = ", ".join(f"{row.name!r} {ORIGINS[owner]}" for row, owner in owned)
        raise Conflict(
            f"Routes that are not listed would come back: {named}. Nothing was changed."
        )
    for row in others:
        row.delete()
    return len(others)


def write_route(change: RouteChange) -> bool:
    """Make or change one route; say whether anything changed."""
    with about(change.name):
        row = Model.objects.select_for_update().filter(name=change.name).first()
        if row is None and not change.deployments:
            raise InvalidRequest("deployments: a new route needs one.")
        model = row or Model(name=change.name)
        check_source(model, change.source)
        before = [] if row is None else deployments_of(model)
        is_changed = save_valid(model, columns_of(change.values))
        is_changed |= write_deployments(change, model, before)
        path = path_of(deployments_of(model))
        if change.path and not matches(change.path, path):
            raise InvalidRequest(
                f"path_pattern: it is asked at {path}, which follows from what its "
                "deployments can do."
            )
        return is_changed


def deployments_of(row: Model) -> list[Deployment]:
    """Read a model's deployments with their providers, to be changed."""
    rows = row.deployments.select_related("provider")
    return list(rows.select_for_update(of=("self",)))


def columns_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Find the strategy that is named."""
    columns = dict(values)
    if "strategy" in columns:
        name = columns["strategy"]
        found = RoutingStrategy.objects.filter(name=name).first()
        if found is None and name:
            raise InvalidRequest(f"strategy: there is none called {name!r}.")
        columns["strategy"] = found
    return columns


def write_deployments(
    change: RouteChange, model: Model, before: list[Deployment]
) -> bool:
    """Make the deployments of a route equal to its list; say whether that changed any."""
    is_new_priority = change.priority not in {0, priority_of(before)}
    unstated = {"priority": change.priority} if is_new_priority else {}
    if change.deployments is None:
        return sum(save_valid(row, unstated) for row in before) > 0
    pairs = paired(change.deployments, before)
    kept = {row.pk for row in pairs if row is not None}
    is_changed = False
    for row in before:
        if row.pk not in kept and row.source == Source.OPERATOR:
            row.delete()
            is_changed = True
    for number, (listed, found) in enumerate(
        zip(change.deployments, pairs, strict=True)
    ):
        with about_deployment(number):
            deployment = found or new_deployment(listed, model, path=change.path)
            check_source(deployment, listed.source)
            version = {"version": listed.version} if listed.version else {}
            is_changed |= save_valid(
                deployment, {**unstated, **version, **listed.values}
            )
    return is_changed


def paired(
    listed: Sequence[DeploymentChange], rows: Sequence[Deployment]
) -> list[Deployment | None]:
    """Find the row of each deployment that is listed; None for a new one.

    One that bears the same version comes first; without one, an operator's of another
    version is relabelled.
    """
    found: dict[int, Deployment] = {}
    for is_same in (bears_version, states_no_version, may_be_relabelled):
        for number, each in enumerate(listed):
            if number in found:
                continue
            taken = {row.pk for row in found.values()}
            fitting = [r for r in rows if r.pk not in taken and is_same(each, r)]
            if len(fitting) > 1 and not each.version:
                raise InvalidRequest(
                    f"deployments[{number}]: version: there are several of "
                    f"{each.upstream_model!r} at {each.provider!r}; say which."
                )
            if fitting:
                found[number] = fitting[0]
    return [found.get(number) for number in range(len(listed))]


def bears_version(listed: DeploymentChange, row: Deployment) -> bool:
    """Say whether a row is exactly what is listed."""
    return is_same_upstream(listed, row) and listed.version == row.version


def states_no_version(listed: DeploymentChange, row: Deployment) -> bool:
    """Say whether a row is what is listed without a version."""
    return is_same_upstream(listed, row) and not listed.version


def may_be_relabelled(listed: DeploymentChange, row: Deployment) -> bool:
    """Say whether a row is what is listed but for its version, and an operator's."""
    return is_same_upstream(listed, row) and row.source == Source.OPERATOR


def is_same_upstream(listed: DeploymentChange, row: Deployment) -> bool:
    """Compare all but the version."""
    given = (listed.provider, listed.upstream_model)
    return given == (row.provider.name, row.upstream_model)


def new_deployment(listed: DeploymentChange, model: Model, *, path: str) -> Deployment:
    """Begin a deployment, an operator's."""
    provider = Provider.objects.filter(name=listed.provider).first()
    if provider is None:
        raise InvalidRequest(f"provider: there is none called {listed.provider!r}.")
    return Deployment(
        model=model,
        provider=provider,
        upstream_model=listed.upstream_model,
        version=listed.version or DEFAULT_VERSION,
        capabilities=dict(EMBEDS_ONLY) if path == EMBEDDINGS_PATH else {},
    )


def check_source(row: Row, source: str) -> None:
    """Refuse another owner than a row has; empty is not stated."""
    if source and source != row.source:
        raise Conflict(f"source: it is {str(row.source)!r} and cannot be set.")


def check_new_fallbacks(name: str, changes: Iterable[RouteChange]) -> None:
    """Refuse fallbacks that were given and are unknown, or the model itself."""
    for change in changes:
        if change.name == name and "fallbacks" in change.values:
            check_fallbacks(name, change.values["fallbacks"], are_new=True)


@contextmanager
def about(name: str) -> Iterator[None]:
    """Name the route in what is refused inside."""
    try:
        yield
    except ValidationError as error:
        raise InvalidRequest(f"Route {name[:200]!r}: {told(error)}") from error
    except ClientError as error:
        error.message = f"Route {name[:200]!r}: {error.message}"
        raise


@contextmanager
def about_deployment(number: int) -> Iterator[None]:
    """Name the deployment in what is refused inside."""
    place = f"deployments[{number}]"
    try:
        yield
    except ValidationError as error:
        raise InvalidRequest(f"{place}: {told(error)}") from error
    except ClientError as error:
        error.message = f"{place}: {error.message}"
        raise


@contextmanager
def refusing_all() -> Iterator[None]:
    """Say what the database refuses; open it outside the transaction."""
    try:
        yield
    except IntegrityError as error:
        raise Conflict("Another change came first. Read the routes anew.") from error
    except DataError as error:
        raise InvalidRequest("The database cannot keep one of the values.") from error


def told(error: ValidationError) -> str:
    """Write the first fault that a row finds in itself, with its field."""
    if not hasattr(error, "error_dict"):
        return error.messages[0]
    name, messages = next(iter(error.message_dict.items()))
    return messages[0] if name == "__all__" else f"{name}: {messages[0]}"
