"""Our own small pages: liveness, readiness, whoami, the public keys."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable

from compat_auth.audit.losses import LOSSES
from compat_auth.errors import CompatAuthError, UpstreamUnreachable
from compat_auth.gateway.decision import Granted
from compat_auth.gateway.identification import Identification
from compat_auth.gateway.middleware import Page
from compat_auth.gateway.refusals import Refusals
from compat_auth.gateway.server.worker_states import REPLICA, WorkerStates
from compat_auth.http.asgi import RawHeaders, Receive, Send, respond
from compat_auth.http.request import GateRequest
from compat_auth.identity import content_of

JWKS_PATH = "/.well-known/jwks.json"
_JSON = b"application/json"
_log = logging.getLogger("compat_auth.pages")
# RFC 7517 8.5.1. Short enough to be seen well within the overlap of a key rotation.
_JWKS_CACHE: RawHeaders = [(b"cache-control", b"public, max-age=300")]
_NO_STORE: RawHeaders = [(b"cache-control", b"no-store")]


async def live(_request: GateRequest, _receive: Receive, send: Send) -> None:
    """Answer 200 as long as the process runs."""
    await respond(send, 200, b'{"status":"live"}', content_type=_JSON, headers=_NO_STORE)


def ready_page(*requirements: Callable[[], Awaitable[None]]) -> Page:
    """Return the page that answers 200 while requests can be served, else 503 with the reason.

    Args:
        requirements: Each raises CompatAuthError if requests cannot be served.
    """

    async def ready(request: GateRequest, _receive: Receive, send: Send) -> None:
        replica: WorkerStates | None = request.scope.get("state", {}).get(REPLICA)
        if replica is not None and (reason := replica.why_not_ready()):
            body = json.dumps({"status": "not ready", "reason": reason}).encode()
            await respond(send, 503, body, content_type=_JSON, headers=_NO_STORE)
            return
        try:
            await asyncio.gather(*(require() for require in requirements))
        except CompatAuthError as error:
            # The reason itself, with names and addresses, is in the log.
            is_upstream = isinstance(error, UpstreamUnreachable)
            reason = "the upstream does not accept connections" if is_upstream else "the store cannot be used"
            body = json.dumps({"status": "not ready", "reason": reason}).encode()
            await respond(send, 503, body, content_type=_JSON, headers=_NO_STORE)
        else:
            await _respond_about_log(send, has_old_configuration=_is_reload_missing(replica))

    return ready


def _is_reload_missing(replica: WorkerStates | None) -> bool:
    return replica is not None and replica.reload_status.read().has_failed


async def _respond_about_log(send: Send, *, has_old_configuration: bool) -> None:
    """Answer 200, with the number of lost audit lines if there are any; 503 if requests are refused because of that.

    A reload that failed is no reason for 503: the configuration before serves, in this replica as in the others.
    """
    LOSSES.try_again()
    refuses = LOSSES.is_failing and LOSSES.may_refuse
    content: dict[str, object] = {"status": "ready"}
    if has_old_configuration:
        content["last_reload"] = "failed"
    if refuses:
        content |= {"status": "not ready", "reason": "the audit log cannot be written"}
    if LOSSES.lost:
        content["audit_lines_lost"] = LOSSES.lost
        content["audit_log"] = "failing" if LOSSES.is_failing else "written"
    body = json.dumps(content, separators=(",", ":")).encode()
    await respond(send, 503 if refuses else 200, body, content_type=_JSON, headers=_NO_STORE)


def whoami_page(identification: Identification, refusals: Refusals) -> Page:
    """Return the page that answers with the caller's identity, whatever the path rules allow the caller.

    Args:
        identification: Decides.
        refusals: Refuses.
    """

    async def whoami(request: GateRequest, _receive: Receive, send: Send) -> None:
        decision = await identification.decide(request)
        if not isinstance(decision, Granted):
            await refusals.send(send, decision, request)
            return
        content = content_of(decision.identity)
        headers = [*_NO_STORE, *decision.headers]
        await respond(send, 200, json.dumps(content).encode(), content_type=_JSON, headers=headers)

    return whoami


def jwks_page(public_keys: Callable[[], bytes]) -> Page:
    """Return the page that publishes the JSON Web Key Set (RFC 7517 section 5)."""

    async def jwks(_request: GateRequest, _receive: Receive, send: Send) -> None:
        await respond(send, 200, public_keys(), content_type=b"application/jwk-set+json", headers=_JWKS_CACHE)

    return jwks
