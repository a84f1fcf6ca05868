"""Whatever a document is made to do, it gets an answer, and nothing happens outside."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from rag.errors import DocumentRefused
from rag.parsed import ParsingLimits
from rag.parsing import parse_document
from tests.rag.hostile_documents import SLIPPED, hostile_documents

LIMITS = replace(ParsingLimits(), wall_s=30.0)
CODES = {
    "too_large",
    "too_many_pages",
    "too_much_text",
    "encrypted",
    "unsupported_type",
    "corrupt",
    "zip_bomb",
    "no_text",
    "timed_out",
    "out_of_memory",
}
# Of each sound document; with 40 there are 200 documents in all.
MUTATIONS = 4


def answer_to(path: Path) -> tuple[str, float]:
    """Give the code of the refusal, empty for none, and how long it took."""
    started_s = time.monotonic()
    try:
        parsed = parse_document(path, name=path.name, limits=LIMITS)
    except DocumentRefused as refused:
        return refused.code, time.monotonic() - started_s
    assert "root:" not in parsed.text
    return "", time.monotonic() - started_s


def test_every_hostile_document_is_answered_and_nothing_happens_outside(
    tmp_path: Path,
) -> None:
    expected = {}
    for name, data, codes in hostile_documents(MUTATIONS):
        (tmp_path / name).write_bytes(data)
        expected[name] = codes
    paths = [tmp_path / name for name in expected]
    with ThreadPoolExecutor(2) as threads:
        answers = dict(zip(expected, threads.map(answer_to, paths), strict=True))
    wrong = {
        name: code
        for name, (code, _) in answers.items()
        if code not in (expected[name] or CODES | {""})
    }
    assert wrong == {}
    assert max(took_s for _, took_s in answers.values()) <= LIMITS.wall_s
    assert {path.name for path in tmp_path.iterdir()} == set(expected)
    assert not (Path(tempfile.gettempdir()) / SLIPPED).exists()
