"""A real local Chroma server, started as `serve` does it.

with running_chroma(tmp_path) as chroma:
    store = VectorStore(chroma.url)
    chroma.kill()     # or stop(), pause(), resume()
    chroma.start()    # the same port, the same files
"""

from __future__ import annotations

import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ailb_project import chroma

START_S = 30.0
STOP_S = 15.0
POLL_S = 0.01
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class RunningChroma:
    """One server and its files, on a port that it keeps."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.port = chroma.keep_port()
        self.url = chroma.url_of(self.port)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; return when it answers."""
        spec = chroma.spec_of(self.data_dir, self.port)
        self._process = subprocess.Popen(spec.argv)
        deadline_s = time.monotonic() + START_S
        while not is_answering(self.url):
            assert self._process.poll() is None, self.log_text()
            assert time.monotonic() < deadline_s, self.log_text()
            time.sleep(POLL_S)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def log_text(self) -> str:
        return (self.data_dir / "chroma.log").read_text(encoding="utf-8")

    def stop(self) -> int:
        """Send SIGTERM; give the exit code."""
        self.process.terminate()
        return self.process.wait(timeout=STOP_S)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """Let it hang: it accepts connections and says nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def running_chroma(data_dir: Path) -> Iterator[RunningChroma]:
    """Run a server until the block ends."""
    server = RunningChroma(data_dir)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def is_answering(url: str) -> bool:
    """Tell whether a Chroma server answers there."""
    try:
        with DIRECT.open(f"{url}/api/v2/heartbeat", timeout=5) as answer:
            return b"heartbeat" in answer.read()
    except OSError:
        return False
