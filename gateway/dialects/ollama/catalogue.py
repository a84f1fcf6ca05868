"""What an Ollama server has: the answers of `/api/tags` and `/api/show` (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import orjson

from gateway.dialects.faults import invalid_response
from gateway.dialects.record import UpstreamModel

# What no model behind this API can do, or what this dialect cannot say to it.
_NEVER: Mapping[str, object] = {
    "forced_tool_choice": False,
    "image_urls": False,
    "files": False,
    "audio": False,
    "choices": False,
}
_LEVELLED_FAMILIES = {"gptoss", "gpt-oss"}
_NUM_CTX = re.compile(r"^num_ctx\s+(\d+)\s*$", re.MULTILINE)


def read_models(data: bytes) -> tuple[UpstreamModel, ...]:
    """Read `/api/tags`; names come as Ollama gives them, the tag (`:latest`) included.

    Raises:
        UpstreamError: INVALID_RESPONSE when it is no list of models.

    """
    models = _read_object(data).get("models")
    # A server without models says null.
    if models is None:
        models = []
    if not isinstance(models, list):
        raise invalid_response("'models' is not a list")
    return tuple(model for entry in models if (model := _read_entry(entry)) is not None)


def read_show(data: bytes, *, name: str) -> UpstreamModel:
    """Read `/api/show` for the model of that name.

    The context window is the `num_ctx` that its Modelfile sets, which is what the server
    loads it with, else the architecture's `context_length`, else None.

    Raises:
        UpstreamError: INVALID_RESPONSE when it is not a JSON object.

    """
    shown = _read_object(data)
    return UpstreamModel(
        name=name,
        capabilities=_read_capabilities(shown),
        context_window=_read_window(shown),
    )


def _read_object(data: bytes) -> dict[str, object]:
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise invalid_response("it is not JSON") from error
    if not isinstance(parsed, dict):
        raise invalid_response("it is not an object")
    return parsed


def _read_entry(entry: object) -> UpstreamModel | None:
    """Read one entry; None for one without a name, which nobody could call."""
    if not isinstance(entry, dict):
        return None
    name = entry.get("model") or entry.get("name")
    if not isinstance(name, str) or not name:
        return None
    return UpstreamModel(name=name, capabilities=_read_capabilities(entry))


def _read_capabilities(entry: Mapping[str, object]) -> dict[str, object]:
    """Map Ollama's list to `gateway.snapshot.Capabilities`; older servers have none."""
    capabilities = dict(_NEVER)
    said = entry.get("capabilities")
    if not isinstance(said, list):
        return capabilities
    capabilities |= {
        "chat": "completion" in said,
        "embeddings": "embedding" in said,
        "tools": "tools" in said,
        "images": "vision" in said,
        "reasoning": _read_reasoning(entry) if "thinking" in said else "none",
    }
    return capabilities


def _read_reasoning(entry: Mapping[str, object]) -> str:
    """Tell models that think by level, always, from those with a switch."""
    details = entry.get("details")
    family = details.get("family") if isinstance(details, dict) else None
    return "always" if family in _LEVELLED_FAMILIES else "budget"


def _read_window(shown: Mapping[str, object]) -> int | None:
    parameters = shown.get("parameters")
    if isinstance(parameters, str) and (found := _NUM_CTX.search(parameters)):
        return int(found.group(1)) or None
    info = shown.get("model_info")
    if not isinstance(info, dict):
        return None
    window = info.get(f"{info.get('general.architecture')}.context_length")
    return window if isinstance(window, int) and window > 0 else None
