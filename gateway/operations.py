"""Writes of configuration rows that more than one caller makes: atomic, only differences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import connection, models, transaction

from gateway.addresses import origin
from gateway.config_rows import read_rows
from gateway.crypto import Secret, SecretUnreadable
from gateway.dialects.record import UpstreamModel
from gateway.errors import Conflict
from gateway.kinds import Source
from gateway.models import Deployment, Model, Provider
from gateway.models.configuration import Row
from gateway.models.validators import validate_name
from gateway.snapshot_compiler import AUTO, LATEST, compile_rows

MAX_NAME_LENGTH = 200
ADVISORY_LOCK = 0x61696C62  # "ailb"
SHOWN_CHARACTERS = 4
MIN_LENGTH_TO_SHOW = 12  # of a shorter credential, four characters are too much
# What belongs to whoever a row comes from, if that is not an operator.
OWNED_FIELDS: Mapping[type[Row], tuple[str, ...]] = {
    Provider: ("name", "kind", "base_url", "credential"),
    Model: ("name",),
    Deployment: ("model", "provider", "upstream_model"),
}
ORIGINS: Mapping[Source, str] = {
    Source.ENVIRONMENT: "comes from environment variables",
    Source.DISCOVERY: "follows what the provider says it has",
    Source.SIMULATOR: "belongs to AILB's simulator",
}
FALLBACKS_GRAMMAR = "model=fallback,fallback;model=fallback"


@dataclass(frozen=True, slots=True)
class Changes:
    """What a comparison of rows with their origin changed, as texts for people."""

    made: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()

    def __add__(self, other: Changes) -> Changes:
        """Join two lists of changes."""
        return Changes(
            self.made + other.made,
            self.updated + other.updated,
            self.disabled + other.disabled,
        )

    def __bool__(self) -> bool:
        """Say whether anything changed."""
        return bool(self.made or self.updated or self.disabled)


@contextmanager
def exclusive() -> Iterator[None]:
    """Open a transaction that overlaps no other process's `exclusive`.

    Replicas that start together would otherwise make the same rows. SQLite's
    transactions exclude each other anyway.
    """
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
        yield


def save_changes(row: Row, **values: object) -> bool:
    """Write what differs; a row without a difference is left alone."""
    changed = [name for name, value in values.items() if getattr(row, name) != value]
    for name in changed:
        setattr(row, name, values[name])
    if changed:
        row.save(update_fields=[*changed, "updated_at"])
    return bool(changed)


def withdraw(row: Row) -> bool:
    """Disable a row whose origin is gone; an operator may enable it again."""
    if row.is_withdrawn:
        return False
    return save_changes(row, enabled_when_withdrawn=row.enabled, enabled=False)


def restore(row: Row) -> bool:
    """Bring back a withdrawn row: enabled only if it was, or an operator enabled it."""
    if not row.is_withdrawn:
        return False
    enabled = row.enabled or bool(row.enabled_when_withdrawn)
    return save_changes(row, enabled=enabled, enabled_when_withdrawn=None)


def is_usable_name(name: str) -> bool:
    """Say whether a row may bear the name that a provider gave."""
    try:
        validate_name(name)
    except ValidationError:
        return False
    return 0 < len(name) <= MAX_NAME_LENGTH


def model_row(name: str, source: Source) -> Model:
    """Find or make the Model of a name; what the simulator made is taken over."""
    row, _ = Model.objects.get_or_create(name=name, defaults={"source": source})
    if row.source == Source.SIMULATOR:
        save_changes(row, source=source)
    return row


def check_owned(row: Row, values: Mapping[str, Any]) -> None:
    """Refuse other values for what belongs to the environment, discovery or simulator.

    Raises:
        Conflict: It names the field and the owner.

    """
    if row.source == Source.OPERATOR:
        return
    for name in OWNED_FIELDS.get(type(row), ()):
        if name in values and values[name] != getattr(row, name):
            raise Conflict(
                f"{name}: this row {ORIGINS[Source(row.source)]}; it is changed there.",
                param=name,
            )


def check_stays_away(row: Row, named: str) -> None:
    """Refuse to delete what its owner would make anew; what is withdrawn may go.

    Raises:
        Conflict: It says so of `named`.

    """
    if row.source == Source.OPERATOR or row.is_withdrawn:
        return
    raise Conflict(
        f"{named} {ORIGINS[Source(row.source)]} and would come back. Disable it instead."
    )


def save_valid(row: models.Model, values: Mapping[str, Any]) -> bool:
    """Write what differs, if its owner and the row itself allow it; say whether it did.

    A new row is written in any case, one without a difference is left alone.

    Raises:
        Conflict: See `check_owned`.
        ValidationError: From the row's own `full_clean`.
        IntegrityError: From the database, of what only its constraints know.

    """
    if isinstance(row, Row):
        check_owned(row, values)
    is_new = row.pk is None
    changed = [n for n, value in values.items() if is_new or differs(row, n, value)]
    if not (changed or is_new):
        return False
    for name in changed:
        setattr(row, name, values[name])
    # Each check constraint would be a query, twenty for a deployment; their ranges are
    # the fields' own, and the database has them all the same.
    row.full_clean(validate_constraints=False)
    for constraint in row._meta.constraints:
        if isinstance(constraint, models.UniqueConstraint):
            constraint.validate(type(row), row)
    row.save()
    return True


def differs(row: models.Model, name: str, value: object) -> bool:
    """Say whether a field has another value; JSON's `true` is not its `1`."""
    stored = getattr(row, name)
    if isinstance(value, dict | list):
        return canonical(stored) != canonical(value)
    return bool(stored != value)


