"""`/api/v1` in front of an application that knows `/api/v2` only: ASGI middleware between the gate and what is behind.

It runs behind the gate: who the caller is, and whether scopes and requirements allow the `/api/v1` path, is decided
by then. A requirement on a `/api/v2` path holds for the calls made here as well: the old name is no way around it.
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

# Larger than any configuration of a run that a scheduler can bear.
MAX_BODY_BYTES = 4 * 1024 * 1024
# Objects and lists: whose token the upstream is to judge may be nobody, and nothing else runs while a body is parsed.
MAX_CONTAINERS = 150_000
# RFC 9745: the moment since which `/api/v1` is deprecated. Airflow 3.0.0 came out without it on 2025-04-22.
_DEPRECATION = b"@1745280000"
_HEALTH = "/health"
_UI = f"{V1}/ui/"


class V1Translation:
    """The ASGI application.

    Args:
        app: What stands behind: the reverse proxy, or Airflow's own application.
        says_deprecated: Answers name the successor of their operation (RFC 8594, RFC 9745).
        facts: What is known about the upstream.
        room: For answers that are held; None for the usual.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        says_deprecated: bool = True,
        facts: UpstreamFacts | None = None,
        room: Room | None = None,
    ) -> None:
        self._app = app
        self._says_deprecated = says_deprecated
        self._facts = facts or UpstreamFacts()
        self._room = room or Room()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request below `/api/v1`, and `/health`; hand everything else on."""
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
                # Before the body: to read a large one takes long, and nobody has asked who sends it.
                demand = _demand(scope, ROUTER.find(method, path)[0])
                asked, steps = plan(ROUTER, await _read(scope, method, path, receive), self._facts)
                headers += self._successor(asked)
                reply = await drive(steps, UpstreamCalls(self._app, scope, receive, send, demand, headers, share).send)
            except V1Problem as problem:
                reply = problem.reply()
        if reply is not None:
            if reply.status == HTTPStatus.SERVICE_UNAVAILABLE:
                headers.append((b"retry-after", b"1"))
            await _send(send, reply, headers, method)

    def _successor(self, asked: OperationRequest) -> RawHeaders:
        if not self._says_deprecated:
            return []
        link = f'<{asked.successor}>; rel="successor-version"'
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
    """Return the page at its path alone: to the gate, one that ends with a slash stands for all below it."""

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


def _demand(scope: Scope, operation: Operation) -> Authorize | None:
    extensions: Mapping[str, Any] = scope.get("extensions") or {}
    demand: Authorize | None = extensions.get(AUTHORIZE)
    if demand is None and not operation.public:
        # Nobody has asked who this is: a mistake in how the parts were joined must not open anything.
        raise V1Problem(401)
    return demand


async def _read(scope: Scope, method: str, path: str, receive: Receive) -> Request:
    body = bytearray()
    if method not in ("GET", "HEAD"):
        async for part in body_parts(receive):
            body += part
            if len(body) > MAX_BODY_BYTES:
                raise V1Problem(413, f"the body is larger than {MAX_BODY_BYTES} bytes", routed=False)
    if count_containers(body) > MAX_CONTAINERS:
        raise V1Problem(413, f"the body has more than {MAX_CONTAINERS} objects and lists", routed=False)
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
