"""However often the process is killed: what was acknowledged is found, and found once."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.postgresql import empty_database
from tests.rag.chroma_server import running_chroma

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 600
SCRIPT = "from tests.rag.ingest_process import main; main()"
# What has another index serve, and then what brings a document to where it is found.
POINTS: Sequence[dict[str, Any]] = (
    {"before": "UPDATE rag_index SET embedding"},
    {"before": "UPDATE rag_index SET state"},
    {},  # it serves: from here on nothing is counted again
    {"before": "UPDATE rag_version SET state", "statement": 1},  # it is being parsed
    {"before": "UPDATE rag_version SET state", "statement": 2},  # its text is there
    {"before": "INSERT OR IGNORE INTO rag_chunk "},
    {"before": "INSERT INTO rag_cut"},
    {"before": "UPDATE rag_version SET chunks ="},
    {"before": "INSERT OR IGNORE INTO rag_chunkvector"},
    {"before": "UPDATE rag_chunk SET vector_state", "statement": 1},  # embedded
    {"before": "UPDATE rag_version SET chunks_done"},
    {"before": "UPDATE rag_chunk SET vector_state", "statement": 2},  # mirrored
    {"before": "UPDATE rag_document SET current_id"},
    {"before": "DELETE FROM rag_version"},
)
AFTER_S = 0.05  # what is loaded first takes longer


def ingest(
    folder: Path, database: str, deaths: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Have documents ingested by processes that die so, and give what there is then.

    `database` is a URL, empty for the file in the folder.
    """
    with running_chroma(folder) as chroma:
        done = subprocess.run(
            [sys.executable, "manage.py", "shell", "--no-imports", "-c", SCRIPT],
            cwd=ROOT,
            env={**os.environ, "AILB_DATA_DIR": str(folder), "DATABASE_URL": database},
            input=json.dumps(
                {"folder": str(folder), "chroma": chroma.url, "deaths": deaths}
            ),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=LIMIT_S,
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def folder(tmp_path: Path, database_template: Path) -> Path:
    """Give a data directory with a database."""
    (tmp_path / "ailb.sqlite3").write_bytes(database_template.read_bytes())
    return tmp_path


def check(found: dict[str, Any]) -> None:
    """See that every document is there, whole, and nothing is there twice."""
    assert found["states"] == {"ready": found["expected"]}
    assert found["documents"] == found["expected"]
    assert found["is_cut_right"]
    assert found["progress"] == [[chunks, chunks] for chunks in found["cuts"]]
    assert found["vectors"] == 0
    assert found["is_mirrored"]
    for number, chunks in found["words"].items():
        assert chunks == [[seq] for seq in range(len(chunks))], number
        assert chunks, number


def test_killed_anywhere_it_goes_on_where_it_was(folder: Path) -> None:
    deaths = [*POINTS, {"after_s": AFTER_S}]
    found = ingest(folder, "", deaths)
    assert found["lived"] == [POINTS.index({})]
    assert found["chunk_tokens"] == 60, "the index that was being built serves"
    check(found)


@pytest.mark.soak
def test_on_postgresql_it_goes_on_where_it_was(
    postgresql_template: str, tmp_path: Path
) -> None:
    with empty_database(template=postgresql_template) as url:
        found = ingest(tmp_path, url, POINTS[-5:-1])
    assert found["lived"] == []
    check(found)


@pytest.mark.soak
def test_killed_fifty_times_it_loses_nothing(folder: Path) -> None:
    # Not the same ones at each run.
    chance = random.Random()  # noqa: S311 - no secret
    deaths: list[dict[str, Any]] = []
    for _ in range(45):  # half of them may be too late on a fast machine
        # Behind the parsing, which three deaths of one document would make it fail.
        deaths.append({"statement": chance.randint(15, 45)})
        deaths.append({"after_s": chance.uniform(0.02, 0.3)})
    found = ingest(folder, "", deaths)
    assert len(deaths) - len(found["lived"]) >= 50, deaths
    check(found)
