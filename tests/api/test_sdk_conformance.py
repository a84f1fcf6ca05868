"""The tests that OpenAI generates for its own API, run against AILB unchanged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from gateway.simulator import Behaviour
from tests.api.gateway_process import ROOT, Gateway
from tests.api.openai_sdist import Outcome, fetch_sdist, run_tests
from tests.upstreams.simulators import RunningSimulator, running_simulator

CHAT_FILE = "tests/api_resources/chat/test_completions.py"
MODELS_FILE = "tests/api_resources/test_models.py"
EMBEDDINGS_FILE = "tests/api_resources/test_embeddings.py"
SELECT = (
    "(Completions and create)"
    " or (Models and (list or retrieve))"
    " or (Embeddings and create)"
)
# Sync twice (loose and strict) and async three times (and over aiohttp): 5 runs each.
EXPECTED = {"Completions": 8 * 5, "Models": 7 * 5, "Embeddings": 4 * 5}
NAMED_MODELS = re.compile(r'model="([^"]+)"|retrieve\(\s*"([^"]+)"')


@pytest.fixture(scope="module")
def sim() -> Iterator[RunningSimulator]:
    """OpenAI's stand-in; strict validation of the SDK wants vectors as floats."""
    with running_simulator(behaviour=Behaviour(floats_only=True)) as running:
        yield running


@pytest.fixture(scope="module")
def sdist(request: pytest.FixtureRequest) -> Path:
    cache = request.config.cache
    assert cache is not None
    return fetch_sdist(cache.mkdir("openai-sdist"))


@pytest.fixture(scope="module")
def outcome(
    gateway: Gateway,
    sim: RunningSimulator,
    sdist: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Outcome:
    """One run of the whole selection."""
    files = (CHAT_FILE, MODELS_FILE, EMBEDDINGS_FILE)
    text = "".join((sdist / file).read_text(encoding="utf-8") for file in files)
    named = {one or other for one, other in NAMED_MODELS.findall(text)}
    gateway.add_provider("openai", "openai", sim, models=sorted(named))
    gateway.apply()
    return run_tests(
        sdist,
        files,
        select=SELECT,
        base_url=f"{gateway.url}/v1",
        report=tmp_path_factory.mktemp("sdk") / "report.xml",
    )


def test_every_generated_test_of_our_routes_passes(outcome: Outcome) -> None:
    assert not outcome.failed, outcome.output
    assert not outcome.skipped, outcome.output
    counted = {
        name: sum(
            f".Test{name}::" in test or f".TestAsync{name}::" in test
            for test in outcome.passed
        )
        for name in EXPECTED
    }
    assert counted == EXPECTED, outcome.output


def test_the_generated_tests_really_reached_the_upstream(
    outcome: Outcome, sim: RunningSimulator
) -> None:
    # Each create but none of the lists is one call; nothing was retried.
    assert len(outcome.passed) == sum(EXPECTED.values())
    wanted = EXPECTED["Completions"] + EXPECTED["Embeddings"]
    assert len(sim.calls) == wanted


def test_the_documented_figures_are_those_of_this_run() -> None:
    text = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    assert f"`openai` {openai.__version__}" in text
    assert f"{sum(EXPECTED.values())} tests" in text
