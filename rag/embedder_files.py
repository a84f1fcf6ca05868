"""Whether the embedder of the settings could be loaded, found out without loading it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from rag import packaged_model
from rag.errors import EmbedderUnavailable

WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
ORGANISATION = "sentence-transformers"  # of a model that is named without one


def find_problem(
    *, model: str, precision: str, allow_downloads: bool, folders: Sequence[Path]
) -> str:
    """Say what would keep `rag.embedding.load_embedder` from loading; empty: nothing.

    Looks for files and libraries only: whether a file is damaged shows when it is loaded.
    Not to be called in an event loop: it reads the disk.
    """
    if model in packaged_model.NAMES:
        return _packaged_problem(precision, folders)
    if missing := _missing("torch", "sentence_transformers"):
        return missing
    path = Path(model).expanduser()
    if path.is_dir():
        return _folder_problem(path)
    if path.is_absolute() or model.startswith(("./", "../", "~")):
        return f"EMBEDDING_MODEL names the folder {model}, which does not exist."
    return _fetched_problem(model, allow_downloads=allow_downloads)


def _packaged_problem(precision: str, folders: Sequence[Path]) -> str:
    if missing := _missing("onnxruntime", "tokenizers"):
        return missing
    try:
        folder = packaged_model.model_folder()
    except EmbedderUnavailable as error:
        return str(error)
    export = packaged_model.find_export(folders)
    if export is None:
        return (
            "The embedding model is prepared with its first use, or by `make install`."
        )
    needed = (folder / "tokenizer.json", export / f"{precision}.onnx")
    return next((f"{path} is not there." for path in needed if not _is_there(path)), "")


def _folder_problem(folder: Path) -> str:
    if not _is_there(folder / "config.json") and not _is_there(folder / "modules.json"):
        return f"The folder {folder} holds no sentence-transformers model."
    weights = (path for pattern in WEIGHTS for path in folder.rglob(pattern))
    return "" if any(map(_is_there, weights)) else f"{folder} holds no weights."


def _fetched_problem(model: str, *, allow_downloads: bool) -> str:
    hub = import_module("huggingface_hub")
    names = [model] if "/" in model else [f"{ORGANISATION}/{model}", model]
    if any(hub.try_to_load_from_cache(name, "config.json") for name in names):
        return ""
    if allow_downloads:
        return f"The embedding model {model} is fetched with its first use."
    return (
        f"The embedding model {model} is not on this machine: set "
        "AILB_ALLOW_DOWNLOADS=1 to have it fetched."
    )


def _missing(*packages: str) -> str:
    absent = [package for package in packages if find_spec(package) is None]
    return f"The package {absent[0]} is not installed." if absent else ""


def _is_there(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0
