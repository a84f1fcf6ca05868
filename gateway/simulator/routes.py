"""Which path speaks whose wire format, and how a refused request is told so."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson

from gateway.simulator import anthropic, ollama, openai
from gateway.simulator.exchange import Answer, Call, RefusalError, Vendor

Handler = Callable[[Call], Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """What answers a path. `is_call`: a model works, so the plan applies."""

    vendor: Vendor
    handler: Handler
    is_call: bool = False
    path_tail: str = ""


_ROUTES: dict[tuple[str, str], Route] = {
    ("POST", "/v1/chat/completions"): Route(Vendor.OPENAI, openai.chat, is_call=True),
    ("POST", "/v1/embeddings"): Route(Vendor.OPENAI, openai.embeddings, is_call=True),
    ("POST", "/v1/messages"): Route(Vendor.ANTHROPIC, anthropic.messages, is_call=True),
    ("POST", "/api/chat"): Route(Vendor.OLLAMA, ollama.chat, is_call=True),
    ("POST", "/api/embed"): Route(Vendor.OLLAMA, ollama.embed_texts, is_call=True),
    ("GET", "/api/tags"): Route(Vendor.OLLAMA, ollama.tags),
    ("POST", "/api/show"): Route(Vendor.OLLAMA, ollama.show),
    ("GET", "/api/version"): Route(Vendor.OLLAMA, ollama.version),
    ("GET", "/api/ps"): Route(Vendor.OLLAMA, ollama.running),
}
_MODELS = "/v1/models"
_ALL = frozenset(Vendor)


def find_route(
    method: str,
    path: str,
    headers: Mapping[str, str],
    *,
    spoken: frozenset[Vendor] = _ALL,
) -> Route:
    """Find what answers; an unknown path gets the 404 of the likeliest vendor."""
    route = _ROUTES.get((method, path))
    if route is None and method == "GET":
        route = _models_route(path, headers, spoken)
    if route is not None and route.vendor in spoken:
        return route
    vendor = _likely_vendor(path, headers, spoken)

    def refuse(_call: Call) -> Answer:
        message = {
            Vendor.OPENAI: f"Invalid URL ({method} {path})",
            Vendor.ANTHROPIC: "Not found",
            Vendor.OLLAMA: "404 page not found",
        }[vendor]
        raise RefusalError(404, message)

    return Route(vendor, refuse)


def check_key(vendor: Vendor, headers: Mapping[str, str], expected: str | None) -> None:
    """Raise the vendor's 401 when a key is expected and another or none was sent.

    Anthropic takes x-api-key and a bearer token, the others a bearer token.
    """
    if expected is None:
        return
    scheme, _, given = headers.get("authorization", "").partition(" ")
    keys = [given.strip()] if scheme.lower() == "bearer" else []
    if vendor is Vendor.ANTHROPIC and "x-api-key" in headers:
        keys = [headers["x-api-key"]]
    wanted = expected.encode()
    if not any(hmac.compare_digest(key.encode(), wanted) for key in keys):
        raise RefusalError(401)


def read_body(vendor: Vendor, raw: bytes) -> dict[str, object]:
    """Parse a JSON object; raise the vendor's 400 for anything else."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    if isinstance(body, dict):
        return body
    if vendor is Vendor.OPENAI:
        raise RefusalError(
            400,
            "We could not parse the JSON body of your request. (HINT: This likely means"
            " you aren't using your HTTP library correctly. The OpenAI API expects a"
            " JSON payload, but what was sent was not valid JSON.)",
        )
    if vendor is Vendor.ANTHROPIC:
        raise RefusalError(400, "The request body is not valid JSON.")
    raise RefusalError(400, "missing request body" if not raw else "invalid JSON")


def _models_route(
    path: str, headers: Mapping[str, str], spoken: frozenset[Vendor]
) -> Route | None:
    if path != _MODELS and not path.startswith(f"{_MODELS}/"):
        return None
    module: Handler
    tail = path.removeprefix(_MODELS).strip("/")
    if _speaks_anthropic(headers, spoken):
        module = anthropic.get_model if tail else anthropic.list_models
        return Route(Vendor.ANTHROPIC, module, path_tail=tail)
    module = openai.get_model if tail else openai.list_models
    return Route(Vendor.OPENAI, module, path_tail=tail)


def _speaks_anthropic(headers: Mapping[str, str], spoken: frozenset[Vendor]) -> bool:
    if Vendor.ANTHROPIC not in spoken:
        return False
    return "anthropic-version" in headers or Vendor.OPENAI not in spoken


def _likely_vendor(
    path: str, headers: Mapping[str, str], spoken: frozenset[Vendor]
) -> Vendor:
    if len(spoken) == 1:
        return next(iter(spoken))
    if path.startswith("/api/") and Vendor.OLLAMA in spoken:
        return Vendor.OLLAMA
    if path.startswith("/v1/messages") or _speaks_anthropic(headers, spoken):
        return Vendor.ANTHROPIC
    return Vendor.OPENAI