def canonical(value: object) -> bytes:
    """Write JSON in one way only: sorted keys, no blanks."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def check_serves() -> None:
    """Compile the rows as they are now, in the transaction that changed them.

    Secrets stay closed: one that cannot be read keeps nothing else from serving.

    Raises:
        ConfigurationError: They would not serve; the message names the row.

    """
    compile_rows(read_rows(), keys=None, default_strategy=settings.ROUTING_STRATEGY)


def sync_deployments(
    provider: Provider, listed: Iterable[UpstreamModel], *, source: Source
) -> Changes:
    """Make the deployments of a provider that belong to `source` equal to a list.

    Missing ones are made (with their Model, where that is missing too), those no longer
    listed withdrawn, returning ones restored. An operator's deployment of the same
    model is left alone and nothing is made beside it. Operators keep what they
    changed: capabilities and context window are only filled in where nothing is said.
    """
    wanted = {model.name: model for model in listed if is_usable_name(model.name)}
    rows = list(provider.deployments.select_related("model"))
    owned = {row.upstream_model: row for row in rows if row.source != Source.OPERATOR}
    served = {
        row.upstream_model for row in rows if row.upstream_model == row.model.name
    }
    changes = Changes()
    for name, upstream_model in wanted.items():
        if row := owned.get(name):
            changes += refresh_deployment(row, upstream_model, source)
        elif name not in served:
            changes += make_deployment(provider, upstream_model, source)
    for row in rows:
        is_gone = row.source != Source.OPERATOR and row.upstream_model not in wanted
        if is_gone and withdraw(row):
            changes += Changes(disabled=(described(row.upstream_model, provider),))
    return changes


def refresh_deployment(
    row: Deployment, upstream_model: UpstreamModel, source: Source
) -> Changes:
    """Bring one deployment of `sync_deployments` up to date."""
    returned = restore(row)
    changed = save_changes(
        row,
        source=source,
        capabilities={**upstream_model.capabilities, **row.capabilities},
        context_window=row.context_window or upstream_model.context_window,
    )
    if not (returned or changed):
        return Changes()
    return Changes(updated=(described(row.upstream_model, row.provider),))


def make_deployment(
    provider: Provider, upstream_model: UpstreamModel, source: Source
) -> Changes:
    """Make the deployment of a model, and its Model where that is missing."""
    Deployment.objects.create(
        model=model_row(upstream_model.name, source),
        provider=provider,
        upstream_model=upstream_model.name,
        capabilities=dict(upstream_model.capabilities),
        context_window=upstream_model.context_window,
        source=source,
    )
    return Changes(made=(described(upstream_model.name, provider),))


def described(model: str, provider: Provider) -> str:
    """Name a deployment for people."""
    return f"deployment {model} at {provider.name}"


def parse_fallbacks(text: str) -> dict[str, tuple[str, ...]]:
    """Read `gpt-4=claude-3-opus-20240229,llama3;...`: fallbacks in order, by model.

    Raises:
        ImproperlyConfigured: With one line that names the variable and the fault.

    """
    parsed: dict[str, tuple[str, ...]] = {}
    for entry in filter(None, map(str.strip, text.split(";"))):
        model, equals, rest = (part.strip() for part in entry.partition("="))
        targets = tuple(name.strip() for name in rest.split(","))
        if not equals or not all(map(is_usable_name, (model, *targets))):
            raise bad_fallbacks(text, f"{entry!r} is not of that form")
        if model in parsed:
            raise bad_fallbacks(text, f"{model!r} is named twice")
        if model in targets or len(set(targets)) != len(targets):
            raise bad_fallbacks(text, f"{entry!r} repeats a name")
        parsed[model] = targets
    return parsed


def bad_fallbacks(text: str, reason: str) -> ImproperlyConfigured:
    """Make the one line that a bad AILB_FALLBACKS ends the start with."""
    return ImproperlyConfigured(
        f"AILB_FALLBACKS={text!r} is not valid: allowed is {FALLBACKS_GRAMMAR}; {reason}."
    )


def spelled(name: str, known: Iterable[str]) -> str | None:
    """Find the row's spelling of a name: Ollama's `llama3` is its `llama3:latest`."""
    names = set(known)
    spellings = (name, name + LATEST, name.removesuffix(LATEST))
    return next((spelling for spelling in spellings if spelling in names), None)


def unknown_models(names: Iterable[str]) -> list[str]:
    """Pick the names that no Model row bears; `auto` is always known."""
    known = {AUTO, *Model.objects.values_list("name", flat=True)}
    return [name for name in names if spelled(name, known) is None]


def check_fallbacks(model: str, fallbacks: Iterable[str], *, are_new: bool) -> None:
    """Refuse fallbacks to the model itself, and new ones to models unknown.

    Raises:
        ValidationError: Of the field `fallbacks`.

    """
    if model and spelled(model, fallbacks):
        raise ValidationError({"fallbacks": "A model may not fall back to itself."})
    if are_new and (unknown := unknown_models(fallbacks)):
        named = ", ".join(unknown)
        raise ValidationError({"fallbacks": f"No model is called {named}."})


def is_sent_elsewhere(
    credential: Secret | None, *, before: str | None, after: str | None
) -> bool:
    """Say whether a kept credential would reach another server than before."""
    if not (credential and before and after):
        return False
    return origin(before) != origin(after)


def credential_hint(row: Provider) -> str:
    """Show the last four characters of a credential, or that there is none."""
    try:
        credential = row.credential.reveal(settings.AILB_ENCRYPTION_KEYS)
    except SecretUnreadable:
        return "unreadable"
    if not credential:
        return "none"
    is_long = len(credential) >= MIN_LENGTH_TO_SHOW
    return "…" + credential[-SHOWN_CHARACTERS:] if is_long else "set"


def apply_fallbacks(wanted: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Set the fallbacks that AILB_FALLBACKS names; give a warning for each not set.

    Refreshed at every start, and cleared when a model is no longer named, for as long
    as no operator changed them. What an operator set or cleared stays.
    """
    if AUTO in wanted:  # it needs no row of its own but for this
        model_row(AUTO, Source.ENVIRONMENT)
    rows = list(Model.objects.all())
    known = [row.name for row in rows]
    by_row = {spelled(name, known): list(names) for name, names in wanted.items()}
    warnings = []
    for row in rows:
        fallbacks = by_row.get(row.name, [])
        if row.fallbacks in (row.environment_fallbacks, fallbacks):
            save_changes(row, fallbacks=fallbacks, environment_fallbacks=fallbacks)
        elif row.name in by_row:
            warnings.append(
                f"AILB_FALLBACKS is not applied to {row.name!r}: its fallbacks were "
                "changed in the admin. Clear them there to have the variable's again."
            )
    return tuple(warnings)
