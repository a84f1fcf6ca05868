"""The local Chroma server: where it listens and how it is started."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from ailb_project import chroma_entry
from ailb_project.supervisor import ChildSpec

LOOPBACK = "127.0.0.1"
FOLDER = "chroma"


def keep_port() -> int:
    """Take a free port on loopback for as long as this process lives.

    A socket that is bound and does not listen keeps everybody else off, outgoing
    connections too; a server that sets SO_REUSEADDR, as Chroma does, can listen
    there, and do so again after it has died.
    """
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind((LOOPBACK, 0))
    port: int = keeper.getsockname()[1]
    keeper.detach()  # open until this process ends
    return port


def url_of(port: int) -> str:
    """Give the address of a local server."""
    return f"http://{LOOPBACK}:{port}"


def spec_of(data_dir: Path, port: int) -> ChildSpec:
    """Describe the server; its files are in a folder of the data directory."""
    program = (sys.executable, "-I", "-S", str(Path(chroma_entry.__file__)))
    return ChildSpec("chroma", (*program, str(data_dir / FOLDER), str(port)))
