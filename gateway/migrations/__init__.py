"""Database migrations of the gateway."""

from __future__ import annotations
