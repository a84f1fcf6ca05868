"""Routes as rows: read, set as a whole, deleted; what belongs to others stays."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from gateway import revision
from gateway.errors import (
    ClientError,
    ConfigurationError,
    Conflict,
    InvalidRequest,
    NotFound,
)
from gateway.kinds import Source
from gateway.models import Deployment, Limit, Model, Provider
from gateway.route_rows import (
    CHAT_PATH,
    EMBEDDINGS_PATH,
    DeploymentChange,
    RouteChange,
    RouteRow,
    delete_route,
    matches,
    routes,
    update_routes,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def providers() -> None:
    Provider.objects.create(name="a", kind="openai", base_url="http://a/v1", priority=5)
    Provider.objects.create(name="b", kind="openai", base_url="http://b/v1")


def deployment(provider: str = "a", upstream: str = "up", **fields: Any) -> Any:
    version, source = fields.pop("version", ""), fields.pop("source", "")
    return DeploymentChange(provider, upstream, version, source, fields)


def route(name: str = "m", *deployments: Any, **fields: Any) -> RouteChange:
    return RouteChange(name, deployments=deployments or (deployment(),), **fields)


def the(name: str = "m") -> RouteRow:
    return next(row for row in routes() if row.name == name)


def owned_model(name: str, source: Source = Source.ENVIRONMENT) -> Deployment:
    return Deployment.objects.create(
        model=Model.objects.create(name=name, source=source),
        provider=Provider.objects.get(name="a"),
        upstream_model=name,
        source=source,
    )


def as_change(row: RouteRow) -> RouteChange:
    """Send a route back as it was read."""
    return RouteChange(
        name=row.name,
        priority=row.priority,
        path=row.path,
        source=row.source,
        values={
            "enabled": row.enabled,
            "strategy": row.strategy,
            "fallbacks": list(row.fallbacks),
        },
        deployments=tuple(
            DeploymentChange(
                each.provider,
                each.upstream_model,
                each.version,
                each.source,
                {
                    "weight": each.weight,
                    "priority": each.priority,
                    "enabled": each.enabled,
                },
            )
            for each in row.deployments
        ),
    )


def test_a_new_route_is_a_model_with_deployments_of_an_operator() -> None:
    given = route(
        "m",
        deployment("a", weight=7, version="v2"),
        deployment("b", enabled=False),
        values={"strategy": "random", "fallbacks": ["auto"]},
    )
    assert update_routes([given]) == 1
    row = the()
    assert (row.path, row.priority, row.strategy) == (CHAT_PATH, 5, "random")
    assert (row.source, row.fallbacks) == ("operator", ("auto",))
    first, second = row.deployments
    assert (first.weight, first.version, first.priority) == (7, "v2", None)
    assert (second.enabled, second.version, second.source) == (False, "v1", "operator")


def test_a_route_that_is_sent_back_as_it_was_read_changes_nothing() -> None:
    owned_model("theirs")
    update_routes([route(values={"fallbacks": ["theirs"]}), route("n", priority=3)])
    before, number = routes(), revision.current()
    assert update_routes(list(map(as_change, before)), replace_all=True) == 0
    assert (routes(), revision.current()) == (before, number)


def test_a_priority_is_set_where_none_is_stated() -> None:
    update_routes([route("m", deployment("a"), deployment("b", priority=9))])
    assert update_routes([RouteChange("m", priority=2)]) == 1
    assert [each.priority for each in the().deployments] == [2, 2]
    update_routes(
        [route("m", deployment("a"), deployment("b", priority=9), priority=4)]
    )
    assert [each.priority for each in the().deployments] == [4, 9]
    assert the().priority == 4


def test_only_enabled_deployments_of_enabled_providers_have_a_priority() -> None:
    update_routes([route("m", deployment("a"), deployment("b"))])
    assert the().priority == 0
    Provider.objects.filter(name="b").update(enabled=False)
    assert the().priority == 5
    Deployment.objects.update(enabled=False)
    assert the().priority == 0


def test_the_list_of_deployments_replaces_an_operators_own() -> None:
    theirs = owned_model("m")
    update_routes([route("m", deployment("a", "x"), deployment("b", "y"))])
    assert update_routes([route("m", deployment("b", "y", weight=3))]) == 1
    found = {each.upstream_model: each.weight for each in the().deployments}
    assert found == {theirs.upstream_model: 1, "y": 3}


def test_a_deployment_of_another_owner_may_be_weighted_and_labelled_anew() -> None:
    owned_model("m")
    change = deployment("a", "m", weight=4, priority=1, enabled=False)
    update_routes([route("m", replace(change, version="v1"))])
    row = Deployment.objects.get()
    assert (row.weight, row.priority, row.enabled) == (4, 1, False)
    assert (row.source, row.version) == (Source.ENVIRONMENT, "v1")


def test_another_version_of_an_operators_deployment_is_the_same_row() -> None:
    update_routes([route("m", deployment(version="v1"))])
    row = Deployment.objects.get()
    Deployment.objects.update(context_window=4000)
    update_routes([route("m", deployment(version="v2"))])
    relabelled = Deployment.objects.get(id=row.pk)
    assert (relabelled.version, relabelled.context_window) == ("v2", 4000)
    update_routes([route("m", deployment(version="v1"), deployment(version="v2"))])
    assert Deployment.objects.get(version="v2").pk == row.pk
    assert Deployment.objects.count() == 2


def test_another_version_of_an_owners_deployment_stands_beside_it() -> None:
    owned_model("m")
    update_routes([route("m", deployment("a", "m", version="v2"))])
    found = {each.version: each.source for each in the().deployments}
    assert found == {"v1": "environment", "v2": "operator"}


def test_a_route_for_embeddings_is_asked_at_its_own_path() -> None:
    update_routes([route(path=EMBEDDINGS_PATH)])
    assert the().path == EMBEDDINGS_PATH
    assert Deployment.objects.get().capabilities == {"chat": False, "embeddings": True}
    update_routes([replace(as_change(the()), path="/v1/*")])
    with pytest.raises(InvalidRequest, match="path_pattern: it is asked at /v1/embedd"):
        update_routes([replace(as_change(the()), path=CHAT_PATH)])


BAD = [
    (route("auto"), "'auto' is no route"),
    (route("a;b"), "Route 'a;b': name: The character ';'"),
    (RouteChange("m"), "Route 'm': deployments: a new route needs one"),
    (route("m", deployment("nobody")), r"'m': deployments\[0\]: provider: there is no"),
    (route("m", deployment(), deployment()), r"deployments\[1\]: .*already exists"),
    (route("m", deployment(weight=0)), r"deployments\[0\]: weight: "),
    (route("m", deployment(upstream=" x")), r"deployments\[0\]: upstream_model: "),
    (route(values={"strategy": "nobody"}), "strategy: there is none called 'nobody'"),
    (route(values={"fallbacks": ["nobody"]}), "fallbacks: No model is called nobody"),
    (route(values={"fallbacks": ["m"]}), "fallbacks: A model may not fall back to"),
    (route(source="environment"), "Route 'm': source: it is 'operator'"),
    (route("m", deployment(source="simulator")), r"deployments\[0\]: source: "),
    (route(path="/v2/*"), "path_pattern: it is asked at /v1/chat/completions"),
]


@pytest.mark.parametrize(("bad", "words"), BAD)
def test_a_bad_route_is_named_and_no_other_is_written(
    bad: RouteChange, words: str
) -> None:
    before, number = routes(), revision.current()
    with pytest.raises(ClientError) as caught:
        update_routes([route("good"), bad])
    assert re.search(words, caught.value.message), caught.value.message
    assert (routes(), revision.current()) == (before, number)


def test_routes_may_fall_back_to_each_other_in_one_list() -> None:
    pair = [
        route("m", values={"fallbacks": ["n"]}),
        route("n", values={"fallbacks": ["m"]}),
    ]
    assert update_routes(pair) == 2
    with pytest.raises(InvalidRequest, match="'m' is listed twice"):
        update_routes([pair[0], pair[0]])


def test_replacing_all_deletes_what_is_not_listed() -> None:
    update_routes([route("m"), route("n"), route("o")])
    assert update_routes([route("m", deployment(weight=2))], replace_all=True) == 3
    assert [row.name for row in routes()] == ["m"]


def test_replacing_all_is_refused_where_others_own_what_is_not_listed() -> None:
    owned_model("theirs")
    owned_model("found", Source.DISCOVERY)
    update_routes([route("mine")])
    with pytest.raises(Conflict) as caught:
        update_routes([route("new")], replace_all=True)
    assert "'theirs' comes from environment variables" in caught.value.message
    assert "'found' follows what the provider says" in caught.value.message
    assert {row.name for row in routes()} == {"theirs", "found", "mine"}


def test_a_deleted_route_is_gone_with_its_deployments_and_limits() -> None:
    update_routes([route()])
    Limit.objects.create(model=Model.objects.get(name="m"), amount=1)
    delete_route("m")
    assert (routes(), Deployment.objects.count(), Limit.objects.count()) == ([], 0, 0)
    with pytest.raises(NotFound, match="There is no route 'm'"):
        delete_route("m")
    with pytest.raises(InvalidRequest, match="'auto' is no route"):
        delete_route("auto")


def test_what_would_come_back_is_not_deleted_and_what_is_withdrawn_is() -> None:
    row = owned_model("m")
    with pytest.raises(
        Conflict, match="'m' comes from environment variables and would"
    ):
        delete_route("m")
    Model.objects.create(name="bare", source=Source.ENVIRONMENT)
    with pytest.raises(Conflict, match="'bare' comes from"):
        delete_route("bare")
    Deployment.objects.filter(id=row.pk).update(enabled_when_withdrawn=True)
    delete_route("m")
    assert [row.name for row in routes()] == ["bare"]


def test_rows_that_would_not_serve_are_refused() -> None:
    Provider.objects.filter(name="b").update(kind="telepathy")
    with pytest.raises(ConfigurationError, match="telepathy"):
        update_routes([route()])
    assert routes() == []


@pytest.mark.parametrize(
    ("pattern", "does_match"),
    [
        (CHAT_PATH, True),
        ("/v1/*", True),
        ("*", True),
        ("/v1/chat", False),
        ("/v2/*", False),
        ("", False),
    ],
)
def test_a_pattern_is_a_path_or_its_beginning(pattern: str, does_match: bool) -> None:
    assert matches(pattern, CHAT_PATH) is does_match
