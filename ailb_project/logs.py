"""Log lines as JSON objects."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import orjson
from typing_extensions import override

# What every record carries; anything else was given as `extra`.
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time, level, logger, message and the `extra` fields."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Write the record; a value JSON does not know is written by its `str`."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {
            name: value for name, value in vars(record).items() if name not in STANDARD
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(entry, default=str).decode()
