#!/usr/bin/env python
"""Django's command line; a bad variable ends the start with one line and exit 78."""

from __future__ import annotations

import os
import sys

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

EX_CONFIG = 78  # sysexits.h: something was found in an unconfigured state


def main() -> None:
    """Run the command named on the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ailb_project.settings")
    try:
        settings.INSTALLED_APPS  # noqa: B018 - read every variable before anything runs
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.stderr.write(f"ailb: {error}\n")
        sys.exit(EX_CONFIG)


if __name__ == "__main__":
    main()
