"""Which deployment to try, in which order, and what follows from a failure (pure)."""

from __future__ import annotations
