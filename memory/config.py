"""How a session is remembered: the policy of a model, of a key, of a session (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

DEFAULT_MAX_TOKENS = 1_500
DEFAULT_RECENT_TURNS = 8
DEFAULT_RECALL_TURNS = 10
DEFAULT_TTL_DAYS = 30
# What may be added at most, as a share of the model's context window.
CONTEXT_SHARE = 0.15
# And of that, what the recent turns may take.
RECENT_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Policy:
    """How sessions are remembered and what is added to a request.

    `is_required`: a request fails where its memory cannot be read in time, instead of
    going on without. `max_tokens` bounds everything that is added; `recent_turns` is the
    window that is given back verbatim, `recall_turns` how many older turns are recalled.
    A session ends `ttl_days` after its last use. `summary_model` is the name of the model
    that keeps a rolling summary, empty for none.
    """

    is_enabled: bool = True
    is_required: bool = False
    max_tokens: int = DEFAULT_MAX_TOKENS
    recent_turns: int = DEFAULT_RECENT_TURNS
    recall_turns: int = DEFAULT_RECALL_TURNS
    ttl_days: int = DEFAULT_TTL_DAYS
    summary_model: str = ""


@dataclass(frozen=True, slots=True)
class Override:
    """What one MemoryPolicy row, or a session's settings, say; None is inherited."""

    is_enabled: bool | None = None
    is_required: bool | None = None
    max_tokens: int | None = None
    recent_turns: int | None = None
    recall_turns: int | None = None
    ttl_days: int | None = None
    summary_model: str | None = None

    def over(self, policy: Policy) -> Policy:
        """Give the policy with what is said here in place of it."""
        said = {
            name: value
            for name in (item.name for item in fields(self))
            if (value := getattr(self, name)) is not None
        }
        return replace(policy, **said) if said else policy


NOTHING_SAID = Override()


@dataclass(frozen=True, slots=True)
class Policies:
    """Every MemoryPolicy row: everybody's, those of models by name, of keys by row id."""

    everybody: Override = NOTHING_SAID
    by_model: Mapping[str, Override] = field(default_factory=dict)
    by_key: Mapping[int, Override] = field(default_factory=dict)

    @property
    def wants_summaries(self) -> bool:
        """Say whether any row names a model for summaries."""
        said = (self.everybody, *self.by_model.values(), *self.by_key.values())
        return any(each.summary_model for each in said)

    def of(self, *, model: str, key_id: int | None) -> Policy:
        """Give what holds for a request: a key's word over a model's over everybody's."""
        policy = self.everybody.over(Policy())
        policy = self.by_model.get(model, NOTHING_SAID).over(policy)
        if key_id is None:
            return policy
        return self.by_key.get(key_id, NOTHING_SAID).over(policy)
