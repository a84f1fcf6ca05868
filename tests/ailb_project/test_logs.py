"""Log lines: JSON, one a record, with what was given as extra."""

from __future__ import annotations

import json
import logging

import pytest

from ailb_project.logs import JsonFormatter


def test_a_record_is_one_line_of_json_with_its_extra_fields() -> None:
    record = logging.getLogger("gateway.try").makeRecord(
        "gateway.try",
        logging.WARNING,
        __file__,
        1,
        "line one\nline %s",
        ("two",),
        None,
        extra={"provider": "a", "odd": {1, 2}},
    )
    line = JsonFormatter().format(record)
    assert "\n" not in line
    entry = json.loads(line)
    assert entry["message"] == "line one\nline two"
    assert entry["level"] == "warning"
    assert entry["logger"] == "gateway.try"
    assert entry["provider"] == "a"
    assert entry["odd"] == "{1, 2}"
    assert "exception" not in entry


def test_an_exception_is_part_of_the_line() -> None:
    with pytest.raises(ValueError, match="invalid") as caught:
        int("x")
    error = caught.value
    record = logging.LogRecord(
        "gateway",
        logging.ERROR,
        __file__,
        1,
        "broken",
        (),
        (type(error), error, None),
    )
    assert "invalid literal" in json.loads(JsonFormatter().format(record))["exception"]
