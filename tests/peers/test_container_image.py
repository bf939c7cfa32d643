"""The Containerfile: linted, and its steps run without an engine; what they make serves, is healthy, and stops."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from compat_auth import __version__
from support.container_steps import Image, build, instructions
from support.peers.deploy_tools import hadolint
from support.peers.process import Process, answers_http, free_port

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "container" / "Containerfile"
REVISION = "0123456789abcdef0123456789abcdef01234567"
LISTENS = "8088"


def context_of(folder: Path) -> Path:
    """Copy what .dockerignore lets into the image; its negated names are files and folders of the first level."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [line[1:] for line in lines if line.startswith("!")]
    ignored = shutil.ignore_patterns(*(line.rpartition("/")[2] for line in lines if line.startswith("**/")))
    for name in allowed:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy2(source, folder / name)
    return folder


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder = tmp_path_factory.mktemp("image")
    (folder / "context").mkdir()
    (folder / "root").mkdir()
    return build(FILE, context_of(folder / "context"), folder / "root", {"REVISION": REVISION, "VERSION": __version__})


def test_hadolint_finds_nothing() -> None:
    assert hadolint(FILE) == ""


def test_a_fault_would_be_found(tmp_path: Path) -> None:
    wrong = tmp_path / "Containerfile"
    wrong.write_text("FROM python\nRUN cd /tmp && sudo ls\n")

    assert "DL3006" in hadolint(wrong)


def test_only_what_the_image_is_built_from_is_sent_to_the_engine() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    copied = {
        source
        for word, rest in instructions(FILE)
        if word == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }

    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied


def test_the_user_is_a_number_and_not_root(image: Image) -> None:
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", image.facts["USER"])


def test_the_base_has_a_tag_and_both_stages_have_the_same(image: Image) -> None:
    assert len(image.bases) == 2
    assert len(set(image.bases)) == 1
    assert re.fullmatch(r"docker\.io/library/python:\d+\.\d+-slim-\w+", image.bases[0])


def test_the_engine_is_told_how_to_stop_it_and_what_it_is(image: Image) -> None:
    assert (image.facts["STOPSIGNAL"], image.facts["EXPOSE"]) == ("SIGTERM", LISTENS)
    assert {label.rpartition(".")[2] for label in image.labels} == {
        "title", "description", "licenses", "version", "revision",
    }  # fmt: skip


def test_the_installed_program_knows_its_revision_and_its_extras(image: Image) -> None:
    python = image.root / "opt" / "compat-auth" / "bin" / "python"
    program = "import psycopg, redis, prometheus_client, compat_auth; print(compat_auth.__file__)"

    version = subprocess.run(
        [image.root / "opt" / "compat-auth" / "bin" / "compat-auth", "--version"],
        capture_output=True, text=True, check=True, cwd=image.root,
    )  # fmt: skip
    place = subprocess.run([python, "-I", "-c", program], capture_output=True, text=True, check=True)

    assert f"version {__version__} (build {REVISION[:12]}," in version.stdout
    assert place.stdout.startswith(str(image.root / "opt"))


def files_below(root: Path) -> dict[str, tuple[int, int]]:
    found = [path for path in root.rglob("*") if path.is_file() and "var/lib/compat-auth" not in path.as_posix()]
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in found}


@pytest.fixture
def container(image: Image, tmp_path: Path) -> Iterator[tuple[Process, int]]:
    """The image's own command with the image's own environment, at a port of this machine."""
    port = free_port()
    env = image.env | {
        "COMPAT_AUTH_SERVE__BIND": f"127.0.0.1:{port}",
        "COMPAT_AUTH_UPSTREAM__URL": "http://127.0.0.1:9",
        "COMPAT_AUTH_SERVE__DRAIN_S": "0",
    }
    process = Process("container", tmp_path / "log")
    url = f"http://127.0.0.1:{port}/compat-auth/live"
    folder = image.root / image.facts["WORKDIR"].lstrip("/")
    command = ["sh", "-c", 'cd "$0" && exec "$@"', str(folder), *image.words]
    process.start(command, env=env, is_ready=lambda: answers_http(url), timeout_s=60)
    yield process, port
    process.stop()


def check_health(image: Image, port: int) -> int:
    words = [word.replace(LISTENS, str(port)) for word in image.health]
    return subprocess.run(words, env=image.env, check=False, capture_output=True).returncode


def test_the_container_is_healthy_writes_nothing_to_the_image_and_stops_when_told(
    image: Image, container: tuple[Process, int]
) -> None:
    process, port = container
    before = files_below(image.root)

    healthy = check_health(image, port)
    pid = process.pid
    assert pid is not None
    os.kill(pid, getattr(signal, image.facts["STOPSIGNAL"]))
    deadline = time.monotonic() + 30
    while process.returncode is None and time.monotonic() < deadline:
        time.sleep(0.05)

    assert (healthy, process.returncode) == (0, 0)
    assert check_health(image, port) != 0
    assert files_below(image.root) == before
