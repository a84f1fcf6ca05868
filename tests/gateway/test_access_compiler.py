"""Limit rows compiled: by whose address they are, also from files of an older AILB."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.access import Access
from gateway.access_compiler import compile_access
from gateway.config_rows import ConfigRows, read_rows
from gateway.errors import ConfigurationError
from gateway.kinds import Measure, Scope
from gateway.models import Limit, Model

pytestmark = pytest.mark.django_db


def compiled(rows: ConfigRows) -> Access:
    return compile_access(rows, ())


def test_limits_of_addresses_are_found_by_their_normal_form() -> None:
    for address in ("198.51.100.1", "2001:DB8:0::1", "::ffff:198.51.100.1"):
        Limit.objects.create(address=address, amount=5, window="second")
    Limit.objects.create(address="203.0.113.7", amount=5, enabled=False)
    access = compiled(read_rows())
    assert {name: len(limits) for name, limits in access.by_address.items()} == {
        "198.51.100.1": 2,
        "2001:db8::1": 1,
    }
    (limit,) = access.by_address["2001:db8::1"]
    assert (limit.scope, limit.measure) == (Scope.ADDRESS, Measure.REQUESTS)
    assert (limit.amount, limit.window_s) == (5, 1)
    assert access.everybody == ()
    assert limit.id in access.limit_ids


def test_limits_of_others_are_not_by_address() -> None:
    Limit.objects.create(model=Model.objects.create(name="m"), amount=1)
    Limit.objects.create(amount=2)
    access = compiled(read_rows())
    assert access.by_address == {}
    assert (len(access.everybody), list(access.by_model)) == (1, ["m"])


def without_addresses(rows: ConfigRows) -> ConfigRows:
    """Make it as an AILB that knew no addresses wrote it."""
    gone = {"address", "rate_limit_id", "rate_limit"}
    limits: list[dict[str, Any]] = [
        {name: value for name, value in row.items() if name not in gone}
        for row in rows.limits
    ]
    return replace(rows, limits=tuple(limits))


def test_the_file_of_an_older_ailb_still_compiles() -> None:
    Limit.objects.create(amount=2)
    access = compiled(without_addresses(read_rows()))
    assert (len(access.everybody), access.by_address) == (1, {})


def test_an_address_that_is_none_is_named() -> None:
    row = Limit.objects.create(amount=2)
    rows = read_rows()
    bad = replace(rows, limits=({**rows.limits[0], "address": "here"},))
    with pytest.raises(ConfigurationError, match=f"Limit {row.pk}: 'here'"):
        compiled(bad)
