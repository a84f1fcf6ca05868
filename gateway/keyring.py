"""Virtual keys as rows: made, rotated, taken from the environment; secrets shown once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from gateway.crypto import (
    PUBLIC_ID_LENGTH,
    Secret,
    digest,
    mint_api_key,
    new_pepper,
    public_id_of,
    random_base62,
)
from gateway.kinds import Right, Source
from gateway.models import ApiKey, ApiKeyUse, KeyPepper, Tenant
from gateway.models.access import ANONYMOUS, DEFAULT_RIGHTS, DEFAULT_TENANT
from gateway.operations import restore, save_changes, withdraw

DEFAULT_OVERLAP = timedelta(days=1)
FIRST_KEY = "first key"
ENVIRONMENT_KEY = "AILB_API_KEY"
SHOWN_DIGITS = 12  # of the digest, as public id of a key that is not of our making
MAX_TENANT_NAME = 100
MARK_LENGTH = 4  # of the public id, in the name of a key's own tenant
# What everybody may do while no key is needed, so that the first key takes nothing away.
FIRST_RIGHTS = (*DEFAULT_RIGHTS, Right.DOCUMENTS)


def pepper() -> str:
    """Give the secret that keys are digested under, made the first time.

    Raises:
        SecretUnreadable: It is there, and no encryption key opens it.

    """
    row, _ = KeyPepper.objects.get_or_create(
        id=1, defaults={"secret": Secret(plain=new_pepper())}
    )
    secret: str = row.secret.reveal(settings.AILB_ENCRYPTION_KEYS)
    return secret


def create_key(
    *,
    name: str,
    tenant: Tenant | None = None,
    rights: Iterable[str] = DEFAULT_RIGHTS,
    allowed_models: Iterable[str] = (),
    allowed_collections: Iterable[str] = (),
    expires_at: datetime | None = None,
    source: Source = Source.OPERATOR,
) -> tuple[ApiKey, str]:
    """Make a key; give its row and the key itself, which nothing can show again.

    Without a tenant it gets one of its own, so that no other key sees what it remembers.

    Raises:
        ValidationError: A field is not valid; no tenant was made either.
        SecretUnreadable: See `pepper`.

    """
    key = mint_api_key()
    row = ApiKey(
        name=name,
        rights=[str(right) for right in rights],
        allowed_models=list(allowed_models),
        allowed_collections=list(allowed_collections),
        expires_at=expires_at,
        source=source,
    )
    row.public_id = public_id_of(key) or ""
    row.digest = digest(key, pepper())
    if tenant is None:
        row.full_clean(exclude={"tenant"})
        save_with_own_tenant(row)
    else:
        row.tenant = tenant
        row.full_clean()
        row.save()
    return row, key


def save_with_own_tenant(row: ApiKey) -> None:
    """Save a new key with a tenant that bears its name, or one that resembles it."""
    with transaction.atomic():
        for name in own_tenant_names(row.name, row.public_id):
            # Another process may take the name meanwhile: its tenant is never shared.
            row.tenant, is_new = Tenant.objects.get_or_create(name=name)
            if is_new:
                break
        row.save()


def own_tenant_names(name: str, public_id: str) -> Iterator[str]:
    """Give names for a key's own tenant, the first that is free being the best.

    What is valid as a key's name is valid as a tenant's. `default` and `anonymous` are
    for others, even where they are missing.
    """
    if name not in {DEFAULT_TENANT, ANONYMOUS}:
        yield name
    mark = public_id[:MARK_LENGTH]
    while True:
        yield f"{name[: MAX_TENANT_NAME - 1 - len(mark)].strip()}-{mark}"
        mark = random_base62(PUBLIC_ID_LENGTH)


def rotate_key(row: ApiKey, *, overlap: timedelta = DEFAULT_OVERLAP) -> str:
    """Give a key a new secret; the former one works for `overlap` more.

    Rights, limits, budgets and the ledger go on under the same public id. A former
    secret that was still in its overlap stops at once. Returns the new key, which
    nothing can show again. Raises like `pepper`.
    """
    key = mint_api_key(public_id=row.public_id)
    row.previous_digest = row.digest if overlap > timedelta(0) else ""
    row.previous_until = timezone.now() + overlap if row.previous_digest else None
    row.digest = digest(key, pepper())
    row.save(
        update_fields=["digest", "previous_digest", "previous_until", "updated_at"]
    )
    return key


def default_tenant() -> Tenant:
    """Find the tenant of the first keys; made anew if somebody has deleted it."""
    return Tenant.objects.get_or_create(name=DEFAULT_TENANT)[0]


def apply_environment_key(key: str) -> None:
    """Keep the row of AILB_API_KEY equal to the variable; withdrawn when it is gone.

    Its secret belongs to the environment; rights, tenant, limits and whether it is
    enabled stay the operator's. Raises like `pepper`.
    """
    row = ApiKey.objects.filter(source=Source.ENVIRONMENT).first()
    if not key:
        if row is not None:
            withdraw(row)
        return
    wanted = digest(key, pepper())
    if row is None and not ApiKey.objects.filter(digest=wanted).exists():
        ApiKey.objects.create(
            name=ENVIRONMENT_KEY,
            public_id=public_id_of(key) or wanted[:SHOWN_DIGITS],
            tenant=default_tenant(),
            digest=wanted,
            rights=[right.value for right in FIRST_RIGHTS],
            source=Source.ENVIRONMENT,
        )
    elif row is not None:
        save_changes(row, digest=wanted)
        restore(row)


def adopt_first_key(*, pepper_file: Path, digest_file: Path) -> None:
    """Make a row of the first key, which version 0.1.0 kept as a digest in a file."""
    if not digest_file.exists() or not pepper_file.exists():
        return
    kept = digest_file.read_text(encoding="utf-8").strip()
    old_pepper = pepper_file.read_text(encoding="utf-8").strip()
    KeyPepper.objects.get_or_create(id=1, defaults={"secret": Secret(plain=old_pepper)})
    ApiKey.objects.get_or_create(
        digest=kept,
        defaults={
            "name": FIRST_KEY,
            "public_id": kept[:SHOWN_DIGITS],
            "tenant": default_tenant(),
            "rights": [right.value for right in FIRST_RIGHTS],
        },
    )
    digest_file.unlink()
    pepper_file.unlink()


def make_first_key() -> str | None:
    """Make a key when there is none at all; give it, to be shown once."""
    if ApiKey.objects.exists():
        return None
    _, key = create_key(name=FIRST_KEY, tenant=default_tenant(), rights=FIRST_RIGHTS)
    return key


def note_uses(uses: Mapping[int, float]) -> None:
    """Keep when keys were last used: unix times by row id. Safe to repeat."""
    known = ApiKey.objects.filter(id__in=uses).values_list("id", flat=True)
    rows = [
        ApiKeyUse(
            api_key_id=row_id, last_used_at=datetime.fromtimestamp(uses[row_id], UTC)
        )
        for row_id in known
    ]
    ApiKeyUse.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["api_key"],
        update_fields=["last_used_at"],
    )
