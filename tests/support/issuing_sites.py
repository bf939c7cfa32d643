"""Small sites that issue JWTs, of Flask and of each asynchronous framework, asked in process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flask
import httpx

from compat_auth import asgi, extension, sessions
from compat_auth.config import parse_settings
from compat_auth.identity import Identity
from support.async_apps import KINDS, Site, find_session, settings_in
from support.stand_ins import basic

EVERY_KIND = ("flask", *KINDS)
ALICE = {"Authorization": basic("alice", "wonder")}
HS512 = {"strategy": "shared_secret", "secret": "k" * 64, "audience": "my-api"}


class FlaskSite:
    """A Flask app, and a browser; asked like `Site`."""

    kind = "flask"

    def __init__(self, settings: Mapping[str, Any], **more: Any) -> None:
        self.app = flask.Flask("site")
        self.compat_auth = extension.CompatAuth(self.app, parse_settings(settings, origin="test"), **more)
        self.app.token_handler = find_session  # type: ignore[attr-defined]
        self.cookies = httpx.Cookies()

    def ask(self, path: str, method: str = "GET", **sent: Any) -> httpx.Response:
        """Return the answer, as a browser gets it that keeps cookies."""
        joined: dict[str, str] = {}
        for name, value in httpx.Headers(sent.pop("headers", {})).multi_items():
            # As WSGI servers do.
            joined[name] = f"{joined[name]},{value}" if name in joined else value
        sent["headers"] = joined
        transport = httpx.WSGITransport(self.app, raise_app_exceptions=False)
        with httpx.Client(transport=transport, base_url="http://site.example", cookies=self.cookies) as client:
            answer = client.request(method, path, **sent)
            self.cookies = client.cookies
            return answer

    def bearer(self, token: str, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        """Return the answer to a request with a bearer token."""
        return self.ask(path, method, headers={"Authorization": f"Bearer {token}", **headers})


def issuing_site(kind: str, folder: Path, token: Mapping[str, Any] = HS512, **more: Any) -> Site | FlaskSite:
    """Return a site with a guarded `/mint`, and an open `/become/alice` that begins a session.

    Args:
        kind: One of `EVERY_KIND`.
        folder: For its files.
        token: `[token]`.
        more: More settings.
    """
    settings = settings_in(folder, token=dict(token), **more)
    found = FlaskSite(settings, issues_tokens=True) if kind == "flask" else Site(kind, settings, issues_tokens=True)
    if isinstance(found, FlaskSite):
        mint = found.compat_auth.mint_token

        def plain() -> dict[str, Any]:
            return {"token": mint(extension.current_identity).value}

        def begin() -> dict[str, Any]:
            sessions.write({"uid": "alice"})
            return {}

        found.app.add_url_rule("/mint", "mint", extension.require(plain))
        found.app.add_url_rule("/become/alice", "become", begin, methods=["POST"])
        return found
    mint_later = found.compat_auth.mint_token

    async def view() -> dict[str, Any]:
        return {"token": (await mint_later(asgi.current_identity)).value}

    async def write() -> dict[str, Any]:
        await asgi.session.write({"uid": "alice"})
        return {}

    found.route("/mint", view, asgi.require)
    found.route("/become/alice", write, method="POST")
    return found


def mint_for(site: Site | FlaskSite, identity: Identity) -> Callable[[], Any]:
    """Return a function that has the site mint for an identity that some code has kept, outside of any request."""
    if isinstance(site, FlaskSite):
        return lambda: site.compat_auth.mint_token(identity)

    async def later() -> Any:
        return await site.compat_auth.mint_token(identity)

    return lambda: asyncio.run(later())
