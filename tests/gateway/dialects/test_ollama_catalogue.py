"""How the Ollama dialect reads what models a server has."""

from __future__ import annotations

from typing import get_type_hints

import orjson
import pytest

from gateway.dialects.ollama import OllamaDialect, read_show
from gateway.errors import UpstreamError
from gateway.kinds import Fault
from gateway.snapshot import Capabilities

DIALECT = OllamaDialect()


def test_the_list_of_models_keeps_tags_and_what_ollama_says_of_them():
    data = orjson.dumps(
        {
            "models": [
                {
                    "name": "llama3:latest",
                    "model": "llama3:latest",
                    "capabilities": ["completion", "tools", "vision"],
                },
                {"name": "nomic:latest", "capabilities": ["embedding"]},
                {
                    "name": "gpt-oss:20b",
                    "details": {"family": "gptoss"},
                    "capabilities": ["completion", "thinking"],
                },
                {"name": "qwen3:8b", "capabilities": ["completion", "thinking"]},
                {"name": "old:7b"},
                {"size": 1},
                "junk",
            ]
        }
    )
    llama, nomic, gpt_oss, qwen, old = DIALECT.read_models(data)
    assert llama.name == "llama3:latest"
    assert llama.capabilities["tools"] is llama.capabilities["images"] is True
    assert llama.capabilities["embeddings"] is False
    assert llama.capabilities["reasoning"] == "none"
    assert (nomic.capabilities["chat"], nomic.capabilities["embeddings"]) == (
        False,
        True,
    )
    assert gpt_oss.capabilities["reasoning"] == "always"
    assert qwen.capabilities["reasoning"] == "budget"
    assert "chat" not in old.capabilities
    for model in (llama, nomic, gpt_oss, qwen, old):
        assert model.capabilities["image_urls"] is False
        assert set(model.capabilities) <= set(get_type_hints(Capabilities))


def test_a_server_without_models_is_no_fault():
    assert DIALECT.read_models(b'{"models": null}') == ()


@pytest.mark.parametrize("data", [b"", b"[]", b'{"models": 1}', b"<html>"])
def test_a_list_that_is_none_is_an_invalid_response(data):
    with pytest.raises(UpstreamError) as caught:
        DIALECT.read_models(data)
    assert caught.value.fault is Fault.INVALID_RESPONSE


@pytest.mark.parametrize(
    ("shown", "window"),
    [
        (
            {
                "model_info": {
                    "general.architecture": "llama",
                    "llama.context_length": 8192,
                }
            },
            8192,
        ),
        (
            {
                "parameters": 'stop   "x"\nnum_ctx                4096',
                "model_info": {
                    "general.architecture": "llama",
                    "llama.context_length": 8192,
                },
            },
            4096,
        ),
        ({"model_info": {"general.architecture": "llama"}}, None),
        ({}, None),
    ],
)
def test_the_window_is_what_the_server_will_load(shown, window):
    model = read_show(orjson.dumps(shown), name="x")
    assert (model.name, model.context_window) == ("x", window)


def test_show_says_what_the_model_can_do():
    shown = {"capabilities": ["completion", "tools"], "details": {"family": "llama"}}
    capabilities = read_show(orjson.dumps(shown), name="x").capabilities
    assert capabilities["tools"] is True
    assert capabilities["images"] is False
