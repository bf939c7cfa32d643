"""One connection of a client: requests with a warm credential are answered here, all others by the ASGI application.

While the upstream works on a request, the data that the client sends next is kept unparsed.
"""

from __future__ import annotations

import asyncio
import math
from time import perf_counter
from typing import ClassVar, cast

from compat_auth.errors import CompatAuthError
from compat_auth.gateway.connections.last_answer import last_answer
from compat_auth.gateway.fast.candidate import Candidate, TakesOrdinaryWay
from compat_auth.gateway.fast.deferring_protocol import DeferringProtocol
from compat_auth.gateway.fast.fast_paths import FastPaths
from compat_auth.gateway.fast.upstream.connection import UpstreamConnection
from compat_auth.gateway.fast.upstream.errand import Errand
from compat_auth.peer import certificates_of
from compat_auth.telemetry import counts
from compat_auth.telemetry.access_log import OPTIONS, AccessEntry, write_access

_MAX_EARLY_BYTES = 64 * 1024
# How old the note may be that a connection is idle: noting it for every answer costs more than it is worth.
_NOTE_S = 0.2


class FastProtocol(DeferringProtocol):
    """One connection.

    Attributes:
        paths: Decides which requests take the fast path.
    """

    paths: ClassVar[FastPaths]

    _errand: Errand | None = None
    _upstream: UpstreamConnection | None = None
    _has_begun = False
    _early = b""
    _idle_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Keep what decides about all requests of the connection."""
        super().connection_made(transport)
        has_certificate = bool(certificates_of({"extensions": self._extensions}))
        self._ends = self.paths.ends(self.server, self.client, self.scheme or "http", has_certificate=has_certificate)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up the request at the upstream."""
        self._candidate = None
        self._leave_upstream()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the data, and answer or forward the request in it."""
        if self._errand is not None:
            self._early += data
            if len(self._early) > _MAX_EARLY_BYTES:
                self.flow.pause_reading()
            return
        super().data_received(data)

    def _decide(self, candidate: Candidate) -> None:
        began = perf_counter()
        try:
            planned = self.paths.plan(candidate, self._ends)
        except TakesOrdinaryWay:
            self._take_up(candidate)
            return
        if isinstance(planned, Errand):
            self._bounds.working(self)
            self._noted = -math.inf
            planned.began = began
            self._errand, self._has_begun = planned, False
            self._upstream = self.paths.send(self, planned)
        else:
            self._candidate = None
            self._wire.write_at_once(planned)
            # "HTTP/1.1 ", and then the status.
            counts.FAST_FORWARD_AUTH.count(int(planned[9:12]))
            self._note_answer()

    # The client's side of an errand

    def pass_on(self, data: bytes) -> None:
        """Send a piece of the answer."""
        errand = self._errand
        if not self._has_begun:
            self._count_use()
            if errand is not None:
                counts.UPSTREAM.observe(perf_counter() - errand.began)
                counts.UPSTREAM_ANSWERS.count(errand.status)
        if errand is not None:
            errand.sent_bytes += len(data)
        self._wire.write_at_once(data)

    def end_answer(self) -> None:
        """Wait for the next request, or close the connection."""
        errand = self._errand
        self._candidate = self._errand = self._upstream = None
        if errand is not None:
            self._observe(errand)
        if errand is not None and errand.closes:
            self.transport.close()
            return
        self._note_answer()
        self._go_on()

    def break_off(self) -> None:
        """Close the connection, because the rest of the answer will never come."""
        errand = self._errand
        self._candidate = self._errand = self._upstream = None
        if errand is not None:
            self._observe(errand)
        self.transport.close()

    def _observe(self, errand: Errand) -> None:
        """Count a request whose answer has ended, or never will."""
        duration_s = perf_counter() - errand.began
        counts.REQUEST.observe(duration_s)
        if errand.sent_bytes < 0:
            # The client has left before the head was sent.
            errand.status = errand.sent_bytes = 0
        counts.FAST.count(errand.status)
        backend = username = ""
        if errand.granted is not None:
            backend, username = errand.granted.identity.backend, errand.granted.identity.username
            counts.count_cached(backend)
        self.paths.count(errand)
        if OPTIONS.is_on:
            write_access(
                AccessEntry(
                    errand.request_id,
                    errand.method.decode("ascii"),
                    errand.path,
                    errand.caller,
                    errand.status,
                    duration_s,
                    errand.sent_bytes,
                    backend,
                    username,
                )
            )

    def take_ordinary_way(self, failure: CompatAuthError | None) -> None:
        """Give the request to the ASGI application; nothing of an answer has been sent."""
        candidate = self._candidate
        self._errand = self._upstream = None
        if candidate is not None:
            self._take_up(candidate, failure)
            self._go_on()

    def _go_on(self) -> None:
        """Parse what the client has sent meanwhile."""
        early, self._early = self._early, b""
        if early:
            self.flow.resume_reading()
            self.data_received(early)

    def _count_use(self) -> None:
        """Count the use of the credential; where the application gets the request in the end, it counts."""
        self._has_begun = True
        granted = None if self._errand is None else self._errand.granted
        if granted is not None and granted.used is not None:
            granted.used()

    def _leave_upstream(self) -> None:
        if not self._has_begun:
            self._count_use()
        upstream, errand = self._upstream, self._errand
        self._errand = self._upstream = None
        if errand is not None:
            self._observe(errand)
        if upstream is not None:
            upstream.abandon()

    def pause_writing(self) -> None:
        """Read nothing more of the answer, because the client reads slowly."""
        super().pause_writing()
        if self._upstream is not None:
            self._upstream.pause_answer()

    def resume_writing(self) -> None:
        """Read on."""
        super().resume_writing()
        if self._upstream is not None:
            self._upstream.resume_answer()

    # What a connection is asked for, and its end

    def _is_answered(self) -> bool:
        return self._candidate is None and self._errand is None and super()._is_answered()

    def _note_answer(self) -> None:
        self.server_state.total_requests += 1
        self.idle_since = now = self.loop.time()
        if now - self._noted > _NOTE_S:
            self._noted = now
            self._bounds.idle(self)
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._end_if_idle)

    def _end_if_idle(self) -> None:
        self._idle_timer = None
        if not self.is_idle:
            return
        left_s = self.idle_since + self.timeout_keep_alive - self.loop.time()
        if left_s <= 0:
            self.timeout_keep_alive_handler()
        else:
            self._idle_timer = self.loop.call_later(left_s, self._end_if_idle)

    def announce_close(self) -> None:
        """Send `Connection: close` with the pending answer, if that answer has not begun."""
        if self._errand is not None and not self._has_begun:
            self._errand.closes = True
        super().announce_close()

    def _end_with(self, status: int, detail: str, retry_after_s: int | None = None) -> None:
        if self._errand is None:
            if self._candidate is not None:
                self._take_up(self._candidate)
            super()._end_with(status, detail, retry_after_s)
            return
        self._candidate, has_begun = None, self._has_begun
        self._leave_upstream()
        if has_begun or self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self._refused = True
            self.transport.write(last_answer(status, detail, retry_after_s=retry_after_s))
            self.transport.close()


def fast_protocol(paths: FastPaths) -> type[FastProtocol]:
    """Return the class of connections that take these fast paths."""
    return cast("type[FastProtocol]", type("FastProtocol", (FastProtocol,), {"paths": paths}))
