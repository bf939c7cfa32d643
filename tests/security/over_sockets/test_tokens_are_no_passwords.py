"""A personal token that is given as a password is shown to no directory, and least of all to the upstream as one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import flask
import pytest

from compat_auth.extension import CompatAuth
from compat_auth_backends.basic_auth import BasicAuthBackend
from support import stand_ins
from support.security.token_gateway import make_token, opened, settings_with_tokens
from support.security.upstream import Recorder, recording_upstream
from support.stand_ins import FRONT, call, http_scope

JSON = (b"content-type", b"application/json")
FORM = (b"content-type", b"application/x-www-form-urlencoded")
BACKENDS = [["personal_token", "basic_auth"], ["basic_auth", "personal_token"], ["basic_auth"]]


@pytest.fixture(scope="module")
def recorder() -> Any:
    with recording_upstream() as recorder:
        yield recorder


def basic(username: str, password: str) -> tuple[bytes, bytes]:
    return (b"authorization", b"Basic " + base64.b64encode(f"{username}:{password}".encode()))


def as_login(username: str, password: str) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    return b"/auth/token", [JSON], json.dumps({"username": username, "password": password}).encode()


def as_form(username: str, password: str) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    return b"/auth/token/cli", [FORM], urlencode({"username": username, "password": password}).encode()


def as_basic(username: str, password: str) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    return b"/api/v2/dags", [basic(username, password)], b""


def at_the_door(username: str, password: str) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    return b"/auth/token", [basic(username, password)], b""


def for_a_front_proxy(username: str, password: str) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    told = [(b"x-original-uri", b"/api/v2/dags"), (b"x-original-method", b"GET")]
    return b"/compat-auth/forward-auth/nginx", [*told, basic(username, password)], b""


@pytest.mark.parametrize("backends", BACKENDS, ids=["first", "last", "absent"])
@pytest.mark.parametrize("mode", ["strict", "airflow2"])
@pytest.mark.parametrize("send", [as_login, as_form, as_basic, at_the_door, for_a_front_proxy])
async def test_the_upstreams_login_never_sees_a_token(
    tmp_path: Path, upstream: Recorder, backends: list[str], mode: str, send: Any
) -> None:
    settings = settings_with_tokens(
        tmp_path,
        upstream.port,
        auth_backends=backends,
        mode=mode,
        basic_auth={"directories": ["upstream"]},
        token={"strategy": "exchange"},
        trusted_proxies=["192.0.2.0/24"],
        forward_auth=FRONT,
    )
    # With this strategy no token can be made: it is from before.
    text = make_token(settings.model_copy(update={"token": settings_with_tokens(tmp_path, upstream.port).token})).text
    pairs = [("alice", text), ("__token__", text), ("alice", text[:-1]), (text, "x"), ("bob", text)]
    async with opened(settings) as gateway:
        statuses = [
            (await call(gateway, http_scope(path, headers, method="POST"), body)).status
            for path, headers, body in (send(*pair) for pair in pairs)
        ]

    assert set(statuses) <= {401, 403}
    assert upstream.take() == []


async def test_what_is_no_token_does_get_to_the_upstreams_login(tmp_path: Path, upstream: Recorder) -> None:
    settings = settings_with_tokens(
        tmp_path, upstream.port, basic_auth={"directories": ["upstream"]}, token={"strategy": "exchange"}
    )
    async with opened(settings) as gateway:
        sent = await call(gateway, http_scope(b"/api/v2/dags", [basic("alice", "wonder")]))

    # This upstream says 200 and "hello" to a login.
    assert (sent.status, sent.values(b"retry-after")) == (503, [b"5"])
    (arrived,) = upstream.take()
    assert json.loads(arrived.body) == {"username": "alice", "password": "wonder"}


@pytest.mark.parametrize("is_password", [True, False])
def test_a_view_behind_passwords_alone_shows_a_token_to_no_directory(
    tmp_path: Path, upstream: Recorder, is_password: bool
) -> None:
    settings = settings_with_tokens(
        tmp_path, upstream.port, auth_backends=["basic_auth"], basic_auth={"directories": ["upstream"]}
    )
    text = make_token(settings).text
    app = flask.Flask("site")
    CompatAuth(app, settings)
    (backend,) = app.extensions["compat_auth"].chain.backends
    assert isinstance(backend, BasicAuthBackend)
    app.add_url_rule("/", view_func=backend.requires_authentication(lambda: "in"))
    name, value = basic("alice", text) if is_password else basic(text, "")

    answer = app.test_client().get("/", headers={name.decode(): value.decode()})

    assert answer.status_code == 401
    assert upstream.take() == []


@pytest.mark.parametrize("path", [b"/ui/", b"/auth/fab/v1/users"])
@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda text: f"Bearer {text}", id="bearer"),
        pytest.param(lambda text: stand_ins.basic("alice", text), id="password"),
        pytest.param(lambda text: stand_ins.basic(text, ""), id="user name"),
        pytest.param(lambda text: f"Bearer x, Bearer {text}", id="second of two"),
        pytest.param(lambda text: text, id="no scheme"),
    ],
)
async def test_where_nothing_is_asked_of_a_caller_a_token_goes_no_further(
    tmp_path: Path, upstream: Recorder, path: bytes, write: Callable[[str], str]
) -> None:
    settings = settings_with_tokens(tmp_path, upstream.port, trusted_proxies=["10.0.0.0/8"], forward_auth=FRONT)
    header = (b"authorization", write(make_token(settings).text).encode())
    asked = [(b"x-original-uri", path), (b"x-original-method", b"GET"), header]
    async with opened(settings) as gateway:
        sent = await call(gateway, http_scope(path, [header, (b"cookie", b"theme=dark")]))
        told = await call(gateway, http_scope(b"/compat-auth/forward-auth/nginx", asked, client="10.0.0.1"))
        other = await call(gateway, http_scope(path, [(b"authorization", b"Bearer of-the-upstream")]))

    dropped, kept = upstream.take()
    assert (sent.status, told.status, other.status) == (200, 200, 200)
    assert dropped.values(b"authorization") == told.values(b"authorization") == []
    assert dropped.values(b"cookie") == [b"theme=dark"]
    assert kept.values(b"authorization") == [b"Bearer of-the-upstream"]


@pytest.mark.parametrize("path", [b"/api/v2/dags", b"/compat-auth/forward-auth/nginx"])
async def test_where_no_backend_takes_tokens_the_upstream_is_not_asked_to(
    tmp_path: Path, upstream: Recorder, path: bytes
) -> None:
    settings = settings_with_tokens(
        tmp_path, upstream.port, auth_backends=["basic_auth"], trusted_proxies=["192.0.2.0/24"], forward_auth=FRONT
    )
    told = [(b"x-original-uri", b"/api/v2/dags"), (b"x-original-method", b"GET")]
    header = (b"authorization", f"Bearer {make_token(settings).text}".encode())
    async with opened(settings) as gateway:
        sent = await call(gateway, http_scope(path, [*told, header]))

    assert sent.status == 401
    assert sent.values(b"authorization") == []
    assert upstream.take() == []
