"""Replays the Dockerfile without a container engine: build, start, health, stop."""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from deploy.dockerfile import parse
from deploy.image_build import Builder, Image, as_image_user, resolve, uid_made_by

CONTEXT = Path(__file__).resolve().parent.parent
START_LIMIT_S = 90.0
STOP_LIMIT_S = 40.0


def main() -> int:
    """Print each step; 0 when the image would build, start, be healthy and stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build-only", action="store_true", help="do not start it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ailb-image-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the image's user must be able to pass through
        image = Builder(CONTEXT, folder).build()
        print("The build steps work.")
        return 0 if arguments.build_only else _start_and_stop(image, folder / "log")


def _start_and_stop(image: Image, log: Path) -> int:
    uid = uid_made_by(parse((CONTEXT / "Dockerfile").read_text()), image.user)
    home = str(image.on_disk(""))
    ports = {"HTTP_PORT": str(_free_port()), "GRPC_PORT": str(_free_port())}
    env = image.process_env(HOME=home, **ports)
    command = as_image_user(resolve(image.command, env), uid=uid)
    print(f"Starting {' '.join(image.command)} as uid {uid} ...", flush=True)
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            cwd=image.on_disk(""),
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as server,
    ):
        try:
            fault = _health_fault(image, env, server) or _stop_fault(image, server)
        finally:
            if server.poll() is None:
                server.kill()
    if fault:
        print(log.read_text(errors="replace")[-6000:], file=sys.stderr)
        print(f"FAILED: {fault}", file=sys.stderr)
        return 1
    print("It starts, its health check passes, and it stops cleanly.")
    return 0


def _health_fault(
    image: Image, env: dict[str, str], server: subprocess.Popen[bytes]
) -> str | None:
    check = resolve(image.health_command, env)
    deadline_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline_s:
        if server.poll() is not None:
            return f"the server ended with status {server.returncode} at its start"
        probe = subprocess.run(check, env=env, capture_output=True, check=False)
        if probe.returncode == 0:
            return None
        time.sleep(0.5)
    return f"the health check did not pass within {START_LIMIT_S:.0f} s"


def _stop_fault(image: Image, server: subprocess.Popen[bytes]) -> str | None:
    server.send_signal(signal.Signals[image.stop_signal or "SIGTERM"])
    try:
        status = server.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        return f"it had not stopped {STOP_LIMIT_S:.0f} s after {image.stop_signal}"
    return None if status == 0 else f"it ended with status {status} when asked to stop"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
