"""The project's settings, in a data directory that only this test run has."""

from __future__ import annotations

import os
import tempfile

# Set before the settings load: they keep generated secrets in this folder.
os.environ["AILB_DATA_DIR"] = tempfile.mkdtemp(prefix="ailb-tests-")

from ailb_project.settings import *  # noqa: F403 - that is what it is for

# Processes that tests start are to load the real settings.
os.environ["DJANGO_SETTINGS_MODULE"] = "ailb_project.settings"

# A hash takes longer than most tests; processes that tests start make their own.
PASSWORD_HASHERS = ["tests.quick_hasher.QuickHasher"]

# Whoever runs tests on PostgreSQL may have migrated already: see `tests.postgresql`.
if "MIGRATED_TEMPLATE" in os.environ:
    DATABASES["default"]["TEST"] = {"TEMPLATE": os.environ["MIGRATED_TEMPLATE"]}  # noqa: F405 - of the settings

# Each client of a test would list all static files anew; real servers are tested with them.
SERVESTATIC_USE_FINDERS = False
SERVESTATIC_USE_STATIC_ROOT = False
