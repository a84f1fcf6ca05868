"""`/api/collections`: documents for chats to answer from, for the application they serve."""

from __future__ import annotations
