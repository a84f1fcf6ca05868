"""Environment variables: types, limits, files, and what a bad value says."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from ailb_project import env


@pytest.mark.parametrize("blank", ["", "   "])
def test_an_empty_variable_counts_as_unset(
    monkeypatch: pytest.MonkeyPatch, blank: str
) -> None:
    monkeypatch.setenv("AILB_TRY", blank)
    assert env.env_str("AILB_TRY", "fallback") == "fallback"
    assert env.env_int("AILB_TRY", 7, low=1, high=9) == 7
    assert env.env_float("AILB_TRY", 0.5, low=0, high=1) == 0.5
    assert env.env_bool("AILB_TRY", default=True) is True
    assert env.env_list("AILB_TRY", ["a"]) == ["a"]
    assert env.env_secret("AILB_TRY") == ""


@pytest.mark.parametrize("value", ["0", "10", "abc", "1.5"])
def test_a_bad_whole_number_names_variable_value_and_range(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("AILB_TRY", value)
    with pytest.raises(ImproperlyConfigured) as caught:
        env.env_int("AILB_TRY", 7, low=1, high=9)
    message = str(caught.value)
    assert "AILB_TRY" in message
    assert repr(value) in message
    assert "1 to 9" in message
    assert "\n" not in message


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "x"])
def test_a_bad_number_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("AILB_TRY", value)
    with pytest.raises(ImproperlyConfigured, match="AILB_TRY"):
        env.env_float("AILB_TRY", 0.5, low=0, high=600)


@pytest.mark.parametrize(
    ("value", "meant"), [("1", True), ("Yes", True), ("off", False), ("FALSE", False)]
)
def test_yes_and_no_have_several_spellings(
    monkeypatch: pytest.MonkeyPatch, value: str, *, meant: bool
) -> None:
    monkeypatch.setenv("AILB_TRY", value)
    assert env.env_bool("AILB_TRY", default=not meant) is meant


def test_a_bad_choice_lists_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AILB_TRY", "green")
    with pytest.raises(ImproperlyConfigured, match="red, blue"):
        env.env_choice("AILB_TRY", "red", ["red", "blue"])


def test_a_list_loses_blanks_and_empty_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AILB_TRY", " a, ,b ,")
    assert env.env_list("AILB_TRY") == ["a", "b"]


def test_a_secret_may_stand_in_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text("s3cret\n")
    monkeypatch.setenv("AILB_TRY_FILE", str(file))
    assert env.env_secret("AILB_TRY") == "s3cret"
    monkeypatch.setenv("AILB_TRY", "direct")
    assert env.env_secret("AILB_TRY") == "direct"


def test_a_secret_file_that_is_missing_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AILB_TRY_FILE", str(tmp_path / "nothing"))
    with pytest.raises(ImproperlyConfigured, match="AILB_TRY_FILE"):
        env.env_secret("AILB_TRY")


def test_a_kept_secret_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "one"
    made = env.kept_secret(path, lambda: "first")
    again = env.kept_secret(path, lambda: "second")
    assert (made, again) == ("first", "first")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["one"]
