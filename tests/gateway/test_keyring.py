"""Keys as rows: made, rotated, taken from the environment, adopted from 0.1.0."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from gateway import keyring
from gateway.access import KeyRing
from gateway.access_compiler import compile_access
from gateway.auth import found_key
from gateway.config_rows import read_rows
from gateway.crypto import SecretUnreadable, digest, mint_api_key, new_encryption_key
from gateway.kinds import Right, Source
from gateway.models import ApiKey, ApiKeyUse, Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(name="team")


@pytest.fixture
def ring(settings):
    """Give what the door would look into now."""

    def compiled() -> KeyRing:
        return compile_access(read_rows(), settings.AILB_ENCRYPTION_KEYS).keys

    return compiled


def opens(ring: KeyRing, key: str, *, at: datetime | None = None) -> bool:
    moment = at or timezone.now()
    return found_key(key, ring, now_s=moment.timestamp()) is not None


def test_a_new_key_opens_and_is_nowhere_in_its_row(tenant, ring) -> None:
    row, key = keyring.create_key(name="k", tenant=tenant)
    assert opens(ring(), key)
    secret = key.rpartition("_")[2]
    for value in vars(ApiKey.objects.get(pk=row.pk)).values():
        assert secret[:20] not in str(value)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"rights": ["everything"]},
        {"allowed_models": ["m", "m"]},
        {"name": "x" * 101},
    ],
)
def test_a_field_that_is_not_valid_makes_no_key(tenant, fields) -> None:
    with pytest.raises(ValidationError):
        keyring.create_key(**{"name": "k", "tenant": tenant, **fields})
    assert not ApiKey.objects.exists()


def test_a_key_of_nobody_is_refused(ring) -> None:
    anonymous = Tenant.objects.get(name="anonymous")
    with pytest.raises(ValidationError, match="without a key"):
        keyring.create_key(name="k", tenant=anonymous)


def test_a_key_without_a_tenant_gets_one_of_its_own_and_shares_it_with_nobody() -> None:
    first, _ = keyring.create_key(name="bot")
    second, _ = keyring.create_key(name="bot")
    assert first.tenant.name == "bot"
    assert second.tenant.name == f"bot-{second.public_id[:4]}"


@pytest.mark.parametrize("name", ["team", "default", "anonymous"])
def test_an_own_tenant_is_never_one_that_others_have(tenant, name) -> None:
    Tenant.objects.filter(name="default").delete()
    row, _ = keyring.create_key(name=name)
    assert row.tenant.name == f"{name}-{row.public_id[:4]}"
    assert keyring.default_tenant() != row.tenant


def test_an_own_tenants_name_is_free_and_valid_however_long_the_keys_name_is() -> None:
    name = "x" * 94 + " " + "y" * 5
    keyring.create_key(name=name)
    row, _ = keyring.create_key(name=name)
    row.tenant.full_clean()
    assert row.tenant.name == "x" * 94 + f"-{row.public_id[:4]}"
    names = keyring.own_tenant_names(name, row.public_id)
    assert len({next(names) for _ in range(20)}) == 20


@pytest.mark.parametrize("name", ["", " bot", "a,b", "x" * 101])
def test_a_key_that_is_not_valid_leaves_no_tenant_behind(name) -> None:
    before = Tenant.objects.count()
    with pytest.raises(ValidationError):
        keyring.create_key(name=name)
    assert Tenant.objects.count() == before


def test_the_former_secret_works_until_the_overlap_ends(tenant, ring) -> None:
    row, old = keyring.create_key(name="k", tenant=tenant)
    new = keyring.rotate_key(row, overlap=timedelta(hours=1))
    assert new != old
    assert new.split("_")[1] == old.split("_")[1] == row.public_id
    found = ring()
    assert opens(found, old)
    assert opens(found, new)
    later = timezone.now() + timedelta(hours=1)
    assert not opens(found, old, at=later)
    assert opens(found, new, at=later)


def test_without_an_overlap_the_former_secret_stops_at_once(tenant, ring) -> None:
    row, old = keyring.create_key(name="k", tenant=tenant)
    new = keyring.rotate_key(row, overlap=timedelta(0))
    assert not opens(ring(), old)
    assert opens(ring(), new)


def test_a_second_rotation_ends_the_first_secret(tenant, ring) -> None:
    row, first = keyring.create_key(name="k", tenant=tenant)
    second = keyring.rotate_key(row)
    third = keyring.rotate_key(row)
    assert [opens(ring(), key) for key in (first, second, third)] == [
        False,
        True,
        True,
    ]


def test_no_secret_outlives_the_keys_own_end(tenant, ring) -> None:
    end = timezone.now() + timedelta(minutes=1)
    row, old = keyring.create_key(name="k", tenant=tenant, expires_at=end)
    new = keyring.rotate_key(row, overlap=timedelta(days=1))
    assert [opens(ring(), key, at=end) for key in (old, new)] == [False, False]


def test_the_environments_key_is_kept_equal_and_stays_the_operators(ring) -> None:
    first, second = "first-key-of-the-environment", "second-key-of-the-environment"
    keyring.apply_environment_key(first)
    row = ApiKey.objects.get()
    assert (row.source, row.tenant.name) == (Source.ENVIRONMENT, "default")
    assert set(row.rights) == {"chat", "embeddings", "memory", "documents"}
    assert opens(ring(), first)
    ApiKey.objects.update(rights=["chat"], name="renamed")
    keyring.apply_environment_key(second)
    row.refresh_from_db()
    assert (row.rights, row.name) == (["chat"], "renamed")
    assert [opens(ring(), key) for key in (first, second)] == [False, True]


def test_the_environments_key_goes_and_comes_back_as_it_was(ring) -> None:
    key = "a-key-of-the-environment"
    keyring.apply_environment_key(key)
    keyring.apply_environment_key("")
    assert not opens(ring(), key)
    keyring.apply_environment_key("")
    keyring.apply_environment_key(key)
    assert opens(ring(), key)
    ApiKey.objects.update(enabled=False)
    keyring.apply_environment_key(key)
    assert not opens(ring(), key), "an operator has disabled it"


def test_a_key_of_ours_may_be_given_by_the_environment(ring) -> None:
    key = mint_api_key()
    keyring.apply_environment_key(key)
    assert ApiKey.objects.get().public_id == key.split("_")[1]
    assert opens(ring(), key)


def test_the_same_key_twice_is_one_row(ring, tenant) -> None:
    _, key = keyring.create_key(name="k", tenant=tenant)
    keyring.apply_environment_key(key)
    assert ApiKey.objects.count() == 1
    assert opens(ring(), key)


def test_the_first_key_is_made_once(ring) -> None:
    key = keyring.make_first_key()
    assert key is not None
    assert opens(ring(), key)
    assert keyring.make_first_key() is None
    assert Right.MANAGEMENT_WRITE not in ApiKey.objects.get().rights


def test_the_first_key_of_0_1_0_is_adopted(ring, tmp_path: Path) -> None:
    key = mint_api_key()
    pepper_file, digest_file = tmp_path / "key_pepper", tmp_path / "api_key_digest"
    pepper_file.write_text("old-pepper\n")
    digest_file.write_text(digest(key, "old-pepper") + "\n")
    for _ in range(2):
        keyring.adopt_first_key(pepper_file=pepper_file, digest_file=digest_file)
    assert opens(ring(), key)
    assert not pepper_file.exists()
    assert not digest_file.exists()


def test_keys_cannot_be_made_while_the_pepper_is_unreadable(
    settings, tenant, ring
) -> None:
    _, key = keyring.create_key(name="k", tenant=tenant)
    settings.AILB_ENCRYPTION_KEYS = [new_encryption_key()]
    with pytest.raises(SecretUnreadable):
        keyring.create_key(name="k2", tenant=tenant)
    found = ring()
    assert (found.is_unreadable, found.is_empty) == (True, False)
    assert not opens(found, key)


def test_uses_are_kept_and_those_of_deleted_keys_are_not(tenant) -> None:
    row, _ = keyring.create_key(name="k", tenant=tenant)
    for at_s in (1e9, 2e9):
        keyring.note_uses({row.pk: at_s, row.pk + 1: at_s})
    use = ApiKeyUse.objects.get()
    assert (use.api_key, use.last_used_at) == (row, datetime.fromtimestamp(2e9, UTC))
