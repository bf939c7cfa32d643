"""The same small site in each asynchronous framework, asked in process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import bcrypt
import httpx
from fastapi import FastAPI
from quart import Quart
from starlette.applications import Starlette
from starlette.responses import JSONResponse

from compat_auth.asgi import CompatAuth

KINDS = ("quart", "starlette", "fastapi")
View = Callable[[], Any]
SESSIONS: Mapping[str, Mapping[str, Any]] = {
    "words": {
        "uid": "bot",
        "fullname": "The Bot",
        "email": "bot@example.org",
        "pmcs": ["tooling"],
        "roleaccount": True,
        "site": {"own": [1, None]},
        "metadata": {"scope": ["scopeA", "scopeB"], "note": "x"},
    },
    "limited": {"uid": "reader", "metadata": {"scope": ["GET /open", "GET /whoami"]}},
    "both": {"uid": "both", "metadata": {"scope": ["scopeA", "GET /whoami"]}},
    "whole": {"uid": "whole", "isMember": True, "mfa": True},
}


async def find_session(token: str) -> Mapping[str, Any] | None:
    """Do what the token handler of a site does."""
    await asyncio.sleep(0)
    if token == "raises":
        raise LookupError(token)
    return SESSIONS.get(token)


def settings_in(folder: Path, **more: Any) -> dict[str, Any]:
    """Return settings with a user alice, whose password is wonder."""
    hashed = bcrypt.hashpw(b"wonder", bcrypt.gensalt(4)).decode()
    (folder / "users").write_text(f"alice:{hashed}\n", encoding="utf-8")
    return {
        "auth_backends": ["session", "token_handler", "basic_auth"],
        "database_url": f"sqlite:///{folder / 'store.db'}",
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(folder / "users")},
        "upstream": {"profile": "generic"},
        "session": {"secret": "s" * 32},
        **more,
    }


class Site:
    """An app of one framework, and a browser.

    Args:
        kind: One of `KINDS`.
        settings: For `CompatAuth`.
        more: The same.
    """

    def __init__(self, kind: str, settings: Mapping[str, Any], **more: Any) -> None:
        self.kind = kind
        makers: dict[str, Callable[[], Any]] = {
            "quart": lambda: Quart("site"),
            "starlette": Starlette,
            "fastapi": FastAPI,
        }
        self.app: Any = makers[kind]()
        self.compat_auth = CompatAuth(self.app, settings, **more)
        self.app.token_handler = find_session
        self.cookies = httpx.Cookies()

    def route(
        self, path: str, view: View, guard: Callable[[Any], Any] = lambda view: view, method: str = "GET"
    ) -> None:
        """Serve a view that takes nothing, guarded by a decorator."""
        guarded = guard(view)
        if self.kind == "quart":
            self.app.add_url_rule(path, path + method, guarded, methods=[method])
        elif self.kind == "fastapi":
            self.app.add_api_route(path, guarded, methods=[method])
        else:

            async def endpoint(_request: Any) -> Any:
                return JSONResponse(await guarded())

            async def guarded_endpoint(_request: Any) -> Any:
                found = view()
                return JSONResponse(await found if asyncio.iscoroutine(found) else found)

            self.app.add_route(path, endpoint if guarded is view else guard(guarded_endpoint), methods=[method])

    def ask(self, path: str, method: str = "GET", **sent: Any) -> httpx.Response:
        """Return the answer, as a browser gets it that keeps cookies."""
        return asyncio.run(self.ask_async(path, method, **sent))

    async def ask_async(self, path: str, method: str = "GET", **sent: Any) -> httpx.Response:
        """Return the answer to one of many requests."""
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://site.example", cookies=self.cookies
        ) as client:
            answer = await client.request(method, path, **sent)
            self.cookies = client.cookies
            return answer

    def bearer(self, token: str, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        """Return the answer to a request with a bearer token."""
        return self.ask(path, method, headers={"Authorization": f"Bearer {token}", **headers})
