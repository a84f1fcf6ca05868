"""The exported model against the original, and int8 against fp32, by their rankings.

The thresholds for int8 leave a margin below what docs/memory.md says was measured; scales
for whole matrices instead of channels do not reach them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rag import packaged_model
from rag.embedding import Embedder, Vectors
from tests.rag.questions import SAID_AND_ASKED

ROOT = Path(__file__).resolve().parents[2]
SAID = [said for said, _ in SAID_AND_ASKED]
ASKED = [asked for _, asked in SAID_AND_ASKED]
ODD = ["", " ", "\0\u200b", "日本語の文章です。", "x" * 5_000, "word " * 3_000]
FROM_ORIGINAL = [*SAID, *ASKED, *ODD]


def passages() -> list[str]:
    """Give the beginnings of paragraphs and table rows of this project's documents."""
    paths = [*sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*.md"))]
    pieces = [
        " ".join(piece.split())
        for path in paths
        for piece in re.split(r"\n\s*\n|\n(?=[-*|#])", path.read_text())
    ]
    return [piece[:240] for piece in dict.fromkeys(pieces) if len(piece) > 60][:260]


@dataclass(frozen=True, slots=True)
class Pair:
    """The same texts at both precisions."""

    int8: Vectors
    fp32: Vectors


def top(queries: Vectors, texts: Vectors, *, limit: int) -> list[list[int]]:
    """Give the best rows of `texts` for each query, best first."""
    order = np.argsort(-(queries @ texts.T), axis=1, kind="stable")
    return [[int(row) for row in rows[:limit]] for rows in order]


def ndcg(rankings: Sequence[Sequence[int]]) -> float:
    """Judge rankings of which number i has one right answer, row i."""
    gains = [
        1 / np.log2(ranking.index(i) + 2) if i in ranking else 0.0
        for i, ranking in enumerate(rankings)
    ]
    return float(np.mean(gains))


@pytest.fixture(scope="module")
def from_torch(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Say what the process with torch found."""
    folder = tmp_path_factory.mktemp("torch")
    broken = folder / "broken-model"
    broken.mkdir()
    (broken / "config.json").write_text('{"model_type": "no-such-type"}')
    task = {"texts": FROM_ORIGINAL, "folder": str(folder), "broken": str(broken)}
    child = subprocess.run(
        [sys.executable, "-m", "tests.rag.torch_process"],
        cwd=ROOT,
        input=json.dumps(task),
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    found: dict[str, Any] = json.loads(child.stdout)
    return found


@pytest.fixture(scope="module")
def said_and_passages(int8_embedder: Embedder, fp32_embedder: Embedder) -> Pair:
    texts = [*SAID, *passages()]
    assert len(texts) == 300
    return Pair(int8_embedder.embed(texts), fp32_embedder.embed(texts))


def test_the_export_gives_the_originals_vectors(
    from_torch: dict[str, Any], fp32_embedder: Embedder
) -> None:
    expected = np.array(from_torch["vectors"], np.float32)
    cosines = np.sum(expected * fp32_embedder.embed(FROM_ORIGINAL), axis=1)
    assert cosines.min() >= 0.9999
    # So the two may share an id, but for the name that a path gets.
    precision, dimension = from_torch["id"].split("/")[1:]
    assert str(fp32_embedder.id) == f"all-MiniLM-L6-v2/{precision}/{dimension}"
    assert from_torch["max_tokens"] == fp32_embedder.max_tokens


def test_the_original_takes_any_text_and_none(from_torch: dict[str, Any]) -> None:
    assert from_torch["none"] == [0, 384]
    assert from_torch["surrogate"] == [1, 384]


def test_a_fresh_export_is_the_one_in_use_and_is_made_once(
    from_torch: dict[str, Any], embedder_folders: Sequence[Path]
) -> None:
    fresh = Path(from_torch["export"])
    installed = packaged_model.find_export(embedder_folders)
    assert installed is not None
    assert {path.name for path in fresh.iterdir()} == {"fp32.onnx", "int8.onnx"}
    for path in fresh.iterdir():
        assert path.read_bytes() == (installed / path.name).read_bytes(), path.name
    assert from_torch["is_made_once"]


def test_a_model_that_is_not_here_is_not_asked_for_elsewhere(
    from_torch: dict[str, Any],
) -> None:
    assert "nobody/no-such-model is not on this machine" in from_torch["missing"]
    assert "AILB_ALLOW_DOWNLOADS=1" in from_torch["missing"]


def test_a_folder_without_a_good_model_says_so(from_torch: dict[str, Any]) -> None:
    assert "broken-model cannot be loaded" in from_torch["broken"]
    assert "EMBEDDING_MODEL" in from_torch["broken"]


def test_int8_vectors_are_close_to_those_of_fp32(said_and_passages: Pair) -> None:
    cosines = np.sum(said_and_passages.int8 * said_and_passages.fp32, axis=1)
    assert cosines.mean() >= 0.985
    assert cosines.min() >= 0.97


def test_int8_ranks_neighbours_as_fp32_does(said_and_passages: Pair) -> None:
    of_int8, of_fp32 = (
        top(vectors, vectors, limit=11)
        for vectors in (said_and_passages.int8, said_and_passages.fp32)
    )
    shared = [
        len(set(a[1:]) & set(b[1:])) / 10 for a, b in zip(of_int8, of_fp32, strict=True)
    ]
    assert np.mean(shared) >= 0.85


def test_int8_finds_what_answers_a_question_as_fp32_does(
    said_and_passages: Pair, int8_embedder: Embedder, fp32_embedder: Embedder
) -> None:
    of_int8 = top(int8_embedder.embed(ASKED), said_and_passages.int8, limit=10)
    of_fp32 = top(fp32_embedder.embed(ASKED), said_and_passages.fp32, limit=10)
    assert ndcg(of_fp32) >= 0.75  # else the questions show nothing
    assert ndcg(of_int8) >= ndcg(of_fp32) - 0.04
    shared = [len(set(a) & set(b)) / 10 for a, b in zip(of_int8, of_fp32, strict=True)]
    assert np.mean(shared) >= 0.8
