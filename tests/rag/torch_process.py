"""Does in one process of its own what needs torch, and prints what it found as JSON.

Importing torch takes seconds and hundreds of megabytes, which the tests' own process
and whatever runs in it do without. Reads {"texts", "folder", "broken"} from its input.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from rag.embedding import load_embedder
from rag.errors import EmbedderUnavailable
from rag.onnx_export import export_once
from rag.packaged_model import model_folder
from rag.sentence_embedder import load_sentence_embedder


def refuse(*_: object) -> NoReturn:
    """Stand in the way of the network: nothing here may need it."""
    raise AssertionError("something asked for the network")


def problem_of(load: Callable[[], object]) -> str:
    """Say why a model cannot be loaded."""
    try:
        load()
    except EmbedderUnavailable as error:
        return str(error)
    return ""


def load_other(model: str) -> object:
    """Load what EMBEDDING_MODEL may name."""
    return load_embedder(
        model=model, precision="int8", allow_downloads=False, folders=[]
    )


def main() -> None:
    """Answer all questions at once."""
    task = json.load(sys.stdin)
    socket.getaddrinfo = refuse  # type: ignore[assignment]  # it never returns
    reference = load_sentence_embedder(str(model_folder()), allow_downloads=False)
    started_s = time.monotonic()
    export = export_once(Path(task["folder"]))
    made_s = time.monotonic()
    again = export_once(Path(task["folder"]))
    found = {
        "vectors": reference.embed(task["texts"]).tolist(),
        "none": reference.embed([]).shape,
        "surrogate": reference.embed(["\ud800"]).shape,
        "id": str(reference.id),
        "max_tokens": reference.max_tokens,
        "export": str(export),
        "is_made_once": again == export
        and time.monotonic() - made_s < made_s - started_s,
        "missing": problem_of(lambda: load_other("nobody/no-such-model")),
        "broken": problem_of(lambda: load_other(task["broken"])),
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
