"""What an operator installs: licence, pins, image, compose file, build replay."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from benchmarks import upstream
from benchmarks.load import read_run
from benchmarks.processes import BenchmarkFailed, cpu_seconds
from deploy.dockerfile import (
    Instruction,
    context_files,
    exec_form,
    ignore_rules,
    is_ignored,
    parse,
)
from deploy.image_build import Builder, uid_made_by
from rag import packaged_model

ROOT = Path(__file__).resolve().parent.parent
AGPL_SHA256 = "d8a6cc31abc16b6748c7a21f21611f5a1ec33f67d22ca23d7da1c19b95496bee"
AGPL_BEGINNING = b"GNU AFFERO GENERAL PUBLIC LICENSE\n"


def steps() -> tuple[Instruction, ...]:
    return parse((ROOT / "Dockerfile").read_text())


def last(keyword: str) -> str:
    return [step.rest for step in steps() if step.keyword == keyword][-1]


def stage(number: int) -> tuple[Instruction, ...]:
    """Give the steps of one stage, 0 the first and -1 the image itself."""
    found = steps()
    starts = [i for i, step in enumerate(found) if step.keyword == "FROM"]
    ends = [*starts[1:], len(found)]
    return found[starts[number] : ends[number]]


def requirements(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text().splitlines()
    return [Requirement(line) for line in lines if line and line[0] not in "#-"]


def pins(name: str) -> dict[str, str]:
    found = {}
    for requirement in requirements(name):
        specifiers = list(requirement.specifier)
        assert [s.operator for s in specifiers] == ["=="], requirement
        found[canonical(requirement.name)] = specifiers[0].version
    return found


def canonical(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def test_the_licence_ends_with_the_whole_agpl_unchanged() -> None:
    licence = (ROOT / "LICENSE").read_bytes()
    start = licence.index(AGPL_BEGINNING)
    assert hashlib.sha256(licence[start:]).hexdigest() == AGPL_SHA256
    preamble = licence[:start].decode()
    assert "governs" in preamble
    assert len(preamble.splitlines()) <= 30


def test_every_pin_is_exact_and_the_constraints_agree() -> None:
    constrained = pins("constraints.txt")
    direct = pins("requirements.txt") | pins("requirements-dev.txt")
    assert direct.items() <= constrained.items()


def test_plain_pip_gets_the_constraints_from_requirements_txt() -> None:
    assert "-c constraints.txt" in (ROOT / "requirements.txt").read_text().splitlines()
    dev = (ROOT / "requirements-dev.txt").read_text().splitlines()
    assert "-r requirements.txt" in dev


def test_the_pins_lie_within_the_ranges_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ranges = [Requirement(text) for text in project["dependencies"]]
    pinned = pins("requirements.txt")
    assert {canonical(r.name) for r in ranges} == set(pinned)
    outside = [r for r in ranges if not r.specifier.contains(pinned[canonical(r.name)])]
    assert outside == []


def test_ci_runs_check_then_test_and_nothing_else() -> None:
    script = ROOT / ".ci" / "run"
    commands = [
        line
        for line in script.read_text().splitlines()
        if line and not line.startswith(("#", "set ", "cd "))
    ]
    assert commands == ["make check", "make test"]
    assert os.access(script, os.X_OK)


def test_the_image_serves_as_a_user_without_rights() -> None:
    assert last("USER") == "ailb"
    assert uid_made_by(steps(), "ailb") == 10001
    assert exec_form(last("CMD")) == ["python", "manage.py", "serve"]
    assert last("STOPSIGNAL") == "SIGTERM"
    assert last("EXPOSE").split() == ["8080", "50051"]
    assert last("VOLUME") == "/app/ailb_memory"
    for setting in ("AILB_AUTH=required", "HOST=0.0.0.0", "PYTHONUNBUFFERED=1"):
        assert setting in last("ENV").split()


def test_the_image_gets_code_and_nothing_private(tmp_path: Path) -> None:
    for name in (
        "manage.py",
        "gateway/models/provider.py",
        "gateway/__pycache__/x.pyc",
        "data/secrets/key",
        ".env",
        ".git/config",
        "tests/test_x.py",
        "requirements.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / ".dockerignore").write_text((ROOT / ".dockerignore").read_text())
    assert set(context_files(tmp_path)) == {
        "manage.py",
        "gateway/models/provider.py",
        "requirements.txt",
    }


def test_every_package_of_ours_is_copied_into_the_image() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    copied = {word for s in stage(-1) if s.keyword == "COPY" for word in s.rest.split()}
    rules = ignore_rules((ROOT / ".dockerignore").read_text())
    assert {"ailb_project", "gateway", "memory", "rag"} <= packages
    for package in packages:
        assert package in copied
        assert not is_ignored(f"{package}/models.py", rules)


def test_the_embedding_model_is_exported_while_the_image_is_built() -> None:
    build = [f"{step.keyword} {step.rest}" for step in stage(0)]
    packages = build.index("RUN pip install -r requirements.txt")
    code = build.index("COPY rag rag")
    assert packages < code < build.index("RUN python -m rag.onnx_export")
    # It lands in the environment, which is what the image takes of that stage.
    assert packaged_model.INSTALLED.is_relative_to(sys.prefix)
    assert "--from=builder /opt/venv /opt/venv" in {step.rest for step in stage(-1)}


@pytest.mark.parametrize(
    ("rules", "path", "ignored"),
    [
        ("*\n!a", "a/b.py", False),
        ("*\n!a", "c/b.py", True),
        ("**/x", "a/b/x", True),
        ("**/x", "x/y", True),
        ("*.py", "a/b.py", False),
        ("*.py", "b.py", True),
        ("a/?.py", "a/b.py", True),
        ("# a", "a", False),
        ("a\n!a/keep", "a/keep/me", False),
    ],
)
def test_dockerignore_rules(rules: str, path: str, ignored: bool) -> None:
    assert is_ignored(path, ignore_rules(rules)) is ignored


def test_a_continued_instruction_is_one_and_comments_inside_are_none() -> None:
    text = "# first\nENV A=1 \\\n    # why\n    B=2\nRUN true\n"
    assert parse(text) == (
        Instruction("ENV", "A=1 B=2", 2),
        Instruction("RUN", "true", 5),
    )


def replay(tmp_path: Path, dockerfile: str) -> Builder:
    context, folder = tmp_path / "context", tmp_path / "folder"
    context.mkdir()
    folder.mkdir()
    (context / "Dockerfile").write_text(dockerfile)
    (context / "file").write_text("x")
    return Builder(context, folder)


def test_the_replay_keeps_stages_apart_and_translates_paths(tmp_path: Path) -> None:
    image = replay(
        tmp_path,
        "FROM python:3.11-slim AS one\n"
        "RUN mkdir -p /opt/venv /build && echo y > /opt/venv/y && touch /build/z\n"
        "FROM python:3.11-slim\n"
        "COPY --from=one /opt/venv /opt/venv\n"
        "WORKDIR /app\n"
        "COPY file ./\n"
        "ENV PLACE=/app/data\n"
        'RUN test "$(cat /opt/venv/y)" = y && mkdir "$PLACE"\n',
    ).build()
    assert (image.root / "app" / "file").read_text() == "x"
    assert (image.root / "app" / "data").is_dir()
    assert not (image.root / "build").exists()


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("RUN false", subprocess.CalledProcessError),
        ("COPY absent /app/", FileNotFoundError),
        ("COPY --from=one /opt/venv /opt/venv", FileNotFoundError),
        ("ONBUILD RUN true", ValueError),
        ("FROM debian:12", ValueError),
        ('CMD python "x"', ValueError),
    ],
)
def test_the_replay_fails_where_a_build_would(
    tmp_path: Path, step: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        replay(tmp_path, f"FROM python:3.11-slim\n{step}\n").build()


def test_the_compose_file_needs_no_variable_and_leaves_time_to_drain() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    ailb, postgres = compose["services"]["ailb"], compose["services"]["postgres"]
    assert ailb["image"] == "marchproxy/ailb"
    assert ailb["stop_grace_period"] == "40s"
    assert ailb["volumes"] == ["ailb_memory:/app/ailb_memory"]
    assert postgres["profiles"] == ["scale"]
    assert ailb["depends_on"]["postgres"]["required"] is False
    interpolated = re.findall(r"\$\{(\w+)(:-)?", (ROOT / "compose.yaml").read_text())
    assert all(default for _, default in interpolated)


def test_the_benchmarks_stream_is_what_openai_sends() -> None:
    events = upstream.stream_events()
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == len(upstream.WORDS)
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    # A quote would end nginx's string, a dollar sign would begin a variable.
    assert not set("'$\\") & set("".join(events) + upstream.whole_answer())


def test_a_benchmark_run_with_a_failed_request_gives_no_figure() -> None:
    good = {
        "requests": 500,
        "seconds": 2.0,
        "p50_ms": 1.5,
        "p99_ms": 9.0,
        "status_errors": 0,
        "socket_errors": 0,
    }
    run = read_run(f"Running 2s test\n{json.dumps(good)}\n")
    assert (run.requests_per_s, run.p50_ms, run.p99_ms) == (250.0, 1.5, 9.0)
    for fault in ({"status_errors": 1}, {"socket_errors": 1}, {"requests": 0}):
        with pytest.raises(BenchmarkFailed):
            read_run(json.dumps(good | fault))
    with pytest.raises(BenchmarkFailed):
        read_run("unable to connect")


def test_processor_time_counts_the_children() -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass\ninput()"
    shell = f"{sys.executable} -c '{busy}'; true"
    with subprocess.Popen(
        ["/bin/sh", "-c", shell], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        while (seen := cpu_seconds(parent.pid)) < 0.25:
            assert parent.poll() is None
        assert parent.stdin is not None
        parent.stdin.close()
    assert seen >= 0.25
