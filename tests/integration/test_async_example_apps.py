"""The asynchronous apps of docs/examples, started by the commands of their how-to and asked by the clients that people have."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bcrypt
import flask
import httpx
import pytest
import requests
from a2wsgi import WSGIMiddleware

from compat_auth.config import parse_settings
from compat_auth.extension import CompatAuth, current_identity, require
from support.async_apps import settings_in
from support.peers.process import Process, answers_http, free_port
from support.serving import served_by_asgi
from support.stand_ins import basic

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = re.findall(
    r"^```sh\n(?P<serve>(?:hypercorn|uvicorn) .*8000 (?P<name>\w+):\w+)\n(?P<curl>curl .*)\n```$",
    (DOCS / "how-to" / "async-app.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)
ANSWERS = {
    "quart_app": '"name":"release-bot"',
    "starlette_app": "alice",
    "fastapi_app": '{"number":7,"reader":"alice"}',
    "flask_on_asgi": '{"reader":"alice"}',
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in (DOCS / "examples").glob("*_app.py"):
        shutil.copy(path, tmp_path)
    shutil.copy(DOCS / "examples" / "flask_on_asgi.py", tmp_path)
    hashed = bcrypt.hashpw(b"wonder", bcrypt.gensalt(4)).decode()
    (tmp_path / "users.htpasswd").write_text(f"alice:{hashed}\n", encoding="utf-8")
    return tmp_path


@contextmanager
def started(command: str, folder: Path) -> Generator[int]:
    """Run a server as documented, at another port, and yield that."""
    port = free_port()
    server, *arguments = command.replace("8000", str(port)).split()
    process = Process(server, folder / "server.log")
    process.start(
        ["/bin/sh", "-c", 'cd "$0" && exec "$@"', str(folder), sys.executable, "-m", server, *arguments],
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(folder)},
        is_ready=lambda: answers_http(f"http://127.0.0.1:{port}/"),
        timeout_s=60,
    )
    try:
        yield port
    finally:
        process.stop()


def curl(command: str, port: int, **replaced: str) -> tuple[int, str]:
    """Return status and body of what a documented command line of curl gets."""
    for old, new in replaced.items():
        command = command.replace(old, new)
    line = command.replace("8000", str(port)).replace("curl ", 'curl -s --noproxy "*" -w "\\n%{http_code}" ', 1)
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=True, timeout=30)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


def test_the_how_to_has_a_command_for_each_asynchronous_example() -> None:
    assert [name for _, name, _ in COMMANDS] == list(ANSWERS)


@pytest.mark.parametrize(("serve", "name", "line"), COMMANDS, ids=[name for _, name, _ in COMMANDS])
def test_an_example_lets_in_who_brings_the_documented_credential_and_nobody_else(
    serve: str, name: str, line: str, folder: Path
) -> None:
    path = line.rpartition(":8000")[2]
    with started(serve, folder) as port:
        good = curl(line, port, **{"-u alice": "-u alice:wonder"})
        wrong = curl(line, port, **{"-u alice": "-u alice:wrong", "5d5b": "5d5c"})
        nobody = requests.get(f"http://127.0.0.1:{port}{path}", timeout=10)

    assert good[0] == 200
    assert ANSWERS[name] in good[1]
    assert wrong[0] == nobody.status_code == 401
    assert nobody.headers["WWW-Authenticate"]


@pytest.mark.parametrize(("serve", "name"), [(serve, name) for serve, name, _ in COMMANDS], ids=list(ANSWERS))
def test_an_example_is_short(serve: str, name: str) -> None:
    lines = (DOCS / "examples" / f"{name}.py").read_text(encoding="utf-8").splitlines()

    assert len([line for line in lines if line]) <= 25, serve


async def later() -> dict[str, str]:
    return {"name": current_identity.username}


def plain() -> dict[str, str]:
    return {"name": current_identity.username}


@pytest.mark.parametrize("view", [later, plain], ids=["async", "sync"])
def test_a_view_of_a_flask_app_is_guarded_under_an_asgi_server(view: Any, tmp_path: Path) -> None:
    app: Any = flask.Flask("site")
    CompatAuth(app, parse_settings(settings_in(tmp_path, auth_backends=["basic_auth"]), origin="test"))
    app.add_url_rule("/", "view", require(view))

    with served_by_asgi(WSGIMiddleware(app)) as url, httpx.Client(base_url=url, trust_env=False) as client:
        good, wrong, nobody = (
            client.get("/", headers=headers)
            for headers in (
                {"Authorization": basic("alice", "wonder")},
                {"Authorization": basic("alice", "wrong")},
                {},
            )
        )

    assert [answer.status_code for answer in (good, wrong, nobody)] == [200, 401, 401]
    assert good.json() == {"name": "alice"}
