"""WebSockets: what a handshake may not do in another user's name."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import flask
import pytest
from fastapi import Depends, WebSocket
from starlette.routing import WebSocketRoute

from compat_auth import sessions
from compat_auth.asgi import caller, current_identity, session
from compat_auth.config import parse_settings
from compat_auth.extension import CompatAuth, require
from compat_auth.identity import Identity
from support.async_apps import KINDS, Site, settings_in
from support.stand_ins import basic

ALICE = {"Authorization": basic("alice", "wonder")}
OWN = {"Origin": "http://site.example"}
FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://site.example:81"},
    {"Origin": "http://site.example", "Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]
SCOPE: dict[str, Any] = {
    "type": "websocket",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "scheme": "ws",
    "path": "/ws",
    "raw_path": b"/ws",
    "query_string": b"",
    "root_path": "",
    "client": ("127.0.0.1", 1),
    "server": ("site.example", 80),
    "subprotocols": [],
    "extensions": {},
}


def handshake(site: Site, headers: Mapping[str, str], path: str = "/ws") -> list[Any]:
    """Return the messages that the server gets in answer to a handshake with the browser's cookies."""
    told: list[Any] = []
    before = len(getattr(site, "read", ()))
    coming = [{"type": "websocket.connect"}]
    cookie = "; ".join(f"{name}={value}" for name, value in site.cookies.items())
    sent = {"Host": "site.example", "Upgrade": "websocket", "Connection": "Upgrade", **headers}
    if cookie:
        sent["Cookie"] = cookie
    raw = [(name.lower().encode(), value.encode()) for name, value in sent.items()]

    async def receive() -> dict[str, Any]:
        if coming:
            return coming.pop()
        # The browser waits for a message, or for the view to note what it has read.
        for _ in range(500):
            if told or len(getattr(site, "read", ())) > before:
                break
            await asyncio.sleep(0.01)
        return {"type": "websocket.disconnect", "code": 1006}

    async def send(message: Any) -> None:
        told.append(message)

    scope = {**SCOPE, "path": path, "raw_path": path.encode(), "headers": raw}
    asyncio.run(asyncio.wait_for(site.app(scope, receive, send), 10))
    return told


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """A site whose WebSocket is guarded by nobody and notes the session that it reads; a browser is logged in."""
    site = Site(request.param, settings_in(tmp_path))
    site.read = []  # type: ignore[attr-defined]

    async def write() -> dict[str, Any]:
        await session.write({"uid": "carol"})
        return {}

    site.route("/become", write, method="POST")
    assert site.ask("/become", "POST").status_code == 200
    if site.kind == "quart":

        @site.app.websocket("/ws")  # type: ignore[untyped-decorator]  # the app is of any kind
        async def quart_endpoint() -> None:
            site.read.append((await session.read(), bool(current_identity)))  # type: ignore[attr-defined]

    else:

        async def endpoint(websocket: WebSocket) -> None:
            site.read.append((await session.read(), bool(current_identity)))  # type: ignore[attr-defined]
            await websocket.accept()
            await websocket.close()

        site.app.router.routes.append(WebSocketRoute("/ws", endpoint))
    return site


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_websocket_of_a_foreign_page_reads_no_session(site: Site, headers: dict[str, str]) -> None:
    handshake(site, headers)

    assert site.read == [(None, False)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "headers", [OWN, {**OWN, "Sec-Fetch-Site": "same-origin"}, {}], ids=["origin", "fetch", "program"]
)
def test_a_websocket_of_the_sites_own_page_or_of_a_program_reads_its_session(
    site: Site, headers: dict[str, str]
) -> None:
    handshake(site, headers)

    assert site.read == [({"uid": "carol"}, False)]  # type: ignore[attr-defined]


def test_a_limited_token_reads_no_session_by_a_websocket_where_it_may_not_go(site: Site) -> None:
    handshake(site, {"Authorization": "Bearer limited"})
    handshake(site, {"Authorization": "Bearer whole"})

    assert [found and found["uid"] for found, _ in site.read] == [None, "whole"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/compat-auth/whoami", "/compat-auth/login", "/auth/token"])
def test_none_of_our_pages_is_a_websocket(site: Site, path: str) -> None:
    told = [message["type"] for message in handshake(site, {**OWN, **ALICE}, path)]

    assert "websocket.accept" not in told


@pytest.mark.parametrize("headers", [{}, ALICE, {**ALICE, **OWN}], ids=["nobody", "password", "own-page"])
def test_a_dependency_refuses_a_websocket_and_the_view_is_never_called(tmp_path: Path, headers: dict[str, str]) -> None:
    site = Site("fastapi", settings_in(tmp_path))
    called: list[str] = []

    @site.app.websocket("/ws")  # type: ignore[untyped-decorator]  # the app is of any kind
    async def endpoint(websocket: WebSocket, who: Annotated[Identity, Depends(caller())]) -> None:
        called.append(who.username)
        await websocket.accept()

    told = [message["type"] for message in handshake(site, headers)]

    assert (told, called) == (["websocket.close"], [])


@pytest.mark.parametrize(
    ("headers", "status", "read"), [(FOREIGN[0], 403, None), (OWN, 200, "carol"), ({}, 200, "carol")]
)
def test_a_flask_view_that_becomes_a_websocket_is_closed_to_foreign_pages(
    tmp_path: Path, headers: dict[str, str], status: int, read: str | None
) -> None:
    app = flask.Flask("site")
    CompatAuth(app, parse_settings(settings_in(tmp_path), origin="test"))

    def become() -> str:
        sessions.write({"uid": "carol"})
        return ""

    app.add_url_rule("/become", "become", become, methods=["POST"])
    app.add_url_rule("/ws", "ws", require(lambda: "in"), websocket=True)
    app.add_url_rule("/read", "read", lambda: {"uid": getattr(sessions.read(), "uid", None)}, websocket=True)
    browser = app.test_client()
    browser.post("/become")
    upgrade = {"Upgrade": "WebSocket", "Connection": "Upgrade", "Host": "site.example", **headers}
    cookies = browser.get_cookie("compat_auth_session")
    assert cookies is not None
    upgrade["Cookie"] = f"compat_auth_session={cookies.value}"
    plain = flask.Flask.test_client(app, use_cookies=False)

    guarded = plain.get("/ws", headers=upgrade)
    found = plain.get("/read", headers=upgrade)

    assert guarded.status_code == status
    assert found.get_json() == {"uid": read}


def test_a_browsers_password_opens_no_websocket_of_a_flask_view_for_a_foreign_page(tmp_path: Path) -> None:
    app = flask.Flask("site")
    CompatAuth(app, parse_settings(settings_in(tmp_path), origin="test"))
    app.add_url_rule("/ws", "ws", require(lambda: "in"), websocket=True)
    client = app.test_client(use_cookies=False)

    answers = [
        client.get("/ws", headers={**ALICE, "Upgrade": "websocket", "Connection": "Upgrade", **more})
        for more in ({}, *FOREIGN[:2])
    ]

    assert [answer.status_code for answer in answers] == [200, 403, 403]
