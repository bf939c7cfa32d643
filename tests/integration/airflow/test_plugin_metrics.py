"""Metrics inside Airflow: they begin and end with the API server, and a second worker starts without them."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from compat_auth.airflow.composition import compose
from compat_auth.http.asgi import ASGIApp, Receive, Scope, Send
from support.airflow_stand_ins import Conf, SimpleAuthManager, activate
from support.security.gateway import free_port
from support.stand_ins import basic, call, http_scope

LIST = "[fab]\nauth_backends = airflow.providers.fab.auth_manager.api.auth.backend.basic_auth\n[compat_auth]\n"


async def airflow(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 200 as Airflow's application."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-request-id", b"of-airflow")]})
    await send({"type": "http.response.body", "body": b"ok"})


@contextlib.asynccontextmanager
async def running(app: ASGIApp) -> AsyncGenerator[None]:
    """Run the lifespan of an application around the block."""
    phases: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    done: asyncio.Queue[Any] = asyncio.Queue()
    life = asyncio.ensure_future(app({"type": "lifespan"}, phases.get, done.put))
    phases.put_nowait({"type": "lifespan.startup"})
    await done.get()
    yield
    phases.put_nowait({"type": "lifespan.shutdown"})
    await done.get()
    await life
    await asyncio.sleep(0.05)


def authorization(password: str) -> tuple[bytes, bytes]:
    return b"authorization", basic("op", password).encode()


def scrape(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int) -> ASGIApp:
    activate(monkeypatch, SimpleAuthManager())
    return compose(airflow, Conf(f"{LIST}metrics__bind = 127.0.0.1:{port}\n", {}), {"AIRFLOW_HOME": str(tmp_path)})


async def test_the_plugin_counts_what_it_decides(app: ASGIApp, port: int) -> None:
    async with running(app):
        accepted = await call(app, http_scope(b"/api/v2/dags", [authorization("öp")]))
        refused = await call(app, http_scope(b"/api/v2/dags", [authorization("wrong")]))
        text = await asyncio.to_thread(scrape, port)

    assert (accepted.status, refused.status) == (200, 401)
    assert 'outcome="reject",source="chain"}' in text
    assert 'compat_auth_refusals_total{reason="CredentialRefused"}' in text
    assert "compat_auth_database_up 1.0" in text
    assert "compat_auth_upstream_up" not in text
    with pytest.raises(ConnectionRefusedError):
        await asyncio.to_thread(scrape, port)


async def test_the_answer_of_airflow_has_the_id_of_the_request(app: ASGIApp) -> None:
    async with running(app):
        answer = await call(app, http_scope(b"/api/v2/dags", [authorization("öp")]))

    assert len([value for name, value in answer.headers if name == b"x-request-id"]) == 1
    assert dict(answer.headers)[b"x-request-id"] != b"of-airflow"


async def test_a_second_worker_of_the_api_server_starts_without_metrics(
    app: ASGIApp, port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    conf = Conf(f"{LIST}metrics__bind = 127.0.0.1:{port}\n", {})
    second = compose(airflow, conf, {"AIRFLOW_HOME": str(tmp_path)})

    with caplog.at_level(logging.WARNING):
        async with running(app), running(second):
            answer = await call(second, http_scope(b"/api/v2/dags", [authorization("öp")]))

    assert answer.status == 200
    assert "this process has no metrics" in caplog.text
