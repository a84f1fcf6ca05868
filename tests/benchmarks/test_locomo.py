"""Tests of the reader of the public conversations, on rows of the same form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.conversations import Utterance
from benchmarks.locomo import read_conversations
from benchmarks.processes import BenchmarkFailed

SAMPLE = {
    "sample_id": "one",
    "conversation": {
        "speaker_a": "Ann",
        "session_10": [{"speaker": "Ann", "dia_id": "D10:1", "text": "Last."}],
        "session_10_date_time": "1:56 pm on 8 May, 2023",
        "session_2": [
            {
                "speaker": "Ann",
                "dia_id": "D2:1",
                "text": "Look!",
                "blip_caption": "a cat",
            },
            {"speaker": "Bob", "dia_id": "D2:2", "text": "Nice."},
        ],
    },
    "qa": [],
}


def written(folder: Path, *evidence: object) -> Path:
    path = folder / "set.json"
    rows = [{"question": "What?", "category": 4, "evidence": cell} for cell in evidence]
    path.write_text(json.dumps([{**SAMPLE, "qa": rows}]))
    return path


def test_sessions_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    (conversation,) = read_conversations(written(tmp_path))
    assert conversation.turns == (
        Utterance("Ann", "Look! [shared image: a cat]"),
        Utterance("Bob", "Nice."),
        Utterance("Ann", "Last."),
    )
    assert conversation.turns[1].unit == "Bob: Nice."


@pytest.mark.parametrize(
    ("evidence", "positions"),
    [
        (["D2:2"], {1}),
        (["D2:1", "D10:1"], {0, 2}),
        (["D2:1; D2:2"], {0, 1}),
        (["D2:1 D10:01"], {0, 2}),
        (["D2:2", "D9:9", "D", "D:11:26"], {1}),
    ],
)
def test_evidence_is_found_however_it_is_written(
    tmp_path: Path, evidence: list[str], positions: set[int]
) -> None:
    (conversation,) = read_conversations(written(tmp_path, evidence))
    (question,) = conversation.questions
    assert question.evidence == positions
    assert question.kind == "single-hop"


def test_a_question_without_evidence_is_left_out(tmp_path: Path) -> None:
    (conversation,) = read_conversations(written(tmp_path, [], None, ["D9:9"]))
    assert conversation.questions == ()


@pytest.mark.parametrize("content", ["", "{", "[1]", '[{"qa": []}]', '{"a": 1}'])
def test_what_is_no_such_set_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "set.json"
    path.write_text(content)
    with pytest.raises(BenchmarkFailed, match="holds no LoCoMo conversations"):
        read_conversations(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkFailed, match=r"absent\.json cannot be read"):
        read_conversations(tmp_path / "absent.json")
