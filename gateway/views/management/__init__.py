"""`/api`: the rows of the admin, and usage, for keys with the management rights."""

from __future__ import annotations
