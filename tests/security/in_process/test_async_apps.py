"""Asynchronous apps under attack: nobody gets in, or further, by the event loop than by a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from compat_auth.asgi import caller, current_identity, require, requires_authentication, session
from compat_auth.errors import ConfigError
from support.async_apps import KINDS, Site, settings_in
from support.stand_ins import basic

ALICE = {"Authorization": basic("alice", "wonder")}
FOREIGN = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(request.param, settings_in(tmp_path))


async def name() -> dict[str, Any]:
    return {"name": current_identity.username if current_identity else None}


def log_in(site: Site, uid: str = "carol") -> None:
    async def write() -> dict[str, Any]:
        session.write({"uid": uid})
        return {}

    site.route(f"/become/{uid}", write)
    assert site.ask(f"/become/{uid}").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer unknown"},
        {"Authorization": "Bearer raises"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic !!!"},
        {"Authorization": basic("alice", "wrong")},
        {"Cookie": "compat_auth_session=1.x.y"},
        {"Remote-User": "alice"},
        {"X-Http-Method-Override": "OPTIONS"},
    ],
    ids=str,
)
def test_a_view_is_not_called_before_the_decision(site: Site, headers: Mapping[str, str]) -> None:
    called: list[bool] = []

    async def view() -> dict[str, Any]:
        called.append(True)
        return {}

    site.route("/closed", view, require)

    answer = site.ask("/closed", headers=headers)

    assert answer.status_code in (400, 401, 503)
    assert called == []


def test_two_credentials_in_one_request_let_nobody_in(site: Site) -> None:
    site.route("/closed", name, require)

    answer = site.ask("/closed", headers=[*ALICE.items(), ("Authorization", "Bearer whole")])

    assert answer.status_code == 400


def test_a_handler_that_raises_closes_and_tells_nothing(site: Site) -> None:
    site.route("/closed", name, require)

    answer = site.bearer("raises", "/closed")

    assert answer.status_code == 503
    assert "LookupError" not in answer.text


@pytest.mark.parametrize("handler", [None, "text", lambda _token: ["uid", "x"], lambda _token: {"uid": object()}])
def test_a_handler_that_is_none_lets_nobody_in(site: Site, handler: Any) -> None:
    site.app.token_handler = handler
    site.route("/closed", name, require)

    assert site.bearer("whole", "/closed").status_code in (401, 503)


@pytest.mark.parametrize(
    "scope", [["get /closed"], ["GET:/closed"], ["GET"], "scopeA", ["a b"], [""], [7], ["scopeA", None]]
)
def test_a_scope_that_may_be_a_limit_with_a_typo_lets_nobody_in(site: Site, scope: object) -> None:
    site.app.token_handler = lambda _token: {"uid": "bot", "metadata": {"scope": scope}}
    site.route("/closed", name, require)

    assert site.bearer("x", "/closed").status_code == 401


def test_a_limited_token_is_limited_with_every_spelling_of_method_and_path(site: Site) -> None:
    for method in ("GET", "POST"):
        site.route("/whoami", name, require, method)
    site.route("/secret", name, require)

    statuses = {
        "inside": site.bearer("limited", "/whoami").status_code,
        "other method": site.bearer("limited", "/whoami", "POST").status_code,
        "overridden": site.bearer("limited", "/whoami", **{"X-HTTP-Method-Override": "POST"}).status_code,
        "other path": site.bearer("limited", "/secret").status_code,
        "dots": site.bearer("limited", "/whoami/../secret").status_code,
        "encoded": site.bearer("limited", "/%73ecret").status_code,
    }

    assert statuses.pop("inside") == 200
    assert set(statuses.values()) <= {403, 404}


def test_a_limited_token_reads_no_session_where_it_may_not_go(site: Site) -> None:
    async def read() -> dict[str, Any]:
        return {"session": await session.read()}

    site.route("/elsewhere", read)
    site.route("/open", read)

    assert site.bearer("limited", "/elsewhere").json() == {"session": None}
    assert site.bearer("limited", "/open").json()["session"]["uid"] == "reader"


def test_a_middleware_that_rewrites_the_request_widens_no_limit(tmp_path: Path) -> None:
    site = Site("starlette", settings_in(tmp_path))
    site.route("/secret", name, require)

    class Rewriting:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                scope = {**scope, "path": "/secret", "raw_path": b"/secret"}
            await self.app(scope, receive, send)

    # Behind ours, which was added first and so stands inside.
    site.app.user_middleware.append(__import__("starlette.middleware").middleware.Middleware(Rewriting))

    assert site.bearer("limited", "/whoami").status_code == 403
    assert site.bearer("whole", "/whoami").json() == {"name": "whole"}


@pytest.mark.parametrize("headers", [FOREIGN, {"Origin": "null"}, {**FOREIGN, "Sec-Fetch-Mode": "no-cors"}], ids=str)
def test_a_foreign_page_uses_no_password_and_no_cookie_of_a_browser(site: Site, headers: dict[str, str]) -> None:
    site.route("/closed", name, require, "POST")
    log_in(site)

    by_cookie = site.ask("/closed", "POST", headers=headers)
    by_password = site.ask("/closed", "POST", headers={**ALICE, **headers})
    by_token = site.bearer("whole", "/closed", "POST", **headers)

    assert (by_cookie.status_code, by_password.status_code, by_token.status_code) == (403, 403, 200)


def test_a_foreign_page_reads_no_session_in_an_unsafe_request(site: Site) -> None:
    async def read() -> dict[str, Any]:
        return {"session": await session.read()}

    site.route("/read", read, method="POST")
    log_in(site)

    assert site.ask("/read", "POST", headers=FOREIGN).json() == {"session": None}
    assert site.ask("/read", "POST", headers={"Origin": "http://site.example"}).json()["session"] == {"uid": "carol"}


@pytest.mark.parametrize(("origin", "status"), [("https://friend.example", 200), ("https://evil.example", 403)])
def test_the_apps_own_cors_settings_say_which_origin_may_send_a_password(
    tmp_path: Path, origin: str, status: int
) -> None:
    site = Site("starlette", settings_in(tmp_path))
    site.route("/closed", name, require, "POST")
    site.app.add_middleware(
        CORSMiddleware,
        allow_origins=["https://friend.example"],
        allow_methods=["POST"],
        allow_headers=["Authorization"],
    )

    answer = site.ask("/closed", "POST", headers={**ALICE, **FOREIGN, "Origin": origin})

    assert answer.status_code == status


def test_a_session_that_was_planted_does_not_become_the_users(site: Site) -> None:
    log_in(site, "mallory")
    planted = dict(site.cookies)
    log_in(site, "carol")
    site.route("/closed", name, require)
    mine = dict(site.cookies)

    site.cookies = httpx.Cookies(planted)

    assert mine != planted
    assert site.ask("/closed").status_code == 401


def test_one_requests_identity_is_never_seen_by_another_task(site: Site) -> None:
    left_behind: list[asyncio.Task[Any]] = []

    async def later() -> Any:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return current_identity.username if current_identity else None

    async def view() -> dict[str, Any]:
        before = current_identity.username
        await asyncio.sleep(0)
        seen = await asyncio.to_thread(lambda: current_identity.username)
        return {"seen": [before, seen, await later()]}

    async def outside() -> dict[str, Any]:
        await asyncio.sleep(0)
        left_behind.append(asyncio.ensure_future(asyncio.Event().wait()))
        return {"seen": await later()}

    site.route("/closed", view, require)
    site.route("/open", outside)

    async def ask_all() -> list[Any]:
        asked = [
            site.ask_async("/closed", headers={"Authorization": f"Bearer {token}"})
            if token
            else site.ask_async("/open")
            for token in ("whole", "words", "", "whole", "", "words") * 5
        ]
        answers = [answer.json()["seen"] for answer in await asyncio.gather(*asked)]
        for task in left_behind:
            task.cancel()
        return answers

    answers = asyncio.run(ask_all())

    assert answers == [["whole"] * 3, ["bot"] * 3, None, ["whole"] * 3, None, ["bot"] * 3] * 5


def test_a_task_that_outlives_its_request_is_nobodys(site: Site) -> None:
    found: list[object] = []

    async def ask() -> None:
        answered = asyncio.Event()

        async def outlive() -> None:
            await answered.wait()
            found.append(bool(current_identity))

        async def view() -> dict[str, Any]:
            tasks.append(asyncio.ensure_future(outlive()))
            return {"name": current_identity.username}

        tasks: list[asyncio.Task[None]] = []
        site.route("/closed", view, require)
        assert (await site.ask_async("/closed", headers=ALICE)).json() == {"name": "alice"}
        answered.set()
        await asyncio.gather(*tasks)

    asyncio.run(ask())

    assert found == [False]


def open_websocket(app: Any, headers: Mapping[str, str], path: str = "/ws") -> list[str]:
    """Return what a server is told in answer to a handshake."""
    told: list[str] = []

    coming = [{"type": "websocket.connect"}]

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return coming.pop() if coming else {"type": "websocket.disconnect", "code": 1006}

    async def send(message: Any) -> None:
        told.append(message["type"])

    raw = [(b"host", b"site.example"), *((key.lower().encode(), value.encode()) for key, value in headers.items())]
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": raw,
        "client": ("127.0.0.1", 1),
        "server": ("site.example", 80),
        "subprotocols": [],
        "extensions": {},
    }
    asyncio.run(asyncio.wait_for(app(scope, receive, send), 5))
    return told


@pytest.mark.parametrize("headers", [{}, ALICE, {"Authorization": "Bearer whole"}], ids=["nobody", "password", "token"])
def test_a_guarded_websocket_is_refused_whoever_asks(site: Site, headers: dict[str, str]) -> None:
    called: list[bool] = []
    if site.kind == "quart":

        @site.app.websocket("/ws")  # type: ignore[untyped-decorator]  # the app is of any kind
        @requires_authentication
        async def quart_endpoint() -> None:
            called.append(True)

    else:

        @requires_authentication
        async def endpoint(websocket: WebSocket) -> None:
            called.append(True)
            await websocket.accept()

        site.app.router.routes.append(WebSocketRoute("/ws", endpoint))

    told = open_websocket(site.app, headers)

    assert (told, called) == (["websocket.close"], [])


def test_a_websocket_without_a_guard_is_the_apps_own_affair(tmp_path: Path) -> None:
    site = Site("starlette", settings_in(tmp_path))
    seen: list[bool] = []

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        seen.append(bool(current_identity))
        await websocket.close()

    site.app.router.routes.append(WebSocketRoute("/ws", endpoint))

    assert open_websocket(site.app, ALICE) == ["websocket.accept", "websocket.close"]
    assert seen == [False]


def test_no_view_is_guarded_outside_of_a_request_of_the_app() -> None:
    guarded: Callable[[], Any] = require(name)
    dependency: Callable[[], Any] = caller()

    with pytest.raises(ConfigError, match=r"CompatAuth\(app\)"):
        asyncio.run(guarded())
    with pytest.raises(ConfigError, match=r"CompatAuth\(app\)"):
        asyncio.run(dependency())


@pytest.mark.parametrize("wrong", ["admin", ["scope:"], "role:"], ids=str)
def test_a_requirement_that_nobody_knows_is_an_error_where_it_is_written(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="requirement"):
        require(any_of=wrong)


def test_a_requirement_of_asfquarts_own_class_is_never_taken_for_the_view() -> None:
    class AsfquartRequirements:
        @classmethod
        def member(cls, client_session: object) -> tuple[bool, str]:
            return True, ""

    with pytest.raises(ConfigError, match="role:member"):
        require(AsfquartRequirements.member)


@pytest.mark.parametrize("path", ["/auth/token", "/.well-known/jwks.json"])
def test_no_app_issues_tokens_that_was_not_asked_to(site: Site, path: str) -> None:
    assert site.bearer("whole", path).status_code == 404
