"""Whose word holds: a session's over a key's over a model's over everybody's."""

from __future__ import annotations

from dataclasses import fields

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given, strategies as st

from memory.config import NOTHING_SAID, Override, Policies, Policy
from memory.settings_field import NUMBERS, read_settings, validate_settings

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)
SETTINGS = st.dictionaries(
    st.sampled_from(["is_enabled", *NUMBERS, "is_required", "ttl_days", "x"]),
    JSON | st.integers(0, 300),
)
POLICIES = Policies(
    everybody=Override(max_tokens=1_000, recent_turns=6),
    by_model={"fast": Override(max_tokens=500, is_enabled=False)},
    by_key={7: Override(max_tokens=100), 8: Override(is_enabled=True)},
)


def test_a_policy_can_be_overridden_in_all_that_it_says():
    assert [item.name for item in fields(Override)] == [
        item.name for item in fields(Policy)
    ]


@pytest.mark.parametrize(
    ("model", "key_id", "expected"),
    [
        ("slow", None, Policy(max_tokens=1_000, recent_turns=6)),
        ("slow", 9, Policy(max_tokens=1_000, recent_turns=6)),
        ("fast", None, Policy(max_tokens=500, recent_turns=6, is_enabled=False)),
        ("fast", 7, Policy(max_tokens=100, recent_turns=6, is_enabled=False)),
        ("fast", 8, Policy(max_tokens=500, recent_turns=6)),
        ("slow", 7, Policy(max_tokens=100, recent_turns=6)),
    ],
)
def test_a_keys_word_is_over_a_models_over_everybodys(model, key_id, expected):
    assert POLICIES.of(model=model, key_id=key_id) == expected


def test_without_rows_the_defaults_hold():
    assert Policies().of(model="fast", key_id=1) == Policy()


@pytest.mark.parametrize(
    "override",
    [
        Override(is_enabled=False),
        Override(max_tokens=0),
        Override(recent_turns=0),
        Override(is_required=False),
        Override(summary_model=""),
    ],
)
def test_zero_and_no_are_said_and_only_none_is_inherited(override):
    policy = Policy(is_required=True, summary_model="small")
    (name,) = [
        f.name for f in fields(override) if getattr(override, f.name) is not None
    ]
    assert getattr(override.over(policy), name) == getattr(override, name)
    assert NOTHING_SAID.over(policy) is policy


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"is_enabled": False},
        {"max_tokens": 0, "recent_turns": 200, "recall_turns": 100},
        {"max_tokens": 1_000_000},
    ],
)
def test_a_sessions_settings_are_accepted_and_hold(settings):
    validate_settings(settings)
    policy = read_settings(settings).over(Policy())
    assert {name: getattr(policy, name) for name in settings} == settings


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ([], "JSON object"),
        (None, "JSON object"),
        ({"is_required": True}, "is_required"),
        ({"ttl_days": 3}, "ttl_days"),
        ({"is_enabled": 1}, "is_enabled"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"recent_turns": 201}, "recent_turns"),
        ({"recall_turns": 101}, "recall_turns"),
        ({"recall_turns": 1.0}, "recall_turns"),
        ({"recall_turns": None}, "recall_turns"),
    ],
)
def test_a_bad_setting_is_refused_by_name(settings, named):
    with pytest.raises(ValidationError, match=named):
        validate_settings(settings)


@given(SETTINGS)
def test_reading_takes_what_is_valid_and_passes_over_the_rest(settings):
    override = read_settings(settings)
    for name, given_value in settings.items():
        try:
            validate_settings({name: given_value})
        except ValidationError:
            assert getattr(override, name, None) is None
        else:
            assert getattr(override, name) == given_value
