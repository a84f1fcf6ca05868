"""Which embedder the settings name, and what is said when it cannot be had."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from rag import packaged_model
from rag.embedding import Embedder, EmbeddingId, load_embedder
from rag.errors import EmbedderUnavailable
from rag.sentence_embedder import _name_of_folder


def make_model(folder: Path, *, config: str = "{}", weights: bytes = b"1234") -> Path:
    (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(config)
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def test_an_id_as_text_says_what_may_be_compared() -> None:
    assert str(EmbeddingId("m", "int8", 384)) == "m/int8/384"


@pytest.mark.parametrize(
    "model", ["", "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"]
)
def test_the_packaged_model_is_taken_by_any_of_its_names(
    model: str, embedder_folders: Sequence[Path]
) -> None:
    embedder = load_embedder(
        model=model, precision="int8", allow_downloads=False, folders=embedder_folders
    )
    assert str(embedder.id) == "all-MiniLM-L6-v2/int8/384"
    assert embedder.max_tokens == 256


def test_the_two_precisions_have_ids_of_their_own(
    int8_embedder: Embedder, fp32_embedder: Embedder
) -> None:
    assert str(fp32_embedder.id) == "all-MiniLM-L6-v2/fp32/384"
    assert int8_embedder.id != fp32_embedder.id


@pytest.mark.parametrize("model", ["/nonexistent", "./nonexistent", "~/nonexistent"])
def test_a_folder_that_does_not_exist_is_named(model: str) -> None:
    with pytest.raises(EmbedderUnavailable) as raised:
        load_embedder(model=model, precision="int8", allow_downloads=True, folders=[])
    assert f"the folder {model}, which does not exist" in str(raised.value)
    assert "leave EMBEDDING_MODEL empty" in str(raised.value)


def test_a_model_in_a_folder_is_named_by_the_folder(tmp_path: Path) -> None:
    name = _name_of_folder(make_model(tmp_path / "bge-small"))
    assert name.startswith("bge-small-")
    assert name == _name_of_folder(make_model(tmp_path / "elsewhere" / "bge-small"))


@pytest.mark.parametrize(("config", "weights"), [("[]", b"1234"), ("{}", b"12345")])
def test_another_model_in_the_same_folder_has_another_name(
    tmp_path: Path, config: str, weights: bytes
) -> None:
    before = _name_of_folder(make_model(tmp_path / "model"))
    make_model(tmp_path / "model", config=config, weights=weights)
    assert _name_of_folder(tmp_path / "model") != before


def test_the_id_of_a_model_with_a_very_long_name_can_be_stored(tmp_path: Path) -> None:
    name = _name_of_folder(make_model(tmp_path / ("m" * 250)))
    assert len(str(EmbeddingId(name, "fp32", 1024))) <= 200


def test_the_packages_weights_are_those_that_we_know() -> None:
    folder = packaged_model.model_folder()
    assert packaged_model.verify_weights(folder) == folder / "model.safetensors"


def test_other_weights_are_not_exported(tmp_path: Path) -> None:
    with pytest.raises(EmbedderUnavailable, match="cannot be read"):
        packaged_model.verify_weights(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"other")
    with pytest.raises(EmbedderUnavailable, match="not the model that AILB knows"):
        packaged_model.verify_weights(tmp_path)
