"""Management commands of the project as a whole."""

from __future__ import annotations
