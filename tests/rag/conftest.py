"""The packaged model's export, made at most once, and the embedders that use it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from rag import packaged_model
from rag.embedding import Embedder, load_embedder


@pytest.fixture(scope="session")
def embedder_folders() -> Sequence[Path]:
    """Say where the export is: `make test` makes it, whoever runs pytest alone waits."""
    folders = [packaged_model.INSTALLED]
    if packaged_model.find_export(folders) is None:
        packaged_model.export_in_child(folders[0])
    return folders


@pytest.fixture(scope="session")
def int8_embedder(embedder_folders: Sequence[Path]) -> Embedder:
    """Load the default embedder."""
    return load_embedder(
        model="", precision="int8", allow_downloads=False, folders=embedder_folders
    )


@pytest.fixture(scope="session")
def fp32_embedder(embedder_folders: Sequence[Path]) -> Embedder:
    """Load the same model at the precision it was trained in."""
    return load_embedder(
        model="", precision="fp32", allow_downloads=False, folders=embedder_folders
    )
