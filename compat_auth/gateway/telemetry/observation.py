"""Observes one request of the ASGI application: its id, its duration, and its status."""

from __future__ import annotations

from contextvars import Token
from time import perf_counter
from typing import Any

from compat_auth.concurrency.current_request import REQUEST_ID
from compat_auth.http.asgi import Scope, Send
from compat_auth.http.request import GateRequest
from compat_auth.identity import Identity
from compat_auth.telemetry import counts, tracing
from compat_auth.telemetry.access_log import OPTIONS, AccessEntry, write_access
from compat_auth.telemetry.request_ids import HEADER, request_id_of


class Observation:
    """One request; `send` in place of the server's.

    Args:
        scope: Of the request.
        send: To the caller.
        is_trusted: Whether the other end of the connection is a trusted proxy.

    Attributes:
        request_id: Its id.
        status: Status of the answer; 0 before it begins.
        sent_bytes: Bytes of the answer's body so far.
    """

    __slots__ = ("_began", "_scope", "_send", "_span", "_token", "request_id", "sent_bytes", "status")

    def __init__(self, scope: Scope, send: Send, *, is_trusted: bool) -> None:
        self.request_id = request_id_of(scope["headers"], is_trusted=is_trusted)
        self.status = self.sent_bytes = 0
        self._scope = scope
        self._send = send
        self._began = perf_counter()
        tracer = tracing.OPTIONS.tracer
        self._span = None
        if tracer is not None:
            scheme = str(scope.get("scheme", "http"))
            self._span = tracer.begin(
                scope["method"], scope["raw_path"], scheme, scope["headers"], is_trusted=is_trusted
            )
        self._token: Token[str] = REQUEST_ID.set(self.request_id.decode("ascii"))

    async def send(self, message: Any) -> None:
        """Send a piece of the answer; its head gets the id."""
        kind = message["type"]
        if kind == "http.response.start":
            self.status = message["status"]
            headers = [header for header in message["headers"] if header[0].lower() != HEADER]
            headers.append((HEADER, self.request_id))
            message = {**message, "headers": headers}
        elif kind == "http.response.body":
            self.sent_bytes += len(message.get("body", b""))
        await self._send(message)

    def end(self, request: GateRequest | None, error: BaseException | None = None) -> None:
        """Count the request, and write its line in the access log.

        Args:
            request: As it was taken in; None if it was refused before.
            error: What ends it without an answer.
        """
        REQUEST_ID.reset(self._token)
        if isinstance(error, Exception) and not self.status:
            # The server answers.
            self.status = 500
        duration_s = perf_counter() - self._began
        counts.REQUEST.observe(duration_s)
        counts.APPLICATION.count(self.status)
        if OPTIONS.is_on:
            write_access(self._access(request, duration_s))
        if self._span is not None:
            identity = None if request is None else _identity_of(request)
            backend = "" if identity is None else identity.backend
            self._span.tracer.end(self._span, self.status, self.request_id.decode("ascii"), backend)

    def _access(self, request: GateRequest | None, duration_s: float) -> AccessEntry:
        scope = self._scope
        if request is None:
            path, client = scope["raw_path"], str((scope.get("client") or ("",))[0])
            return AccessEntry(self.request_id, scope["method"], path, client, self.status, duration_s, self.sent_bytes)
        identity = _identity_of(request)
        return AccessEntry(
            self.request_id,
            request.method,
            request.path,
            request.client,
            self.status,
            duration_s,
            self.sent_bytes,
            identity.backend if identity else "",
            identity.username if identity else "",
        )


def _identity_of(request: GateRequest) -> Identity | None:
    """Return the caller, or the caller of the request that a front proxy asks about."""
    return request.identity or (None if request.original is None else request.original.identity)
