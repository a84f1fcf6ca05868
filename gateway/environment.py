"""Environment variables to rows: providers, their models, fallbacks, and the simulator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from gateway import operations
from gateway.addresses import AddressRefused, check_url
from gateway.crypto import Secret, SecretUnreadable
from gateway.dialects import registry
from gateway.dialects.record import UpstreamModel
from gateway.kinds import Source
from gateway.models import Model, Provider
from gateway.operations import Changes

# The variables of each provider begin so; the row is called like its kind.
PREFIXES = {"OPENAI": "openai", "ANTHROPIC": "anthropic", "OLLAMA": "ollama"}
SIMULATOR_PREFIX = "simulator-"
SIMULATED: Mapping[str, tuple[UpstreamModel, ...]] = {
    "openai": (
        UpstreamModel("gpt-4"),
        UpstreamModel("gpt-3.5-turbo"),
        UpstreamModel("text-embedding-3-small", {"chat": False, "embeddings": True}),
    ),
    "anthropic": (
        UpstreamModel("claude-3-opus-20240229"),
        UpstreamModel("claude-3-sonnet-20240229"),
    ),
    "ollama": (UpstreamModel("llama3"),),
}


@dataclass(frozen=True, slots=True)
class DeclaredProvider:
    """A provider that the environment declares.

    `models` is None when the provider is asked which it has; `credential` may be empty:
    compatible servers on one's own machines need none.
    """

    kind: str
    base_url: str
    credential: str = field(repr=False)
    models: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class EnvironmentReport:
    """What reading the environment into rows changed, and what deserves a look."""

    changes: Changes
    warnings: tuple[str, ...]


def apply_environment(settings_like: object) -> EnvironmentReport:
    """Read the environment's providers, models and fallbacks into rows.

    Applying the same environment twice writes nothing. `settings_like` has the
    attributes of the settings module.

    Raises:
        ImproperlyConfigured: With one line that names the variable at fault; then no
            row was changed.

    """
    declared = declared_providers(settings_like)
    fallbacks = operations.parse_fallbacks(getattr(settings_like, "AILB_FALLBACKS", ""))
    with operations.exclusive():
        changes, warnings = Changes(), []
        for provider in declared:
            row, change = apply_provider(provider)
            changes += change
            if row is None:
                warnings.append(clash(provider.kind))
            elif provider.models is not None:
                changes += operations.sync_deployments(
                    row,
                    map(UpstreamModel, provider.models),
                    source=Source.ENVIRONMENT,
                )
        changes += withdraw_undeclared(provider.kind for provider in declared)
        warnings += operations.apply_fallbacks(fallbacks)
        if declared and all(provider.models is not None for provider in declared):
            warnings += unknown_in(fallbacks)
    return EnvironmentReport(changes, tuple(warnings))


def declared_providers(settings_like: object) -> tuple[DeclaredProvider, ...]:
    """Read which providers the environment declares; raises like `apply_environment`."""
    found = []
    for prefix, kind in PREFIXES.items():
        credential = getattr(settings_like, f"{prefix}_API_KEY", "")
        given_url = getattr(settings_like, f"{prefix}_BASE_URL", "")
        base_url = given_url or registry.dialect_of(kind).default_base_url
        if base_url and (credential or given_url):
            check_base_url(f"{prefix}_BASE_URL", base_url)
            check_credential(f"{prefix}_API_KEY", credential)
            models = getattr(settings_like, f"{prefix}_MODELS", ())
            check_models(f"{prefix}_MODELS", models)
            listed = tuple(dict.fromkeys(models)) or None
            found.append(
                DeclaredProvider(kind, base_url.rstrip("/"), credential, listed)
            )
    return tuple(found)


def check_base_url(variable: str, url: str) -> None:
    """Refuse an address that no provider may have; a password in it is not repeated."""
    try:
        check_url(url)
    except AddressRefused as error:
        shown = "***" if "@" in url else url
        raise ImproperlyConfigured(
            f"{variable}={shown!r} is not valid: {error}"
        ) from error


def check_credential(variable: str, credential: str) -> None:
    """Refuse what cannot stand in a header, without repeating it."""
    if not credential.isascii() or not credential.isprintable() or " " in credential:
        raise ImproperlyConfigured(
            f"{variable}='***' is not valid: allowed are printable ASCII characters "
            "without blanks."
        )


def check_models(variable: str, names: Iterable[str]) -> None:
    """Refuse names that no row may bear."""
    for name in names:
        if not operations.is_usable_name(name):
            raise ImproperlyConfigured(
                f"{variable}: {name!r} is not valid: allowed are model names separated "
                f"by commas, each at most {operations.MAX_NAME_LENGTH} characters and "
                "without quotes, semicolons, equals signs and backslashes."
            )


def apply_provider(declared: DeclaredProvider) -> tuple[Provider | None, Changes]:
    """Make or refresh the row of a declared provider; None if its name is taken."""
    row = Provider.objects.filter(name=declared.kind).first()
    described = f"provider {declared.kind}"
    if row is None:
        row = Provider.objects.create(
            name=declared.kind,
            kind=declared.kind,
            base_url=declared.base_url,
            credential=Secret(plain=declared.credential),
            source=Source.ENVIRONMENT,
        )
        return row, Changes(made=(described,))
    if row.source != Source.ENVIRONMENT:
        return None, Changes()
    values: dict[str, object] = {"kind": declared.kind, "base_url": declared.base_url}
    if not holds(row.credential, declared.credential):
        values["credential"] = Secret(plain=declared.credential)
    changed = operations.save_changes(row, **values)
    returned = operations.restore(row)
    return row, Changes(updated=(described,)) if changed or returned else Changes()


def holds(stored: Secret, credential: str) -> bool:
    """Say whether a stored credential is this one; an unreadable one is not."""
    try:
        return stored.reveal(settings.AILB_ENCRYPTION_KEYS) == credential
    except SecretUnreadable:
        return False


def clash(kind: str) -> str:
    """Say that an operator's provider has the name the environment's would have."""
    return (
        f"The {kind} provider of the environment is not used: a provider named {kind!r} "
        "was made in the admin. Rename or delete that one to have the environment's."
    )


def withdraw_undeclared(kinds: Iterable[str]) -> Changes:
    """Disable and keep the environment's providers whose variables are gone."""
    gone = Provider.objects.filter(source=Source.ENVIRONMENT).exclude(name__in=kinds)
    return Changes(
        disabled=tuple(
            f"provider {row.name}" for row in gone if operations.withdraw(row)
        )
    )


