"""Settings as command-line options and back."""

from __future__ import annotations

import pytest

from ailb_project.server_settings import ServerSettings, parse_settings


def test_settings_survive_the_command_line() -> None:
    settings = ServerSettings(host="::1", fd=3, grace_s=2.5, application="a.b:c")
    assert parse_settings(settings.to_argv()) == settings
    assert parse_settings([]) == ServerSettings()


def test_an_unknown_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_settings(["--drain=3"])
    assert "--drain" in capsys.readouterr().err
