"""The gateway: configuration rows, routing, dialects and the data plane."""

from __future__ import annotations
