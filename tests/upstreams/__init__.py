"""Real local upstreams with scripted faults."""

from __future__ import annotations
