"""Policies of memory follow their rows, also where a last-good file knows none."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from django.conf import settings

from gateway.models import ApiKey, Model, Tenant
from gateway.snapshot import Snapshot
from gateway.snapshot_store import SnapshotStore
from memory.config import Policies, Policy
from memory.models import MemoryPolicy

pytestmark = pytest.mark.django_db


def store_at(path: Path) -> SnapshotStore:
    return SnapshotStore(
        keys=settings.AILB_ENCRYPTION_KEYS,
        default_strategy="load_balanced",
        last_good=path,
    )


def compiled(path: Path) -> Snapshot:
    store = store_at(path)
    store.refresh()
    return store.current


def make_key(name: str) -> ApiKey:
    tenant, _ = Tenant.objects.get_or_create(name="t")
    return ApiKey.objects.create(
        name=name, tenant=tenant, digest=name.ljust(64, "0"), public_id=name
    )


def test_without_rows_the_defaults_hold(tmp_path: Path) -> None:
    memory = compiled(tmp_path / "kept").memory
    assert memory == Policies()
    assert memory.of(model="m", key_id=None) == Policy()


def test_a_keys_word_is_over_a_models_over_everybodys(tmp_path: Path) -> None:
    model, key = Model.objects.create(name="m"), make_key("k")
    MemoryPolicy.objects.create(max_tokens=1, recent_turns=1, recall_turns=1)
    MemoryPolicy.objects.create(model=model, max_tokens=2, recent_turns=2)
    MemoryPolicy.objects.create(api_key=key, max_tokens=3, is_required=True)
    memory = compiled(tmp_path / "kept").memory
    found = memory.of(model="m", key_id=key.pk)
    assert (found.max_tokens, found.recent_turns, found.recall_turns) == (3, 2, 1)
    assert found.is_required
    assert memory.of(model="m", key_id=None).max_tokens == 2
    assert memory.of(model="other", key_id=None).max_tokens == 1


def test_no_summary_model_is_as_everybodys_policy_says(tmp_path: Path) -> None:
    model = Model.objects.create(name="m")
    MemoryPolicy.objects.create(summary_model="small")
    MemoryPolicy.objects.create(model=model, is_enabled=False)
    found = compiled(tmp_path / "kept").memory.of(model="m", key_id=None)
    assert (found.is_enabled, found.summary_model) == (False, "small")


def test_the_policy_of_a_model_that_is_disabled_is_left_out(tmp_path: Path) -> None:
    model = Model.objects.create(name="m", enabled=False)
    MemoryPolicy.objects.create(model=model, max_tokens=2)
    assert compiled(tmp_path / "kept").memory == Policies()


def test_a_change_of_a_policy_is_followed(tmp_path: Path) -> None:
    store = store_at(tmp_path / "kept")
    store.refresh()
    MemoryPolicy.objects.create(is_enabled=False)
    assert store.refresh()
    assert not store.current.memory.of(model="m", key_id=None).is_enabled


def test_the_last_good_file_keeps_policies_and_an_older_one_still_loads(
    tmp_path: Path,
) -> None:
    path = tmp_path / "kept"
    MemoryPolicy.objects.create(max_tokens=7)
    compiled(path)
    again = store_at(path)
    assert again.use_kept()
    assert again.current.memory.everybody.max_tokens == 7
    kept = orjson.loads(path.read_bytes())
    del kept["memory_policies"]
    path.write_bytes(orjson.dumps(kept))
    older = store_at(path)
    assert older.use_kept()
    assert older.current.memory == Policies()