def unknown_in(fallbacks: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Warn of names in AILB_FALLBACKS that no model has."""
    names = dict.fromkeys(
        name for pair in fallbacks.items() for name in (pair[0], *pair[1])
    )
    return [
        f"AILB_FALLBACKS names {name!r}, which is not a model."
        for name in operations.unknown_models(names)
    ]


def apply_simulator(urls: Mapping[str, str] | None) -> Changes:
    """Make the simulator's providers (base URLs by kind), or remove them all with None.

    Rows are deleted rather than disabled: nobody should find simulated providers
    among real ones. A Model that an operator gave settings stays.

    Raises:
        ImproperlyConfigured: An operator's provider has the name of one.

    """
    given = urls or {}
    changes = Changes()
    with operations.exclusive():
        names = [SIMULATOR_PREFIX + kind for kind in given]
        gone = Provider.objects.filter(source=Source.SIMULATOR).exclude(name__in=names)
        changes += Changes(disabled=tuple(f"provider {row.name}" for row in gone))
        if gone:
            gone.delete()
        for kind, url in given.items():
            changes += simulated_provider(kind, url)
        if orphans := untouched_simulated_models():
            Model.objects.filter(id__in=orphans).delete()
        if changes.made:
            operations.apply_fallbacks(
                operations.parse_fallbacks(settings.AILB_FALLBACKS)
            )
    return changes


def simulated_provider(kind: str, url: str) -> Changes:
    """Make or refresh one provider of the simulator with its deployments.

    Raises:
        ImproperlyConfigured: An operator's provider has its name.

    """
    name = SIMULATOR_PREFIX + kind
    row, is_new = Provider.objects.get_or_create(
        name=name,
        defaults={"kind": kind, "base_url": url, "source": Source.SIMULATOR},
    )
    if row.source != Source.SIMULATOR:
        raise ImproperlyConfigured(
            f"A provider named {name!r} was made in the admin. Rename or delete it, "
            "so that the simulator can have its name."
        )
    moved = operations.save_changes(row, base_url=url)
    changes = Changes(
        made=(f"provider {name}",) if is_new else (),
        updated=(f"provider {name}",) if moved else (),
    )
    return changes + operations.sync_deployments(
        row, SIMULATED[kind], source=Source.SIMULATOR
    )


def untouched_simulated_models() -> list[int]:
    """Find the simulator's models that nothing serves and nobody gave settings."""
    unused = Model.objects.filter(
        source=Source.SIMULATOR, deployments=None, strategy=None, enabled=True
    )
    return [
        row.id
        for row in unused
        if row.fallbacks == row.environment_fallbacks and not row.defaults
    ]


def is_anything_configured() -> bool:
    """Say whether some provider is enabled that is not a simulator.

    Without deployments, too: an Ollama server that does not answer yet is configured.
    """
    real = Provider.objects.filter(enabled=True).exclude(source=Source.SIMULATOR)
    return real.exists()
