"""The admin's pages: importing this registers them."""

from __future__ import annotations

from gateway.admin import accounts, catalogue, processes, providers, strategies

__all__ = ["accounts", "catalogue", "processes", "providers", "strategies"]
