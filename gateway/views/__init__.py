"""HTTP in and out: authenticate, parse, call the use case, render or stream."""

from __future__ import annotations
