"""The local Chroma server: where it listens and how it is started."""

from __future__ import annotations

import sys
from pathlib import Path

from ailb_project import chroma_entry, listener
from ailb_project.children import ChildSpec

LOOPBACK = "127.0.0.1"
FOLDER = "chroma"


def keep_port() -> int:
    """Take a free port on loopback for as long as this process lives."""
    return listener.keep_port(LOOPBACK)


def url_of(port: int) -> str:
    """Give the address of a local server."""
    return f"http://{LOOPBACK}:{port}"


def spec_of(data_dir: Path, port: int) -> ChildSpec:
    """Describe the server; its files are in a folder of the data directory."""
    program = (sys.executable, "-I", "-S", str(Path(chroma_entry.__file__)))
    return ChildSpec("chroma", (*program, str(data_dir / FOLDER), str(port)))
