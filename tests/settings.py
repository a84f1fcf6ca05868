"""The project's settings, in a data directory that only this test run has."""

from __future__ import annotations

import os
import tempfile

# Set before the settings load: they keep generated secrets in this folder.
os.environ["AILB_DATA_DIR"] = tempfile.mkdtemp(prefix="ailb-tests-")

from ailb_project.settings import *  # noqa: F403 - that is what it is for

# Processes that tests start are to load the real settings.
os.environ["DJANGO_SETTINGS_MODULE"] = "ailb_project.settings"
