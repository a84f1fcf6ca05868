"""The project: settings, URLs, server and the commands that run it."""

from __future__ import annotations
