"""The RPCs on routes, against the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from django.conf import settings
from django.utils import timezone

from gateway.config_rows import read_rows
from gateway.database_threads import DatabaseThreads
from gateway.errors import NotReady
from gateway.kinds import Algorithm, Source
from gateway.models import Deployment, Heartbeat, Model, Provider
from gateway.snapshot import Snapshot, Strategy
from gateway.snapshot_compiler import compile_rows
from moduleservice.base import Host, Refusal
from moduleservice.pb import module_service_pb2 as rpc, types_pb2
from moduleservice.route_messages import route_change
from moduleservice.routes import Routes

CHAT = "/v1/chat/completions"
INVALID_ARGUMENT = types_pb2.STATUS_CODE_INVALID_ARGUMENT

on_database = pytest.mark.django_db(transaction=True)


class Stage:
    """The part on the test database, and the configuration that is said to serve."""

    def __init__(self, database: DatabaseThreads) -> None:
        self.database = database
        self.snapshot: Snapshot | None = None
        self.routes = Routes(Host("own", "v1", database, self.serving))

    def serving(self) -> Snapshot:
        if self.snapshot is None:
            raise NotReady("Not yet.")
        return self.snapshot

    async def serve(self) -> None:
        """Let what the rows say be what serves."""
        self.snapshot = await self.database.run(
            lambda: compile_rows(
                read_rows(),
                keys=settings.AILB_ENCRYPTION_KEYS,
                default_strategy="random",
            )
        )

    async def update(self, *routes: types_pb2.Route, **fields: Any) -> Any:
        return await self.routes.UpdateRoutes(
            rpc.UpdateRoutesRequest(routes=routes, **fields)
        )

    async def listed(self, **query: Any) -> rpc.GetRoutesResponse:
        return await self.routes.GetRoutes(
            rpc.GetRoutesRequest(query=types_pb2.Query(**query))
        )

    async def can_handle(self, **metadata: str) -> rpc.CanHandleResponse:
        route = types_pb2.Route(path_pattern=CHAT, metadata=metadata)
        return await self.routes.CanHandle(rpc.CanHandleRequest(route=route))


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    database = DatabaseThreads(1, name="tests")
    await database.run(make_provider)
    yield Stage(database)
    await database.aclose(limit_s=5)


def make_provider() -> None:
    Provider.objects.create(name="a", kind="openai", base_url="http://a/v1")


def make_owned() -> None:
    Deployment.objects.create(
        model=Model.objects.create(name="theirs", source=Source.ENVIRONMENT),
        provider=Provider.objects.get(name="a"),
        upstream_model="theirs",
        source=Source.ENVIRONMENT,
    )


def heartbeat(state: str) -> None:
    Heartbeat.objects.create(
        worker="w",
        instance="own",
        run="r",
        pid=1,
        started_at=timezone.now(),
        beat_at=timezone.now(),
        config_revision=1,
        report={"breakers": {"a": {"m": state}}},
    )


def route(name: str = "m", *deployments: Any, **fields: Any) -> types_pb2.Route:
    """Give a route; deployments are as in its metadata."""
    metadata = {"model": name, **fields.pop("metadata", {})}
    listed = list(deployments) or [{"provider": "a"}]
    return types_pb2.Route(
        route_id=name,
        protocol=types_pb2.PROTOCOL_HTTP,
        path_pattern=CHAT,
        metadata={"deployments": orjson.dumps(listed).decode(), **metadata},
        **fields,
    )


@on_database
async def test_a_route_is_made_read_filtered_and_deleted(stage: Stage) -> None:
    weighted = {"provider": "a", "weight": 3, "version": "v2", "priority": 4}
    strategy = {"strategy": "random", "fallbacks": "n, auto", "enabled": "false"}
    answer = await stage.update(route("m", weighted, metadata=strategy), route("n"))
    assert (answer.success, answer.routes_updated) == (True, 2)
    listed = await stage.listed()
    assert (listed.total_routes, listed.pagination.total_items) == (2, 2)
    found = listed.routes[0]
    assert (found.route_id, found.protocol) == ("m", types_pb2.PROTOCOL_HTTP)
    assert (found.path_pattern, found.priority) == (CHAT, 4)
    deployments = orjson.loads(found.metadata.pop("deployments"))
    assert dict(found.metadata) == {
        "model": "m",
        "enabled": "false",
        "strategy": "random",
        "fallbacks": "n,auto",
        "source": "operator",
    }
    own = {"upstream_model": "m", "enabled": True, "source": "operator"}
    assert deployments == [{**weighted, **own}]
    versions = [types_pb2.Filter(field="version", operator="eq", value="v2")]
    assert [
        each.route_id for each in (await stage.listed(filters=versions)).routes
    ] == ["m"]
    deleted = await stage.routes.DeleteRoute(rpc.DeleteRouteRequest(route_id="m"))
    assert deleted.success
    assert [each.route_id for each in (await stage.listed()).routes] == ["n"]


@on_database
async def test_routes_that_come_back_as_they_were_read_change_nothing(
    stage: Stage,
) -> None:
    await stage.database.run(make_owned)
    await stage.update(route("m", metadata={"fallbacks": "theirs"}))
    listed = await stage.listed()
    answer = await stage.update(*listed.routes, replace_all=True)
    assert (answer.success, answer.routes_updated) == (True, 0)
    assert await stage.listed() == listed


@on_database
async def test_what_is_refused_is_refused_as_a_whole_with_its_code(
    stage: Stage,
) -> None:
    await stage.database.run(make_owned)
    denied = types_pb2.STATUS_CODE_PERMISSION_DENIED
    not_found = types_pb2.STATUS_CODE_NOT_FOUND
    delete = stage.routes.DeleteRoute
    for work, code, words in (
        (stage.update(route("m"), replace_all=True), denied, "'theirs' comes from"),
        (delete(rpc.DeleteRouteRequest(route_id="theirs")), denied, "would come back"),
        (delete(rpc.DeleteRouteRequest(route_id="x")), not_found, "There is no route"),
        (stage.update(route("m"), route("auto")), INVALID_ARGUMENT, "'auto' is no"),
        (
            stage.update(route("m"), route("n", {"provider": "b"})),
            INVALID_ARGUMENT,
            "Route 'n': deployments[0]: provider: there is none called 'b'",
        ),
        (stage.update(*[route("m")] * 501), INVALID_ARGUMENT, "At most 500 routes"),
    ):
        with pytest.raises(Refusal) as caught:
            await work
        assert caught.value.code == code
        assert words in caught.value.message
    assert [each.route_id for each in (await stage.listed()).routes] == ["theirs"]


@on_database
async def test_what_is_not_kept_is_told(stage: Stage) -> None:
    given = route("m", metadata={"team": "red"}, headers={"x": "y"}, source_port=80)
    answer = await stage.update(given)
    assert answer.message == (
        "1 routes were given, 1 were changed or deleted. AILB does not look at: "
        "headers, metadata team, source_port."
    )


@on_database
async def test_what_can_be_handled_follows_configuration_and_health(
    stage: Stage,
) -> None:
    assert (await stage.can_handle(model="m")).reason == "Not yet."
    await stage.update(route("m", {"provider": "a", "priority": 6}))
    await stage.serve()
    assert (await stage.can_handle(model="m")).reason == "No worker is live."
    await stage.database.run(lambda: heartbeat("ready"))
    answer = await stage.can_handle(model="m")
    assert (answer.can_handle, answer.priority) == (True, 6)
    assert answer.metadata["model"] == "m"
    shut = {"breakers": {"a": {"m": "open"}}}
    await stage.database.run(lambda: Heartbeat.objects.update(report=shut))
    answer = await stage.can_handle(model="m")
    assert not answer.can_handle
    assert "cannot be asked now" in answer.reason


class AwayDatabase:
    """A database that does not answer."""

    async def run(self, work: object) -> Any:
        raise OSError("away")


async def test_without_its_database_the_configuration_says_what_can_be_handled() -> (
    None
):
    strategy = Strategy(name="random", algorithm=Algorithm.RANDOM)
    empty = Snapshot(
        revision=1, providers={}, models={}, aliases={}, default_strategy=strategy
    )
    part = Routes(Host("own", "v1", AwayDatabase(), lambda: empty))
    answer = await part.CanHandle(rpc.CanHandleRequest())
    assert answer.reason == "No model is served at /v1/chat/completions."
    reading = types_pb2.Route(path_pattern="/v1/models")
    assert (await part.CanHandle(rpc.CanHandleRequest(route=reading))).can_handle


BAD = [
    (types_pb2.Route(), "route_id or metadata model must name"),
    (route("m", metadata={"model": "n"}), "name different models"),
    (route(metadata={"enabled": "yes"}), "metadata enabled: allowed are true and"),
    (route(metadata={"deployments": "{"}), "metadata deployments: not JSON"),
    (route(metadata={"deployments": "{}"}), "metadata deployments: allowed is a JSON"),
    (route("m", 5), "deployments[0]: allowed is a JSON object"),
    (route("m", {"upstream_model": "m"}), "deployments[0].provider: must be given"),
    (route("m", {"provider": "a", "x": 1}), "deployments[0].x: unknown"),
    (route("m", {"provider": 5}), "deployments[0].provider: not a value of the"),
    (route("m", {"provider": "a", "weight": True}), "deployments[0].weight: not a"),
    (route("m", {"provider": "a", "enabled": 1}), "deployments[0].enabled: not a"),
]


@pytest.mark.parametrize(("bad", "words"), BAD)
def test_a_message_that_is_no_route_is_refused_by_name(
    bad: types_pb2.Route, words: str
) -> None:
    with pytest.raises(Refusal) as caught:
        route_change(bad)
    assert words in caught.value.message
    assert caught.value.code == INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("protocol", "is_served"),
    [
        (types_pb2.PROTOCOL_UNSPECIFIED, True),
        (types_pb2.PROTOCOL_HTTPS, True),
        (types_pb2.PROTOCOL_GRPC, False),
    ],
)
def test_only_routes_of_http_are_kept(
    protocol: types_pb2.Protocol, is_served: bool
) -> None:
    given = types_pb2.Route(metadata={"model": "m"}, protocol=protocol)
    if is_served:
        assert route_change(given).name == "m"
    else:
        with pytest.raises(Refusal, match="protocol: allowed are HTTP and HTTPS"):
            route_change(given)
