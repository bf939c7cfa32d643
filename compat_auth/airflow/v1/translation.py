"""Serves `/api/v1` in front of an application that has only `/api/v2`: ASGI middleware behind the gateway's.

The middleware in front has already authenticated the caller and checked scopes and requirements for the `/api/v1` path.
A requirement on a `/api/v2` path also holds for the calls made here: the old path does not bypass it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from compat_auth import __version__
from compat_auth.airflow.v1.catalog import OPERATIONS, ROUTER
from compat_auth.airflow.v1.driver import Request, drive, plan
from compat_auth.airflow.v1.messages import JSON, Reply
from compat_auth.airflow.v1.openapi import as_bytes, document
from compat_auth.airflow.v1.operation import Operation, OperationRequest
from compat_auth.airflow.v1.problems import V1Problem
from compat_auth.airflow.v1.upstream_calls import Room, Share, UpstreamCalls
from compat_auth.airflow.v1.upstream_facts import UpstreamFacts
from compat_auth.airflow_api.paths import V1
from compat_auth.api.swagger_ui import Site, swagger_files, swagger_ui
from compat_auth.crypto.strict_json import count_containers
from compat_auth.errors import NoSuchPage
from compat_auth.gateway.authorization import Authorize
from compat_auth.gateway.forwarding import AUTHORIZE, INTAKE, Forwarding
from compat_auth.gateway.middleware import Page
from compat_auth.http.asgi import ASGIApp, ClientGone, RawHeaders, Receive, Scope, Send, body_parts
from compat_auth.http.request import GateRequest

# Larger than any useful configuration of a run.
MAX_BODY_BYTES = 4 * 1024 * 1024
# Objects and lists: if the upstream checks the token, the caller is still unknown, and parsing blocks the event loop.
MAX_CONTAINERS = 150_000
# RFC 9745: the date since which `/api/v1` is deprecated. Airflow 3.0.0 was released without it on 2025-04-22.
_DEPRECATION = b"@1745280000"
_HEALTH = "/health"
_UI = f"{V1}/ui/"


class V1Translation:
    """The ASGI application.

    Args:
        app: The application behind: the reverse proxy, or Airflow's own application.
        says_deprecated: Whether answers name the successor of their operation (RFC 8594, RFC 9745).
        upstream_facts: Facts about the upstream.
        room: Memory limit for answers; None for the default.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        says_deprecated: bool = True,
        upstream_facts: UpstreamFacts | None = None,
        room: Room | None = None,
    ) -> None:
        self._app = app
        self._says_deprecated = says_deprecated
        self._upstream_facts = upstream_facts or UpstreamFacts()
        self._room = room or Room()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to `/health` or below `/api/v1`; forward everything else."""
        path = _path_of(scope)
        if path == _HEALTH:
            path = V1 + _HEALTH
        if path != V1 and not path.startswith(f"{V1}/"):
            await self._app(scope, receive, send)
            return
        try:
            with self._room.share(_client_of(scope)) as share:
                await self._answer(scope, path.removeprefix(V1), receive, send, share)
        except ClientGone:
            return

    async def _answer(self, scope: Scope, path: str, receive: Receive, send: Send, share: Share) -> None:
        method: str = scope["method"]
        headers: RawHeaders = []
        if method == "OPTIONS" and (allowed := ROUTER.methods(path)):
            headers.append((b"allow", ", ".join(allowed).encode("ascii")))
            reply: Reply | None = Reply(200)
        else:
            try:
                # Before the body: reading a large one takes long, and a caller without permission must not cause it.
                authorize = _authorize(scope, ROUTER.find(method, path)[0])
                request, steps = plan(ROUTER, await _read(scope, method, path, receive), self._upstream_facts)
                headers += self._successor(request)
                reply = await drive(
                    steps, UpstreamCalls(self._app, scope, receive, send, authorize, headers, share).send
                )
            except V1Problem as problem:
                reply = problem.reply()
        if reply is not None:
            if reply.status == HTTPStatus.SERVICE_UNAVAILABLE:
                headers.append((b"retry-after", b"1"))
            await _send(send, reply, headers, method)

    def _successor(self, request: OperationRequest) -> RawHeaders:
        if not self._says_deprecated:
            return []
        link = f'<{request.successor}>; rel="successor-version"'
        return [(b"deprecation", _DEPRECATION), (b"link", link.encode("ascii"))]


def public_pages(forwarding: Forwarding, site: Site) -> Mapping[str, Page]:
    """Return the pages of the gate that 2.11 answers without asking who it is.

    Args:
        forwarding: To the upstream.
        site: All pages of the gate.
    """
    return {
        **dict.fromkeys((_HEALTH, f"{V1}/health", f"{V1}/version"), forwarding.without_credentials),
        f"{V1}/openapi.json": _read_only(_document_as(JSON)),
        f"{V1}/openapi.yaml": _read_only(_document_as("text/yaml")),
        f"{V1}/ui": _read_only(_to_ui),
        _UI: _read_only(_only_at(_UI, swagger_ui("Airflow API (v1)", "../openapi.yaml", site))),
        **{f"{_UI}{name}": _read_only(page) for name, page in swagger_files().items()},
    }


def _document_as(content_type: str) -> Page:
    async def page(request: GateRequest, _receive: Receive, send: Send) -> None:
        # As 2.11 said it: below the path of `[api] base_url`, where there is one.
        await _send(send, Reply(200, _described(request.root), content_type), [], request.method)

    return page


@lru_cache(maxsize=4)
def _described(root: str) -> bytes:
    return as_bytes(document(OPERATIONS, __version__, root))


async def _to_ui(request: GateRequest, _receive: Receive, send: Send) -> None:
    # Seen from the client, so that it holds below any path.
    await _send(send, Reply(308), [(b"location", b"ui/")], request.method)


def _only_at(path: str, page: Page) -> Page:
    """Return the page for its exact path: the middleware routes everything below a path that ends with a slash to its page."""

    async def answer(request: GateRequest, receive: Receive, send: Send) -> None:
        if request.path != path.encode("ascii"):
            raise NoSuchPage(f"{request.path.decode('ascii')}: no such page")
        await page(request, receive, send)

    return answer


def _read_only(page: Page) -> Page:
    async def answer(request: GateRequest, receive: Receive, send: Send) -> None:
        if request.method in ("GET", "HEAD"):
            await page(request, receive, send)
        else:
            await _send(send, V1Problem(405, routed=False).reply(), [(b"allow", b"GET, HEAD")], request.method)

    return answer


def _path_of(scope: Scope) -> str:
    if scope["type"] != "http":
        return ""
    path: str = scope["raw_path"].decode("latin-1")
    return path


def _client_of(scope: Scope) -> str:
    extensions: Mapping[str, Any] = scope.get("extensions") or {}
    request: GateRequest | None = extensions.get(INTAKE)
    return "" if request is None else request.client


def _authorize(scope: Scope, operation: Operation) -> Authorize | None:
    extensions: Mapping[str, Any] = scope.get("extensions") or {}
    authorize: Authorize | None = extensions.get(AUTHORIZE)
    if authorize is None and not operation.public:
        # Nobody has authenticated this request: an error in the composition must not give access.
        raise V1Problem(401)
    return authorize


async def _read(scope: Scope, method: str, path: str, receive: Receive) -> Request:
    body = bytearray()
    if method not in ("GET", "HEAD"):
        async for part in body_parts(receive):
            body += part
            if len(body) > MAX_BODY_BYTES:
                raise V1Problem(413, f"the body is larger than {MAX_BODY_BYTES} bytes", routed=False)
    if count_containers(body) > MAX_CONTAINERS:
        raise V1Problem(413, f"the body contains more than {MAX_CONTAINERS} objects and lists", routed=False)
    given = {name: value.decode("latin-1") for name, value in scope["headers"] if name in (b"accept", b"content-type")}
    query = scope["query_string"].decode("ascii")
    return Request(method, path, query, bytes(body), given.get(b"content-type", ""), given.get(b"accept", ""))


async def _send(send: Send, reply: Reply, headers: RawHeaders, method: str) -> None:
    headers = [*headers]
    if reply.content_type:
        headers.append((b"content-type", reply.content_type.encode("ascii")))
    if reply.status != 204:
        headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else reply.body})
