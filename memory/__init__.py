"""Conversation memory: what sessions said, and what of it helps the next answer."""
