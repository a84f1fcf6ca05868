"""The benchmark's upstream: nginx with one fixed answer and one fixed stream."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import BenchmarkFailed, free_port, running, wait_until_ok

MODEL = "bench"
WORDS = ("The quick brown fox jumps over the lazy dog and runs far away. " * 3).split()
_TEMPLATE = Path(__file__).with_name("nginx.conf")
_MODULE = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")
_PROMPT_TOKENS = 16
_USAGE = {
    "prompt_tokens": _PROMPT_TOKENS,
    "completion_tokens": len(WORDS),
    "total_tokens": _PROMPT_TOKENS + len(WORDS),
}


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the two answers are; both addresses end in /v1."""

    whole_url: str
    stream_url: str


def whole_answer() -> str:
    """Write the fixed answer, as OpenAI's chat completions do."""
    message = {"role": "assistant", "content": " ".join(WORDS), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return _json(_envelope("chat.completion", choices=[choice], usage=_USAGE))


def stream_events() -> tuple[str, ...]:
    """Write the fixed stream: a role, a chunk a word, the end, the usage, [DONE]."""
    deltas = [
        {"role": "assistant", "content": ""},
        *({"content": f"{w} "} for w in WORDS),
    ]
    chunks = [_chunk(delta, None) for delta in deltas]
    usage = _envelope("chat.completion.chunk", choices=[], usage=_USAGE)
    return (*map(_json, [*chunks, _chunk({}, "stop"), usage]), "[DONE]")


def configuration(folder: Path, *, whole_port: int, stream_port: int) -> str:
    """Fill in nginx.conf; every event is written and flushed by itself."""
    events = (f"      echo -n 'data: {e}\\n\\n'; echo_flush;" for e in stream_events())
    return _TEMPLATE.read_text().format(
        module=_MODULE,
        folder=folder,
        whole_port=whole_port,
        stream_port=stream_port,
        whole=whole_answer(),
        events="\n".join(events),
    )


@contextmanager
def serving(folder: Path, *, core: int) -> Iterator[Upstream]:
    """Run nginx in `folder`, on one core.

    Raises:
        BenchmarkFailed: It does not start; quotes its words.

    """
    if not _MODULE.exists():
        raise BenchmarkFailed(f"nginx's echo module is not at {_MODULE}")
    whole_port, stream_port = free_port(), free_port()
    conf, log = folder / "nginx.conf", folder / "nginx.log"
    conf.write_text(
        configuration(folder, whole_port=whole_port, stream_port=stream_port)
    )
    # The worker would drop to a user that cannot enter a private temporary folder.
    user = ["-g", "user root;"] if os.geteuid() == 0 else []
    command = ["nginx", "-p", str(folder), "-c", str(conf), *user]
    _refuse_bad_configuration(command)
    env = {"PATH": os.environ["PATH"]}
    with running(command, core=core, env=env, cwd=folder, log=log) as process:
        whole, stream = (f"http://127.0.0.1:{p}/v1" for p in (whole_port, stream_port))
        for url in (whole, stream):
            probe = f"{url}/chat/completions"
            wait_until_ok(probe, process=process, log=log, limit_s=10)
        yield Upstream(whole_url=whole, stream_url=stream)


def _refuse_bad_configuration(command: list[str]) -> None:
    test = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    if test.returncode != 0:
        raise BenchmarkFailed(f"nginx refuses its configuration:\n{test.stderr}")


def _chunk(delta: dict[str, str], finish_reason: str | None) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return _envelope("chat.completion.chunk", choices=[choice], usage=None)


def _envelope(
    kind: str,
    *,
    choices: list[object] | list[dict[str, object]],
    usage: dict[str, int] | None,
) -> dict[str, object]:
    head = {"id": "chatcmpl-bench", "object": kind, "created": 1700000000}
    return {**head, "model": MODEL, "choices": choices, "usage": usage}


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
