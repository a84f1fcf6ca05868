"""The admin's pages of memory: importing this registers them."""

from __future__ import annotations

from memory.admin import policies, sessions

__all__ = ["policies", "sessions"]
