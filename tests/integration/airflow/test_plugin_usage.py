"""Inside Airflow, each request counts once in the usage, also one that the plugin translates."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from compat_auth.airflow.composition import compose
from compat_auth.http.asgi import ASGIApp, Receive, Scope, Send
from compat_auth.store.migration import open_store
from compat_auth.store.tables.usage import UsageRows
from support.airflow_stand_ins import Conf, SimpleAuthManager, activate
from support.stand_ins import basic, call, http_scope

LIST = "[fab]\nauth_backends = airflow.providers.fab.auth_manager.api.auth.backend.basic_auth\n[compat_auth]\n"


async def airflow(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer as Airflow's application: it refuses every Bearer, and knows no pools."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    headers = dict(scope["headers"])
    is_strange = headers.get(b"authorization", b"").endswith(b"upstreams.own")
    status = 401 if is_strange else 404 if b"pools" in scope["path"].encode() else 200
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": b'{"dags": [], "total_entries": 0}'})


@contextlib.asynccontextmanager
async def running(app: ASGIApp) -> AsyncGenerator[None]:
    """Run the lifespan of an application around the block; at its end, what was counted is stored."""
    phases: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    done: asyncio.Queue[Any] = asyncio.Queue()
    life = asyncio.ensure_future(app({"type": "lifespan"}, phases.get, done.put))
    phases.put_nowait({"type": "lifespan.startup"})
    await done.get()
    yield
    phases.put_nowait({"type": "lifespan.shutdown"})
    await done.get()
    await life


async def test_the_plugin_counts_each_request_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'compat_auth.db'}"
    database = open_store(url)
    with database.write():
        pass
    database.close()
    activate(monkeypatch, SimpleAuthManager())
    app = compose(airflow, Conf(LIST, {}), {"AIRFLOW_HOME": str(tmp_path)})
    right, wrong = (b"authorization", basic("op", "öp").encode()), (b"authorization", basic("op", "x").encode())
    strange = (b"authorization", b"Bearer the.upstreams.own")

    async with running(app):
        for path, header in (
            (b"/api/v2/dags", right),
            (b"/api/v2/dags", right),
            (b"/api/v1/dags", right),
            (b"/api/v2/pools/x", right),
            (b"/api/v2/dags", wrong),
            (b"/api/v2/dags", strange),
        ):
            await call(app, http_scope(path, [header, (b"user-agent", b"curl/8.5.0")]))

    rows = UsageRows(open_store(url))
    names = ("principal", "backend", "client", "operation", "outcome")
    found = {tuple(row[name] for name in names): (row["count"], row["errors"]) for row in rows.sums(*names)}
    rows.close()
    assert found == {
        ("op", "basic_auth", "curl", "GET /api/v2/dags", "granted"): (2, 0),
        ("op", "basic_auth", "curl", "GET /api/v1/dags", "granted"): (1, 0),
        ("op", "basic_auth", "curl", "GET /api/v2/pools/{pool_name}", "granted"): (1, 1),
        ("", "", "curl", "GET /api/v2/", "refused"): (1, 1),
        ("", "upstream", "other", "GET /api/v2/", "refused"): (1, 1),
    }
