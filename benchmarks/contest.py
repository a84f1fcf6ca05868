"""Starts everybody who is measured, one after another, on one core."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from benchmarks import gateway, peers, upstream
from benchmarks.calls import Size, refuse_wrong_answer
from benchmarks.figures import Contender
from benchmarks.processes import BenchmarkFailed, Cores
from benchmarks.servers import Server
from benchmarks.upstream import Answer

_Starter = Callable[..., AbstractContextManager[Server]]


@contextmanager
def running_all(
    folder: Path, urls: Mapping[Answer, str], cores: Cores
) -> Iterator[list[Server]]:
    """Run all of them, each with its own folder; each has given every answer once.

    Raises:
        BenchmarkFailed: One does not start or answers wrongly.
        ServerRefused: See gateway.serving.

    """
    with ExitStack() as stack:
        servers = [Server(Contender.DIRECT, urls)]
        for contender, start in _starters().items():
            home = folder / contender.replace(" ", "-")
            home.mkdir(parents=True)
            server = stack.enter_context(start(home, urls, core=cores.gateway))
            servers.append(server)
        for server in servers:
            check(server)
        yield servers


def check(server: Server) -> None:
    """Have every answer given whole, once.

    Raises:
        BenchmarkFailed: One is wrong; names the server.

    """
    _check(server, [(answer, Size.SMALL) for answer in Answer])


def check_sizes(server: Server) -> None:
    """Have the larger requests answered once; raises like `check`."""
    _check(server, [(Answer.WHOLE, size) for size in Size])


def _check(server: Server, asked: Iterable[tuple[Answer, Size]]) -> None:
    try:
        for answer, size in asked:
            call = server.call(answer, size)
            refuse_wrong_answer(call, is_stream=answer.is_stream)
    except BenchmarkFailed as failure:
        raise BenchmarkFailed(f"{server.contender}: {failure}") from failure


def _starters() -> dict[Contender, _Starter]:
    return {
        Contender.NGINX: nginx,
        Contender.AILB: gateway.serving,
        Contender.BARE: gateway.serving_bare,
        Contender.LITELLM: peers.litellm,
        Contender.PORTKEY: peers.portkey,
    }


@contextmanager
def nginx(folder: Path, urls: Mapping[Answer, str], *, core: int) -> Iterator[Server]:
    """Run nginx as a proxy that does nothing else: the limit."""
    with upstream.proxying(folder, urls, core=core) as (port, pid):
        proxied = {answer: upstream.base_url(port, answer) for answer in urls}
        worker_pid = upstream.worker_of(pid)
        yield Server(Contender.NGINX, proxied, pid, worker_pid)
