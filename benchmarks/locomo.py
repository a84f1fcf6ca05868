"""Reads the public LoCoMo conversations (`locomo10.json`), which are not part of AILB."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.conversations import Conversation, Question, Utterance
from benchmarks.processes import BenchmarkFailed

CATEGORIES = {
    1: "multi-hop",
    2: "temporal",
    3: "open-domain",
    4: "single-hop",
    5: "adversarial",
}
_SESSION = re.compile(r"session_(\d+)")
# A few cells hold several ids in one string, or a number with a zero before it.
_TURN_ID = re.compile(r"D(\d+):(\d+)")


def read_conversations(path: Path) -> list[Conversation]:
    """Give all conversations with the questions whose evidence stands in them.

    Raises:
        BenchmarkFailed: The file cannot be read, or is no such set.

    """
    try:
        samples = json.loads(path.read_text(encoding="utf-8"))
        return [_conversation(sample) for sample in samples]
    except OSError as error:
        raise BenchmarkFailed(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BenchmarkFailed(f"{path} holds no LoCoMo conversations") from error


def _conversation(sample: Mapping[str, Any]) -> Conversation:
    said = list(_utterances(sample["conversation"]))
    positions = {key: position for position, (key, _) in enumerate(said)}
    return Conversation(
        str(sample.get("sample_id", "")),
        tuple(utterance for _, utterance in said),
        tuple(_questions(sample["qa"], positions)),
    )


def _utterances(
    conversation: Mapping[str, Any],
) -> Iterator[tuple[tuple[int, int], Utterance]]:
    """Yield every turn with its id, session by session."""
    numbers = [
        int(match[1]) for key in conversation if (match := _SESSION.fullmatch(key))
    ]
    for number in sorted(numbers):
        for turn in conversation[f"session_{number}"]:
            caption = turn.get("blip_caption")
            image = f" [shared image: {caption}]" if caption else ""
            key = _ids(turn["dia_id"])[0]
            yield key, Utterance(turn["speaker"], f"{turn['text']}{image}")


def _questions(
    rows: list[Mapping[str, Any]], positions: Mapping[tuple[int, int], int]
) -> Iterator[Question]:
    for row in rows:
        named = [key for cell in row.get("evidence") or () for key in _ids(str(cell))]
        evidence = frozenset(positions[key] for key in named if key in positions)
        if evidence:
            kind = CATEGORIES.get(row.get("category", 0), "")
            yield Question(str(row["question"]), evidence, kind)


def _ids(cell: str) -> list[tuple[int, int]]:
    return [(int(session), int(turn)) for session, turn in _TURN_ID.findall(cell)]
