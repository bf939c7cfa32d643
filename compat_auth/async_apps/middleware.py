"""The ASGI middleware that an asynchronous app gets: it begins a visit, serves our pages, and completes each answer."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import flask
from flask import Flask
from werkzeug.test import run_wsgi_app

from compat_auth.async_apps.facts import client_of, path_of
from compat_auth.async_apps.visit import Visit
from compat_auth.concurrency.lanes import Lanes
from compat_auth.errors import CompatAuthError, ConfigError
from compat_auth.guard import OUTSIDE_FLASK
from compat_auth.http.asgi import ASGIApp, Message, Receive, Scope, Send, read_body, respond, respond_rendered
from compat_auth.http.error_responses import ErrorStyle
from compat_auth.http.forwarded import Peers
from compat_auth.outcome import Accept
from compat_auth.requirements import Requirements

MAX_BODY_BYTES = 64 * 1024
"""The longest body of a request for one of our own pages."""
_VISIT: ContextVar[tuple[Site, Visit]] = ContextVar("compat_auth_visit")


class Refused(Exception):
    """A dependency has refused the request.

    Args:
        response: What the caller is answered.
    """

    def __init__(self, response: flask.Response) -> None:
        super().__init__(response.status)
        self.response = response


@dataclass(frozen=True, slots=True)
class Site:
    """The parts that all requests of one app share.

    Attributes:
        backends: The Flask app in which the backends and our pages live.
        lanes: Threads.
        style: How refusals look.
        prefix: Of our pages.
        pages: Paths of our pages elsewhere.
        whole_app: The app itself.
        admit: Decides about Flask's current request, by requirements.
        refuse: Returns the answer to Flask's current request, whose view has raised an error; or raises it.
        answer: Makes the response of the app's framework of a status, headers and a body.
        peers: Reads the other end of a connection; None: no backend asks for it.
        named: Headers in which a backend finds who the caller is, in lower case.
    """

    backends: Flask
    lanes: Lanes
    style: ErrorStyle
    prefix: str
    pages: frozenset[str]
    whole_app: ASGIApp
    admit: Callable[[Requirements], Accept | flask.Response]
    refuse: Callable[[Exception], flask.Response]
    answer: Callable[[int, list[tuple[str, str]], bytes], object]
    peers: Peers | None = None
    named: frozenset[bytes] = frozenset()

    def visit(self, scope: Scope, send: Send) -> Visit:
        """Return the visit for a connection."""
        return Visit(scope, send, self.backends, self.lanes, self.whole_app, peers=self.peers, named=self.named)

    def answer_refusal(self, refusal: flask.Response) -> object:
        """Return the framework's response for a refusal."""
        headers = [(name, value) for name, value in refusal.headers if name.lower() != "content-length"]
        return self.answer(refusal.status_code, headers, refusal.get_data())

    def is_own(self, path: str) -> bool:
        """Return whether one of our pages has this path."""
        return path.startswith(self.prefix) or path in self.pages


def current_visit() -> tuple[Site, Visit]:
    """Return the visit at hand, and what it shares with others.

    Raises:
        ConfigError: There is no request, or its app has no `CompatAuth`.
    """
    visit = _VISIT.get(None)
    if visit is None:
        raise ConfigError(
            "compat_auth.asgi: no request of an app with CompatAuth(app) is at hand; in Flask import compat_auth.extension"
        )
    return visit


def request_at_hand() -> dict[str, str]:
    """Return method, path and client of the current request, by these names, for the audit log; nothing outside of one."""
    visit = _VISIT.get(None)
    if visit is None:
        return {}
    scope = visit[1].scope
    return {"method": str(scope.get("method", "")), "path": path_of(scope), "client": client_of(scope)}


class Middleware:
    """Around an asynchronous app.

    Args:
        app: What stands behind.
        site: Makes what its requests share, once the app is there.
    """

    def __init__(self, app: ASGIApp, site: Callable[[], Site]) -> None:
        self._app = app
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        site = self._site()
        if scope["type"] == "http" and site.is_own(path_of(scope)):
            await _answer_page(site, scope, receive, send)
            return
        visit = site.visit(scope, send)
        tokens = _VISIT.set((site, visit)), OUTSIDE_FLASK.set(lambda: visit.identity)
        try:
            await self._app(scope, receive, _completing(site, visit, send))
            await visit.settle()
        except Refused as refused:
            if not visit.is_refused:
                await _send(send, refused.response)
        finally:
            visit.close()
            _VISIT.reset(tokens[0])
            OUTSIDE_FLASK.reset(tokens[1])


def _completing(site: Site, visit: Visit, send: Send) -> Send:
    """Return a `send` that adds to the answer what the visit has for it."""
    is_replaced = False

    async def complete(message: Message) -> None:
        nonlocal is_replaced
        if is_replaced or visit.is_refused:
            return
        if message["type"] in ("http.response.start", "websocket.accept"):
            try:
                await visit.settle()
            except CompatAuthError as error:
                # The app did not wait for it: what it answers may not be true.
                is_replaced = True
                if message["type"] == "websocket.accept":
                    await visit.refuse_handshake()
                else:
                    await respond_rendered(send, site.style.render_error(error))
                return
            message = {**message, "headers": _completed(visit, list(message.get("headers", ())))}
        await send(message)

    return complete


def _completed(visit: Visit, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    headers += [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in visit.headers]
    cookie = visit.take_cookie()
    if cookie is None:
        return headers
    name = (cookie.partition("=")[0] + "=").encode("ascii")
    headers = [
        (key, value)
        for key, value in headers
        if key.lower() != b"cache-control" and not (key.lower() == b"set-cookie" and value.startswith(name))
    ]
    return [*headers, (b"set-cookie", cookie.encode("latin-1")), (b"cache-control", b"no-store")]


async def _send(send: Send, response: flask.Response) -> None:
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in response.headers
        if name.lower() != "content-length"
    ]
    await respond(send, response.status_code, response.get_data(), headers=headers)


async def _answer_page(site: Site, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer as our own Flask app does."""
    try:
        environ = site.visit(scope, send).environ()
        body = await read_body(receive, MAX_BODY_BYTES)
        environ.setdefault("CONTENT_TYPE", "")
        environ["CONTENT_LENGTH"] = str(len(body))
        environ["wsgi.input"] = BytesIO(body)
        status, headers, content = await site.lanes.run(
            client_of(scope), lambda: _run(site.backends, environ), lane="aside"
        )
    except CompatAuthError as error:
        if isinstance(error, ConfigError):
            raise
        await respond_rendered(send, site.style.render_error(error))
        return
    kept = [(name, value) for name, value in headers if name not in (b"content-length", b"content-type")]
    content_type = dict(headers).get(b"content-type", b"")
    await respond(send, status, content, content_type=content_type, headers=kept)


def _run(app: Flask, environ: dict[str, Any]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    parts, status, headers = run_wsgi_app(app, environ, buffered=True)
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return int(status.partition(" ")[0]), raw, b"".join(parts)
