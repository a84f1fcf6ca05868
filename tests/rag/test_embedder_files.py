"""Whether an embedder could be loaded, by its files alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag.embedder_files import find_problem
from rag.packaged_model import EXPORT


def problem(model: str = "", *, folder: Path, allow_downloads: bool = False) -> str:
    return find_problem(
        model=model,
        precision="int8",
        allow_downloads=allow_downloads,
        folders=[folder],
    )


def test_the_packaged_model_needs_the_export_of_its_precision(tmp_path: Path) -> None:
    assert "with its first use" in problem(folder=tmp_path)
    weights = tmp_path / EXPORT / "int8.onnx"
    weights.parent.mkdir()
    assert problem(folder=tmp_path) == f"{weights} is not there."
    weights.touch()
    assert problem(folder=tmp_path) == f"{weights} is not there."
    weights.write_bytes(b"x")
    assert problem(folder=tmp_path) == ""


def test_a_folder_needs_a_model_with_weights(tmp_path: Path) -> None:
    model = tmp_path / "model"
    assert "does not exist" in problem(str(model), folder=tmp_path)
    model.mkdir()
    assert "holds no sentence-transformers" in problem(str(model), folder=tmp_path)
    (model / "config.json").write_text("{}")
    assert "holds no weights" in problem(str(model), folder=tmp_path)
    (model / "model.safetensors").write_bytes(b"x")
    assert problem(str(model), folder=tmp_path) == ""


@pytest.mark.parametrize("name", ["no-such-model", "nobody/no-such-model"])
def test_a_named_model_must_have_been_fetched(name: str, tmp_path: Path) -> None:
    assert "AILB_ALLOW_DOWNLOADS" in problem(name, folder=tmp_path)
    found = problem(name, folder=tmp_path, allow_downloads=True)
    assert "is fetched with its first use" in found
