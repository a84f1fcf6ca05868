"""`serve`, `runjobs` and `simulate`."""

from __future__ import annotations
