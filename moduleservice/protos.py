"""Makes the Python of the contract's protos: `python -m moduleservice.protos`.

Needs grpcio-tools, which the tools of requirements-dev.txt bring.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "proto"
PACKAGE = "marchproxy"
GENERATED = Path(__file__).resolve().parent / "pb"
ENDINGS = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py")


def generate(into: Path) -> None:
    """Write the modules of every proto into a folder.

    Raises:
        subprocess.CalledProcessError: The compiler refuses a proto, or is not there.

    """
    with tempfile.TemporaryDirectory() as folder:
        out = [f"--{kind}_out={folder}" for kind in ("python", "pyi", "grpc_python")]
        protos = sorted(str(path) for path in (PROTOS / PACKAGE).glob("*.proto"))
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", *out]
        subprocess.run([*command, *protos], check=True)  # noqa: S603 - our own protos
        for ending in ENDINGS:
            for path in sorted(Path(folder, PACKAGE).glob(ending)):
                # The compiler imports by the protos' own paths, which are none of Python's.
                text = path.read_text(encoding="utf-8").replace(
                    f"from {PACKAGE} import", "from moduleservice.pb import"
                )
                (into / path.name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    generate(GENERATED)
