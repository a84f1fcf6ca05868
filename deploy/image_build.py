"""Replays a Dockerfile's build steps in a plain folder that stands in for the image."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.dockerfile import (
    Instruction,
    assignments,
    context_files,
    exec_form,
    expand,
    parse,
)

# Only these paths of the image may be named by its steps; each stands for a folder
# below the stage's root.
IMAGE_PATHS = ("/opt/venv", "/app", "/build")
# What a build may inherit from the machine: how to reach packages, nothing of AILB.
_INHERITED = re.compile(r"HOME|PIP_.+|SSL_CERT_.+|(https?|no|all)_proxy", re.IGNORECASE)
_NOTHING_TO_RUN = {"LABEL"}


@dataclass(slots=True)
class Image:
    """What the steps so far have made."""

    root: Path
    env: dict[str, str]
    workdir: str = "/"
    user: str = "root"
    volumes: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    stop_signal: str = ""
    health_command: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def on_disk(self, path: str) -> Path:
        """Give the folder or file that stands for a path of the image."""
        return self.root / os.path.join(self.workdir, path).lstrip("/")  # noqa: PTH118

    def translated(self, text: str) -> str:
        """Replace the image's paths by those on disk."""
        for path in IMAGE_PATHS:
            text = re.sub(rf"(?<![\w./-]){path}(?![\w.-])", f"{self.root}{path}", text)
        return text

    def process_env(self, **extra: str) -> dict[str, str]:
        """Give the environment of a process in the image, and nothing of ours."""
        own = {name: self.translated(value) for name, value in self.env.items()}
        return {**own, **extra}


class Builder:
    """Builds every stage in turn; the current one always lives at the same root.

    A virtual environment remembers its path, so a finished stage is moved aside and
    what `COPY --from` takes of it lands where it was made.
    """

    def __init__(self, context: Path, folder: Path) -> None:
        """`context` is the folder with the Dockerfile, `folder` an empty one."""
        self._context = context
        self._folder = folder
        self._arguments: dict[str, str] = {}
        self._stage = ""
        self._files = tuple(context_files(context))
        self._base_path = f"{self._make_stand_ins()}:/usr/local/bin:/usr/bin:/bin"
        self.image = self._new_image()

    def build(self) -> Image:
        """Run all steps and return the last stage.

        Raises:
            ValueError: A step that this replay does not understand.
            subprocess.CalledProcessError: A RUN step failed.
            FileNotFoundError: A COPY names what its source does not have.

        """
        for step in parse((self._context / "Dockerfile").read_text()):
            print(f"{step.line:4}  {step.keyword} {step.rest[:100]}", flush=True)
            self._apply(step)
        return self.image

    def _new_image(self) -> Image:
        root = self._folder / "root"
        root.mkdir(mode=0o755)
        return Image(root=root, env={"PATH": self._base_path})

    def _make_stand_ins(self) -> Path:
        """Make commands that stand in for what must not touch this machine."""
        folder = self._folder / "stand-ins"
        folder.mkdir()
        (folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        names = ["useradd"] if os.geteuid() == 0 else ["useradd", "chown"]
        for name in names:
            (folder / name).write_text("#!/bin/sh\nexit 0\n")
        for path in folder.iterdir():
            path.chmod(0o755)
        return folder

    def _apply(self, step: Instruction) -> None:
        image = self.image
        rest = expand(step.rest, image.env) if step.keyword != "RUN" else step.rest
        match step.keyword:
            case "ARG":
                self._arguments |= assignments(step.rest, {})
            case "FROM":
                self._begin_stage(step.rest.split())
            case "ENV":
                image.env |= assignments(step.rest, image.env)
            case "WORKDIR":
                image.workdir = rest
                image.on_disk("").mkdir(parents=True, exist_ok=True)
            case "COPY":
                self._copy(shlex.split(rest))
            case "RUN":
                self._run(step.rest)
            case _:
                self._note(step.keyword, rest)

    def _note(self, keyword: str, rest: str) -> None:
        image = self.image
        match keyword:
            case "USER":
                image.user = rest
            case "VOLUME":
                image.volumes += rest.split()
            case "EXPOSE":
                image.ports += rest.split()
            case "STOPSIGNAL":
                image.stop_signal = rest
            case "HEALTHCHECK":
                image.health_command = exec_form(rest.partition(" CMD ")[2].strip())
            case "CMD":
                image.command = exec_form(rest)
            case _:
                if keyword not in _NOTHING_TO_RUN:
                    raise ValueError(f"this replay does not know {keyword}")

    def _begin_stage(self, words: list[str]) -> None:
        base = expand(words[0], self._arguments)
        if not base.startswith("python:3.11"):
            raise ValueError(f"the replay stands on Python 3.11, not on {base!r}")
        if self._stage:
            self.image.root.rename(self._folder / self._stage)
        elif any(self.image.root.iterdir()):
            raise ValueError("an unnamed stage is followed by another")
        else:
            self.image.root.rmdir()
        self._stage = words[2] if len(words) == 3 else ""
        self.image = self._new_image()

    def _run(self, command: str) -> None:
        image = self.image
        subprocess.run(
            ["/bin/sh", "-e", "-c", image.translated(command)],
            cwd=image.on_disk(""),
            env={**_inherited(), "PIP_QUIET": "1", **image.process_env()},
            check=True,
        )

    def _copy(self, words: list[str]) -> None:
        *sources, target = [word for word in words if not word.startswith("--")]
        options = dict(w[2:].split("=", 1) for w in words if w.startswith("--"))
        to = self.image.on_disk(target)
        if stage := options.get("from"):
            source = self._folder / stage / sources[0].lstrip("/")
            shutil.copytree(source, to, symlinks=True)
            return
        into = len(sources) > 1 or target.endswith("/") or target == "."
        for name in sources:
            self._copy_from_context(name, to, into=into)

    def _copy_from_context(self, name: str, to: Path, *, into: bool) -> None:
        """Copy a file, or what a folder contains, as COPY does."""
        inside = name.rstrip("/") + "/"
        found = [
            file for file in self._files if file == name or file.startswith(inside)
        ]
        if not found:
            raise FileNotFoundError(f"COPY {name}: the build context has no such file")
        for file in found:
            if file != name:
                target = to / file.removeprefix(inside)
            else:
                target = to / Path(name).name if into else to
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self._context / file, target)


def _inherited() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if _INHERITED.fullmatch(k)}


def as_image_user(command: list[str], *, uid: int) -> list[str]:
    """Run a command as the image's user, where this machine lets us.

    Root keeps the right to read: this machine's Python may stand in a private folder.
    """
    if os.geteuid() != 0:
        return command
    ids = [f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    reading = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return ["setpriv", *ids, *reading, *command]


def uid_made_by(steps: tuple[Instruction, ...], user: str) -> int:
    """Find the number a useradd step gives to a user.

    Raises:
        ValueError: No step makes this user with a fixed --uid.

    """
    for step in steps:
        if step.keyword == "RUN" and "useradd" in step.rest:
            words = shlex.split(step.rest)
            if user in words and "--uid" in words:
                return int(words[words.index("--uid") + 1])
    raise ValueError(f"no step makes the user {user!r} with a fixed --uid")


def resolve(command: list[str], env: Mapping[str, str]) -> list[str]:
    """Find the program on the image's own PATH.

    Raises:
        FileNotFoundError: It is not there.

    """
    program = shutil.which(command[0], path=env["PATH"])
    if program is None:
        raise FileNotFoundError(f"{command[0]} is not on the image's PATH")
    return [program, *command[1:]]
