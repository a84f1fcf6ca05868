"""Rows to memory's policies: everybody's, those of models, those of keys."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.config_rows import ConfigRows, Row
from memory.config import NOTHING_SAID, Override, Policies


def compile_policies(found: ConfigRows, model_names: Mapping[int, str]) -> Policies:
    """Compile the MemoryPolicy rows; `model_names` are those that may serve, by id."""
    everybody = NOTHING_SAID
    by_model: dict[str, Override] = {}
    by_key: dict[int, Override] = {}
    for row in found.memory_policies:
        said = override_from(row)
        if row["api_key_id"] is not None:
            by_key[row["api_key_id"]] = said
        elif row["model_id"] is None:
            everybody = said
        elif (name := model_names.get(row["model_id"])) is not None:
            by_model[name] = said
    return Policies(everybody=everybody, by_model=by_model, by_key=by_key)


def override_from(row: Row) -> Override:
    """Compile one MemoryPolicy row; what it leaves empty is inherited."""
    return Override(
        is_enabled=row["is_enabled"],
        is_required=row["is_required"],
        max_tokens=row["max_tokens"],
        recent_turns=row["recent_turns"],
        recall_turns=row["recall_turns"],
        ttl_days=row["ttl_days"],
        summary_model=row["summary_model"] or None,
    )
