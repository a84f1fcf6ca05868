"""Exports the packaged model to ONNX, once: `python -m rag.onnx_export [--into FOLDER]`."""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from rag import packaged_model
from rag.embedder import Vectors
from rag.errors import EmbedderUnavailable
from rag.onnx_embedder import OnnxEmbedder

OPSET = 17
INPUTS = ("input_ids", "attention_mask")
# What the check asks for, per text: measured 1.0000 and 0.985 to 0.993.
LEAST_COSINE = {"fp32": 0.9999, "int8": 0.97}
CHECK_TEXTS = (
    "What is my name?",
    "user: My name is Alice and I live in Lisbon with two cats.",
    "The invoice of 3 May was paid twice, so please send back the second payment.",
    "def add(a, b):\n    return a + b",
    "Where did we leave the keys of the summer house? " * 20,
)


def main() -> int:
    """Make the export unless it is there; 0 when it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=packaged_model.INSTALLED)
    folder: Path = parser.parse_args().into
    try:
        export_once(folder)
    except (EmbedderUnavailable, OSError) as error:
        print(f"The embedding model cannot be exported: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def export_once(folder: Path) -> Path:
    """Give the export below `folder`, made if need be; safe in several processes at once.

    Raises:
        EmbedderUnavailable: The packaged model is not there, or its export is not as
            good as it must be.
        OSError: The folder cannot be written.

    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / packaged_model.EXPORT
    with _only_one(folder):
        if target.is_dir():
            return target
        with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as name:
            fresh = Path(name) / "export"
            fresh.mkdir()
            _fill(fresh, packaged_model.model_folder())
            publish(fresh, target)
    return target


def publish(fresh: Path, target: Path) -> None:
    """Move a folder to its place in one step; whoever was first there stays."""
    for path in [*fresh.iterdir(), fresh]:
        _flush(path)
    try:
        fresh.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(fresh)


def _fill(folder: Path, model: Path) -> None:
    packaged_model.verify_weights(model)
    _export(model, folder / "fp32.onnx")
    _quantise(folder / "fp32.onnx", folder / "int8.onnx")
    _check(folder, model)


def _export(model: Path, to: Path) -> None:
    """Write the graph with pooling and normalisation in it, batch and length free."""
    torch = import_module("torch")
    example = torch.ones((2, 8), dtype=torch.int64)
    axes = {name: {0: "batch", 1: "length"} for name in INPUTS}
    with warnings.catch_warnings(), torch.no_grad():
        # The exporter says of itself that there is a newer one, which needs a package
        # more; and of the model's code that it was traced, which is what we want.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _graph(torch, model),
            (example, example),
            str(to),
            input_names=list(INPUTS),
            output_names=["vector"],
            dynamic_axes={**axes, "vector": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )


def _graph(torch: Any, model: Path) -> Any:
    transformers = import_module("transformers")
    transformers.utils.logging.disable_progress_bar()

    class SentenceGraph(torch.nn.Module):  # type: ignore[misc]  # torch is Any here
        """The encoder, the mean over the tokens that count, and length 1."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = transformers.AutoModel.from_pretrained(
                model, local_files_only=True, attn_implementation="eager"
            )

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            """Give one vector for each row of ids."""
            encoded = self.encoder(
                input_ids=input_ids,
                attention_mask=attention_mask,
                token_type_ids=torch.zeros_like(input_ids),
            ).last_hidden_state
            counts = attention_mask.unsqueeze(-1).to(encoded.dtype)
            mean = (encoded * counts).sum(1) / counts.sum(1)
            return torch.nn.functional.normalize(mean, dim=1)

    return SentenceGraph().eval()


def _quantise(source: Path, to: Path) -> None:
    """Write 8-bit weights with a scale for each channel.

    In 7 bits of the 8: processors without VNNI add two products in 16 bits, which 8
    bits would overflow, and an image must give the same vectors wherever it runs.
    """
    quantization = import_module("onnxruntime.quantization")
    logging.getLogger().setLevel(
        logging.ERROR
    )  # it advises a step that changes nothing
    quantization.quantize_dynamic(
        source,
        to,
        per_channel=True,
        reduce_range=True,
        weight_type=quantization.QuantType.QInt8,
    )


def _check(folder: Path, model: Path) -> None:
    expected = _reference(model)
    for precision, least in LEAST_COSINE.items():
        embedder = OnnxEmbedder(
            folder / f"{precision}.onnx", model / "tokenizer.json", precision=precision
        )
        cosines = np.sum(expected * embedder.embed(CHECK_TEXTS), axis=1)
        if not cosines.min() >= least:
            raise EmbedderUnavailable(
                f"The exported {precision} model gives other vectors than the original "
                f"(cosine {cosines.min():.4f}): install the versions that "
                "requirements.txt names."
            )


def _reference(model: Path) -> Vectors:
    """Embed with the original in torch, text by text."""
    torch, transformers = import_module("torch"), import_module("transformers")
    graph = _graph(torch, model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model, local_files_only=True)
    rows = []
    with torch.no_grad():
        for text in CHECK_TEXTS:
            tokens = tokenizer(
                text,
                truncation=True,
                max_length=packaged_model.MAX_TOKENS,
                return_tensors="pt",
            )
            rows.append(graph(tokens["input_ids"], tokens["attention_mask"])[0].numpy())
    return np.array(rows)


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Wait until no other process exports into `folder`."""
    with (folder / ".lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
