"""Runs the steps of a Containerfile without an engine: every absolute path of the image is one below a folder here."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# The folders of the image that steps write; all others are those of this machine.
_OWN = re.compile(r"(?<![\w.])/(opt|src|etc/compat-auth|var/lib/compat-auth)(?=[/\s\"':]|$)")


@dataclass
class Image:
    """What the steps made.

    Attributes:
        root: The folder that stands for `/`.
        env: The environment of a container.
        words: ENTRYPOINT and CMD.
        health: HEALTHCHECK's command.
        facts: The last argument of USER, EXPOSE, STOPSIGNAL and WORKDIR.
        labels: The names of the labels.
        bases: The images that it begins with.
    """

    root: Path
    env: dict[str, str] = field(default_factory=dict[str, str])
    words: list[str] = field(default_factory=list[str])
    health: list[str] = field(default_factory=list[str])
    facts: dict[str, str] = field(default_factory=dict[str, str])
    labels: list[str] = field(default_factory=list[str])
    bases: list[str] = field(default_factory=list[str])

    def path(self, text: str) -> str:
        """Return a text of the Containerfile with the paths of the image below the root."""
        return _OWN.sub(rf"{self.root}/\1", text)


def instructions(file: Path) -> Iterator[tuple[str, str]]:
    """Yield each instruction with its argument; continued lines are one."""
    text = re.sub(r"^#.*\n", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


def build(file: Path, context: Path, root: Path, arguments: dict[str, str]) -> Image:
    """Run the steps, with this machine's Python and tools in place of the base image's.

    Args:
        file: The Containerfile.
        context: The folder that COPY reads, filtered already.
        root: An empty folder.
        arguments: Build arguments.
    """
    builder = _Builder(Image(root), context, arguments)
    for word, rest in instructions(file):
        builder.step(word, rest)
    builder.image.env = builder.env
    return builder.image


@dataclass
class _Builder:
    image: Image
    context: Path
    arguments: dict[str, str]
    env: dict[str, str] = field(default_factory=dict[str, str])
    known: dict[str, str] = field(default_factory=dict[str, str])
    folder: Path = field(default_factory=Path)

    def __post_init__(self) -> None:
        self.folder = self.image.root
        self.base = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "UV_SYSTEM_CERTS": "1"}

    def step(self, word: str, rest: str) -> None:
        """Do one instruction."""
        if word in ("USER", "EXPOSE", "STOPSIGNAL"):
            self.image.facts[word] = rest
        elif word in ("ENTRYPOINT", "CMD"):
            self.image.words += _words(rest)
        else:
            getattr(self, f"_{word.lower()}")(rest)

    def _arg(self, rest: str) -> None:
        name, _, default = rest.partition("=")
        self.known[name] = self.arguments.get(name, self.known.get(name, "") or default.strip('"'))

    def _from(self, rest: str) -> None:
        self.image.bases.append(_filled(rest.partition(" ")[0], self.known))
        self.env, self.folder = {}, self.image.root

    def _env(self, rest: str) -> None:
        before = self.base | self.env
        for pair in shlex.split(rest):
            name, _, value = pair.partition("=")
            self.env[name] = self.image.path(_filled(value, before))

    def _workdir(self, rest: str) -> None:
        self.image.facts["WORKDIR"] = rest
        self.folder = Path(self.image.path(rest))
        self.folder.mkdir(parents=True, exist_ok=True)

    def _copy(self, rest: str) -> None:
        if "--from=" in rest:
            return  # one root stands for both stages
        *sources, target = shlex.split(rest)
        for source in sources:
            _copy(self.context / source, self.folder / target, is_folder=len(sources) > 1)

    def _run(self, rest: str) -> None:
        _run(self.image, rest, self.base | self.known | self.env, self.folder)

    def _label(self, rest: str) -> None:
        self.image.labels += [pair.partition("=")[0] for pair in shlex.split(rest)]

    def _healthcheck(self, rest: str) -> None:
        self.image.health = _words(rest.partition(" CMD ")[2])


def _run(image: Image, command: str, env: dict[str, str], folder: Path) -> None:
    # Only root may give a folder away; who owns it is asserted by reading.
    command = re.sub(r"chown \S+ \S+ &&", "", command)
    done = subprocess.run(
        ["sh", "-c", image.path(command)], env=env, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def _copy(source: Path, target: Path, *, is_folder: bool) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
        return
    target = target / source.name if is_folder or target.is_dir() else target
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values.get(found[1], ""), text)


def _words(text: str) -> list[str]:
    """Return the words of the JSON form, which needs no shell in the image."""
    return [str(word) for word in json.loads(text)]
