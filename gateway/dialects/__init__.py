"""Wire formats of the vendors: pure translation, no I/O."""

from __future__ import annotations
