"""`/api/memory`: what is remembered, for the application whose conversations they are."""

from __future__ import annotations
