"""The benchmark's upstream: nginx with fixed answers, and a paced source of events."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from benchmarks.processes import (
    ROOT,
    BenchmarkFailed,
    find_below,
    free_port,
    running,
    wait_until_ok,
)


class Answer(StrEnum):
    """What the upstream does with a chat request; each has an address of its own."""

    WHOLE = "whole"  # one answer, at once
    DELAYED = "delayed"  # the same after DELAY_S
    BURST = "burst"  # a stream of EVENTS events as fast as they are taken
    PACED = "paced"  # a stream of benchmarks/paced.py

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream of events."""
        return self in {Answer.BURST, Answer.PACED}

    @property
    def model(self) -> str:
        """The name clients ask for."""
        return f"bench-{self}"


EVENTS = 300
DELAY_S = 0.1
_SENTENCE = "The quick brown fox jumps over the lazy dog and runs far away."
WORDS = (f"{_SENTENCE} " * EVENTS).split()[:EVENTS]
_ANSWER_WORDS = (f"{_SENTENCE} " * 3).split()
_CONFIGURATION = Path(__file__).with_name("nginx.conf")
_PROXY_CONFIGURATION = Path(__file__).with_name("nginx_proxy.conf")
_MODULE = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")
_PROMPT_TOKENS = 16


def whole_answer() -> str:
    """Write the fixed answer, as OpenAI's chat completions do."""
    content = " ".join(_ANSWER_WORDS)
    message = {"role": "assistant", "content": content, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    usage = _usage(len(_ANSWER_WORDS))
    return _json(_envelope("chat.completion", choices=[choice], usage=usage))


def stream_events() -> tuple[str, ...]:
    """Write the fixed stream: a role, a chunk a word, the end, the usage, [DONE]."""
    return events_of(WORDS)


def events_of(words: list[str]) -> tuple[str, ...]:
    """Write a stream of these words as `stream_events` says."""
    deltas = [
        {"role": "assistant", "content": ""},
        *({"content": f"{word} "} for word in words),
    ]
    chunks = [_chunk(delta, None) for delta in deltas]
    usage = _envelope("chat.completion.chunk", choices=[], usage=_usage(len(words)))
    return (*map(_json, [*chunks, _chunk({}, "stop"), usage]), "[DONE]")


@contextmanager
def serving(folder: Path, *, core: int) -> Iterator[Mapping[Answer, str]]:
    """Run all of it on one core; give the base address, ending in /v1, of each answer.

    Raises:
        BenchmarkFailed: It does not start; quotes its words.

    """
    if not _MODULE.exists():
        raise BenchmarkFailed(f"nginx's echo module is not at {_MODULE}")
    events = (f"      echo -n 'data: {e}\\n\\n'; echo_flush;" for e in stream_events())
    port = free_port()
    text = _CONFIGURATION.read_text().format(
        module=_MODULE,
        folder=folder,
        port=port,
        whole=whole_answer(),
        delay_s=DELAY_S,
        events="\n".join(events),
    )
    with nginx(folder, text, core=core), paced_source(folder, core=core) as paced_url:
        fixed = (Answer.WHOLE, Answer.DELAYED, Answer.BURST)
        yield {answer: base_url(port, answer) for answer in fixed} | {
            Answer.PACED: paced_url
        }


@contextmanager
def proxying(
    folder: Path, urls: Mapping[Answer, str], *, core: int
) -> Iterator[tuple[int, int]]:
    """Run nginx as a proxy to the upstream; give its port and process id."""
    port = free_port()
    text = _PROXY_CONFIGURATION.read_text().format(
        folder=folder,
        port=port,
        fixed=_host_of(urls[Answer.WHOLE]),
        paced=_host_of(urls[Answer.PACED]),
    )
    with nginx(folder, text, core=core) as process:
        yield port, process.pid


def worker_of(pid: int) -> int:
    """Find nginx's worker below its first process."""
    return max(find_below(pid, "nginx"))


def base_url(port: int, answer: Answer) -> str:
    """Give the address, ending in /v1, under which nginx has an answer."""
    return f"http://127.0.0.1:{port}/{answer}/v1"


@contextmanager
def nginx(
    folder: Path, configuration: str, *, core: int
) -> Iterator[subprocess.Popen[bytes]]:
    """Run nginx with a configuration that answers /health; raises like `serving`."""
    conf, log = folder / "nginx.conf", folder / "nginx.log"
    conf.write_text(configuration)
    # The worker would drop to a user that cannot enter a private temporary folder.
    user = ["-g", "user root;"] if os.geteuid() == 0 else []
    command = ["nginx", "-p", str(folder), "-c", str(conf), *user]
    _refuse_bad_configuration(command)
    port = configuration.partition("listen 127.0.0.1:")[2].partition(";")[0]
    env = {"PATH": os.environ["PATH"]}
    with running(command, core=core, env=env, cwd=folder, log=log) as process:
        health = f"http://127.0.0.1:{port}/health"
        wait_until_ok(health, process=process, log=log, limit_s=10)
        yield process


@contextmanager
def paced_source(folder: Path, *, core: int) -> Iterator[str]:
    """Run benchmarks/paced.py; give its base address."""
    port, log = free_port(), folder / "paced.log"
    command = [sys.executable, "-m", "benchmarks.paced", str(port)]
    env = {"PATH": os.environ["PATH"]}
    with running(command, core=core, env=env, cwd=ROOT, log=log) as process:
        health = f"http://127.0.0.1:{port}/health"
        wait_until_ok(health, process=process, log=log, limit_s=30)
        yield base_url(port, Answer.PACED)


def _refuse_bad_configuration(command: list[str]) -> None:
    test = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    if test.returncode != 0:
        raise BenchmarkFailed(f"nginx refuses its configuration:\n{test.stderr}")


def _host_of(url: str) -> str:
    return url.removeprefix("http://").partition("/")[0]


def _usage(completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": _PROMPT_TOKENS,
        "completion_tokens": completion_tokens,
        "total_tokens": _PROMPT_TOKENS + completion_tokens,
    }


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
    return {**head, "model": "bench", "choices": choices, "usage": usage}


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
