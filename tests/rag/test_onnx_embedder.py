"""The packaged model in ONNX Runtime: what it takes, gives, needs and does without."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from rag import packaged_model
from rag.embedding import Embedder
from rag.errors import EmbedderUnavailable
from rag.onnx_embedder import load_onnx_embedder
from rag.onnx_export import export_once, publish

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [
    "What is my name?",
    "My name is Alice.",
    "Trains to Lisbon leave at noon. " * 40,
]
# Embeds, then prints what of the heavy libraries is loaded.
SERVING = """
import sys
from pathlib import Path
from rag.embedding import load_embedder
embedder = load_embedder(
    model="", precision="int8", allow_downloads=False, folders=[Path(sys.argv[1])]
)
embedder.embed(["hello"])
heavy = {"torch", "transformers", "sentence_transformers", "onnx", "django"}
print(sorted(heavy & set(sys.modules)))
"""


def test_a_text_becomes_a_row_of_length_one(int8_embedder: Embedder) -> None:
    vectors = int8_embedder.embed(TEXTS)
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert int8_embedder.embed([]).shape == (0, 384)


def test_a_question_is_nearest_to_its_answer(int8_embedder: Embedder) -> None:
    question, answer, other = int8_embedder.embed(TEXTS)
    assert question @ answer > question @ other + 0.2


def test_the_texts_beside_it_do_not_change_a_vector(int8_embedder: Embedder) -> None:
    together = int8_embedder.embed(TEXTS)
    alone = [int8_embedder.embed([text])[0] for text in TEXTS]
    assert np.array_equal(together, alone)


def test_two_threads_get_what_one_gets(int8_embedder: Embedder) -> None:
    expected = int8_embedder.embed(TEXTS)
    with ThreadPoolExecutor(2) as threads:
        for found in threads.map(int8_embedder.embed, [TEXTS] * 8):
            assert np.array_equal(found, expected)


@pytest.mark.parametrize("text", ["", "\ud800", "\0", " " * 100_000, "a" * 1_000_000])
def test_any_text_has_a_vector(int8_embedder: Embedder, text: str) -> None:
    assert np.isfinite(int8_embedder.embed([text])).all()


def test_a_long_text_is_read_up_to_its_256th_token(int8_embedder: Embedder) -> None:
    beginning = "river " * 254
    short, long, other = int8_embedder.embed(
        [beginning, beginning + "bank " * 20_000, "river " * 253 + "bank"]
    )
    assert np.array_equal(short, long)
    assert not np.array_equal(short, other)


def test_serving_needs_neither_torch_nor_what_stands_on_it(
    embedder_folders: Sequence[Path],
) -> None:
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", SERVING, str(embedder_folders[0])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.strip() == "[]"


def test_the_first_folder_with_an_export_is_taken(
    tmp_path: Path, embedder_folders: Sequence[Path]
) -> None:
    own = tmp_path / "own" / packaged_model.EXPORT
    assert packaged_model.find_export([tmp_path / "own"]) is None
    own.mkdir(parents=True)
    assert packaged_model.find_export([tmp_path, tmp_path / "own"]) == own
    assert packaged_model.find_export([tmp_path / "own", *embedder_folders]) == own


def test_a_damaged_export_is_named(tmp_path: Path) -> None:
    export = tmp_path / packaged_model.EXPORT
    export.mkdir()
    (export / "int8.onnx").write_bytes(b"torn")
    with pytest.raises(EmbedderUnavailable) as raised:
        load_onnx_embedder(precision="int8", folders=[tmp_path])
    assert f"{export}/int8.onnx cannot be used" in str(raised.value)
    assert "remove its folder" in str(raised.value)


def test_an_export_that_cannot_be_made_says_why_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbedderUnavailable) as raised:
        load_onnx_embedder(precision="int8", folders=[tmp_path / "file" / "below"])
    assert "Not a directory" in str(raised.value)
    assert "python -m rag.onnx_export" in str(raised.value)


def test_an_export_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / packaged_model.EXPORT).mkdir()
    assert export_once(tmp_path) == tmp_path / packaged_model.EXPORT
    assert packaged_model.export_in_child(tmp_path) == tmp_path / packaged_model.EXPORT


def test_of_two_exports_at_once_the_first_stays(tmp_path: Path) -> None:
    target = tmp_path / "export"
    for number in ("first", "second"):
        fresh = tmp_path / number
        fresh.mkdir()
        (fresh / "int8.onnx").write_text(number)
        publish(fresh, target)
        assert not fresh.exists()
    assert (target / "int8.onnx").read_text() == "first"


def test_an_export_that_cannot_be_moved_is_an_error(tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    with pytest.raises(FileNotFoundError):
        publish(fresh, tmp_path / "absent" / "export")
    assert fresh.is_dir()
