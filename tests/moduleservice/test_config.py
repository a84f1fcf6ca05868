"""The RPCs on configuration, against the database."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from gateway.config_documents import TYPES
from gateway.database_threads import DatabaseThreads
from gateway.models import Provider
from gateway.snapshot import Snapshot
from moduleservice.base import Host, Refusal
from moduleservice.config import Config
from moduleservice.pb import module_service_pb2 as rpc, types_pb2

pytestmark = pytest.mark.django_db(transaction=True)

CANARY = "sk-credential-canary-0123456789wxyz"


def no_snapshot() -> Snapshot:
    raise AssertionError("documents are rows")


@pytest.fixture
async def config() -> AsyncIterator[Config]:
    database = DatabaseThreads(1, name="tests")
    await database.run(make_provider)
    yield Config(Host("own", "v1", database, no_snapshot))
    await database.aclose(limit_s=5)


def make_provider() -> None:
    Provider.objects.create(
        name="a", kind="openai", base_url="http://a/v1", credential=CANARY
    )


async def read(config: Config, config_type: str = "") -> rpc.GetConfigResponse:
    return await config.GetConfig(rpc.GetConfigRequest(config_type=config_type))


async def give(config: Config, *rows: Any, **fields: Any) -> rpc.UpdateConfigResponse:
    validate_only = fields.pop("validate_only", False)
    data = orjson.dumps({"providers": rows})
    update = types_pb2.ConfigUpdate(
        **{"config_type": "providers", "config_data": data, **fields}
    )
    return await config.UpdateConfig(
        rpc.UpdateConfigRequest(config=update, validate_only=validate_only)
    )


async def test_every_document_is_given_with_its_checksum_and_no_secret(
    config: Config,
) -> None:
    answer = await read(config)
    assert [each.config_type for each in answer.configs] == list(TYPES)
    for each in answer.configs:
        assert each.checksum == hashlib.sha256(each.config_data).hexdigest()
        assert orjson.loads(each.config_data).keys() == TYPES[each.config_type].keys()
        assert int(each.metadata["revision"]) > 0
    assert CANARY.encode() not in answer.SerializeToString()
    read_only = [
        c.config_id for c in answer.configs if c.metadata["read_only"] == "true"
    ]
    assert read_only == ["api_keys"]
    (providers,) = (await read(config, "providers")).configs
    assert answer.last_updated.ToDatetime() >= providers.updated_at.ToDatetime()
    with pytest.raises(Refusal, match="known are providers, models") as caught:
        await read(config, "telepathy")
    assert caught.value.code == types_pb2.STATUS_CODE_NOT_FOUND


async def test_a_document_is_validated_and_then_applied(config: Config) -> None:
    row = {"name": "a", "weight": 7}
    checked = await give(config, row, validate_only=True)
    assert (checked.success, checked.validation_passed) == (True, True)
    assert checked.message.endswith("1 rows would change; nothing was changed.")
    (before,) = (await read(config, "providers")).configs
    assert orjson.loads(before.config_data)["providers"][0]["weight"] == 1
    applied = await give(config, row)
    assert (applied.success, applied.validation_passed) == (True, True)
    (after,) = (await read(config, "providers")).configs
    assert orjson.loads(after.config_data)["providers"][0]["weight"] == 7


async def test_a_document_with_faults_is_refused_with_all_of_them(
    config: Config,
) -> None:
    answer = await give(config, {"name": "a", "weight": 7}, {"name": "b"}, 5)
    assert (answer.success, answer.validation_passed) == (False, False)
    assert any("providers[1] (b): kind: " in each for each in answer.validation_errors)
    assert answer.validation_errors[-1] == "providers[2]: Allowed is a JSON object."
    assert answer.error.code == types_pb2.STATUS_CODE_INVALID_ARGUMENT
    assert answer.error.message == answer.message
    assert answer.message.startswith("Nothing was changed. providers[1] (b): ")
    (after,) = (await read(config, "providers")).configs
    assert orjson.loads(after.config_data)["providers"][0]["weight"] == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"config_type": ""}, "There is no type ''"),
        ({"checksum": "0" * 64}, "checksum"),
        ({"config_data": b"\xff"}, "not JSON"),
    ],
)
async def test_what_is_no_document_is_refused(
    config: Config, fields: dict[str, Any], words: str
) -> None:
    answer = await give(config, {"name": "a", "weight": 7}, **fields)
    assert not answer.success
    assert words in answer.validation_errors[0]
