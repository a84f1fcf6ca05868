"""`manage.py create_api_key`: the key alone on standard output, once."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from gateway.access_compiler import compile_access
from gateway.auth import found_key
from gateway.config_rows import read_rows
from gateway.crypto import public_id_of
from gateway.models import ApiKey

pytestmark = pytest.mark.django_db


def create(*arguments: str) -> tuple[str, str]:
    """Run it; give what it wrote to standard output and standard error."""
    out, err = StringIO(), StringIO()
    call_command("create_api_key", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_a_key_with_the_usual_rights_is_printed_alone(settings) -> None:
    out, err = create("shop")
    key = out.strip()
    assert "\n" not in key
    row = ApiKey.objects.get()
    assert (row.name, row.tenant.name, row.public_id) == (
        "shop",
        "shop",
        public_id_of(key),
    )
    assert "of tenant shop" in err
    assert row.rights == ["chat", "embeddings", "memory"]
    assert key not in err
    access = compile_access(read_rows(), settings.AILB_ENCRYPTION_KEYS)
    found = found_key(key, access.keys, now_s=0.0)
    assert found is not None
    assert found[0].public_id == row.public_id


def test_two_keys_share_a_tenant_only_where_both_name_it() -> None:
    for arguments in (("a",), ("b",), ("c", "--tenant=b"), ("d", "--tenant=b")):
        create(*arguments)
    owners = ApiKey.objects.order_by("name").values_list("tenant__name", flat=True)
    assert list(owners) == ["a", "b", "b", "b"]


def test_everything_can_be_said(settings) -> None:
    create(
        "shop",
        "--tenant=team",
        "--rights=chat, management_read",
        "--models=m,n",
        "--collections=c",
        "--expires=2030-01-31T12:00:00",
    )
    row = ApiKey.objects.get()
    assert (row.tenant.name, row.rights) == ("team", ["chat", "management_read"])
    assert (row.allowed_models, row.allowed_collections) == (["m", "n"], ["c"])
    assert row.expires_at == datetime(2030, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--rights=all", "'all' is not a right"),
        ("--expires=tomorrow", "is not a moment"),
        ("--expires=2030-02-31", "is not a moment"),
        ("--tenant=anonymous", "for requests without a key"),
        ("--models=m,m", "twice"),
    ],
)
def test_what_is_not_valid_makes_no_key(argument: str, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        create("shop", argument)
    assert not ApiKey.objects.exists()
