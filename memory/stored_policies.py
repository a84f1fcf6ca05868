"""The MemoryPolicy rows, and what they say of a session that is stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from memory.config import NOTHING_SAID, Override, Policies, Policy
from memory.models import MemoryPolicy, Session
from memory.settings_field import read_settings


@dataclass(frozen=True, slots=True)
class StoredPolicies:
    """Every policy; `key_ids` are the row ids of keys that have one, by public id."""

    policies: Policies = field(default_factory=Policies)
    key_ids: dict[str, int] = field(default_factory=dict)

    def of_session(self, session: Session, *, model: str) -> Policy:
        """Give what holds for a session whose newest answer `model` gave.

        The key is the one that began it; the session's own settings have the last word.
        """
        policy = self.policies.of(model=model, key_id=self.key_ids.get(session.owner))
        return read_settings(session.settings).over(policy)


def read_policies() -> StoredPolicies:
    """Read every policy in one query."""
    return stored_policies(
        MemoryPolicy.objects.select_related("model", "api_key").order_by("pk")
    )


def stored_policies(rows: Iterable[MemoryPolicy]) -> StoredPolicies:
    """Sort policies by whom they are for."""
    everybody = NOTHING_SAID
    by_model: dict[str, Override] = {}
    by_key: dict[int, Override] = {}
    key_ids: dict[str, int] = {}
    for row in rows:
        said = override_of(row)
        if row.model is not None:
            by_model[row.model.name] = said
        elif row.api_key is not None:
            by_key[row.api_key.pk] = said
            key_ids[row.api_key.public_id] = row.api_key.pk
        else:
            everybody = said
    return StoredPolicies(Policies(everybody, by_model, by_key), key_ids)


def override_of(row: MemoryPolicy) -> Override:
    """Give what a policy says; an empty model for summaries says nothing."""
    return Override(
        is_enabled=row.is_enabled,
        is_required=row.is_required,
        max_tokens=row.max_tokens,
        recent_turns=row.recent_turns,
        recall_turns=row.recall_turns,
        ttl_days=row.ttl_days,
        summary_model=row.summary_model or None,
    )
