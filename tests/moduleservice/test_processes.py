"""Scale and Shutdown, with a real supervisor and real workers behind them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from gateway.snapshot import Snapshot
from moduleservice.base import Host, Refusal
from moduleservice.pb import module_service_pb2, types_pb2
from moduleservice.processes import Processes
from moduleservice.supervisor_link import SupervisorLink
from moduleservice.supervisor_orders import MOST_WORKERS
from tests.ailb_project.raw_http import Connection
from tests.ailb_project.supervising import LINKED, Supervised, supervised

T = TypeVar("T")
INVALID = types_pb2.STATUS_CODE_INVALID_ARGUMENT
AWAY = types_pb2.STATUS_CODE_UNAVAILABLE


class NoDatabase:
    async def run(self, work: Callable[[], T]) -> T:
        raise AssertionError("processes need no database")


def no_snapshot() -> Snapshot:
    raise AssertionError("processes need no configuration")


def processes(supervisor: SupervisorLink | None) -> Processes:
    return Processes(Host("ailb-1", "v1", NoDatabase(), no_snapshot, supervisor))


@dataclass(frozen=True, slots=True)
class Place:
    running: Supervised
    end: socket.socket

    async def ask(self, rpc: str, request: Any) -> Any:
        """Call one RPC by a link that lives as long as this test's loop."""
        link = SupervisorLink(self.end.dup())
        try:
            return await getattr(processes(link), rpc)(request)
        finally:
            link.close()

    async def scale(
        self, low: int = 0, high: int = 0, *, immediate: bool = True
    ) -> module_service_pb2.ScaleResponse:
        config = types_pb2.ScalingConfig(min_instances=low, max_instances=high)
        request = module_service_pb2.ScaleRequest(config=config, immediate=immediate)
        answer: module_service_pb2.ScaleResponse = await self.ask("Scale", request)
        return answer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("supervised")
    spec: dict[str, Any] = {"workers": 1, "services": {"linked": LINKED}}
    with supervised(directory, linked="linked", **spec) as running:
        assert running.said() == "ready"
        _, end = running.take_link()
        with end:
            yield Place(running, end)


async def test_scale_brings_the_number_within_its_bounds(place: Place) -> None:
    answer = await place.scale()
    assert (answer.success, answer.current_instances, answer.desired_instances) == (True, 1, 1)  # fmt: skip
    answer = await place.scale(2, 4)
    assert (answer.success, answer.current_instances, answer.desired_instances) == (True, 2, 2)  # fmt: skip
    assert answer.message == "2 of 2 workers run."
    assert not answer.HasField("error")
    assert len(place.running.workers_told()) >= 2
    answer = await place.scale(1, 4)  # it is within them
    assert answer.desired_instances == 2
    answer = await place.scale(high=1, immediate=False)
    assert (answer.success, answer.desired_instances) == (True, 1)
    answer = await place.scale(high=1)
    assert answer.current_instances == 1


@pytest.mark.parametrize(
    ("bounds", "words"),
    [((3, 2), "3 is more than 2"), ((-1, 0), "from 1 to"), ((0, -1), "from 1 to"),
     ((MOST_WORKERS + 1, 0), "from 1 to 64"), ((1, MOST_WORKERS + 1), "from 1 to 64")],
)  # fmt: skip
async def test_bounds_that_are_none_are_refused(
    place: Place, bounds: tuple[int, int], words: str
) -> None:
    with pytest.raises(Refusal, match=words) as caught:
        await place.scale(*bounds)
    assert caught.value.code == INVALID
    assert (await place.scale()).desired_instances == 1


async def test_automatic_scaling_is_refused(place: Place) -> None:
    config = types_pb2.ScalingConfig(min_instances=2, auto_scaling_enabled=True)
    with pytest.raises(Refusal, match="does not scale by itself") as caught:
        await place.ask("Scale", module_service_pb2.ScaleRequest(config=config))
    assert caught.value.code == INVALID
    assert (await place.scale()).desired_instances == 1


REQUESTS = [
    ("Scale", module_service_pb2.ScaleRequest),
    ("Shutdown", module_service_pb2.ShutdownRequest),
]


@pytest.mark.parametrize(("rpc", "request_type"), REQUESTS)
async def test_another_instance_is_to_be_asked_itself(
    place: Place, rpc: str, request_type: type[Any]
) -> None:
    with pytest.raises(Refusal, match="ask the ModuleService of ailb-2") as caught:
        await place.ask(rpc, request_type(instance_id="ailb-2"))
    assert caught.value.code == INVALID
    assert caught.value.details == {"instance_id": "ailb-2"}


@pytest.mark.parametrize(("rpc", "request_type"), REQUESTS)
async def test_without_a_supervisor_it_is_unavailable(
    rpc: str, request_type: type[Any]
) -> None:
    with pytest.raises(Refusal, match="started by itself") as caught:
        await getattr(processes(None), rpc)(request_type(instance_id="ailb-1"))
    assert caught.value.code == AWAY
    other, end = socket.socketpair()
    other.close()
    link = SupervisorLink(end)
    with pytest.raises(Refusal, match="supervisor has gone") as caught:
        await getattr(processes(link), rpc)(request_type())
    assert caught.value.code == AWAY
    link.close()


async def test_a_negative_time_is_refused(place: Place) -> None:
    with pytest.raises(Refusal, match="timeout_seconds") as caught:
        await place.ask("Shutdown", module_service_pb2.ShutdownRequest(timeout_seconds=-1))  # fmt: skip
    assert caught.value.code == INVALID


async def test_shutdown_answers_and_lets_requests_end(place: Place) -> None:
    # The last of this place.
    with Connection(place.running.address) as client:
        client.get("/slow?0.3")
        place.running.wait_for("slow started")
        request = module_service_pb2.ShutdownRequest(
            instance_id="ailb-1", graceful=True, timeout_seconds=5
        )
        answer = await place.ask("Shutdown", request)
        place.end.close()  # nobody is left to take leave
        assert answer.success
        assert "ailb-1 stops" in answer.message
        assert client.answer().body == b"slow but done"
    assert place.running.exit_code() == 0
