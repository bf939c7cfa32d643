"""One connection of a client: requests with a warm credential are answered here, all others by the ASGI application.

A request that may take the fast path is kept until all data at hand is parsed. Only the last request in it may take that
path, and only if every request before is answered: so answers keep the order of their requests. While the upstream works
on a request, what the client sends next is kept unparsed.
"""

from __future__ import annotations

import asyncio
import math
import re
from typing import Any, ClassVar, cast

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from compat_auth.errors import CompatAuthError
from compat_auth.gateway.connections.last_answer import last_answer
from compat_auth.gateway.connections.uvicorn_protocol import StrictProtocol
from compat_auth.gateway.fast.candidate import Candidate, TakesOrdinaryWay
from compat_auth.gateway.fast.errand import Errand
from compat_auth.gateway.fast.fast_paths import FastPaths
from compat_auth.gateway.fast.upstream_connection import UpstreamConnection
from compat_auth.gateway.forwarding import FAILED
from compat_auth.gateway.proxy.header_rules import REPLAYABLE_BYTES

# PUT goes the ordinary way: aiohttp may send it twice.
_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PATCH", b"DELETE"))
_TARGET = re.compile(rb"/(?!/)[\x21\x22\x24-\x7e]*\Z")
# uvicorn refuses one that is longer than 64 KiB.
_MAX_TARGET = 16 * 1024
_LENGTH = re.compile(rb"(?:0|[1-9][0-9]{0,4})\Z")
_MAX_EARLY_BYTES = 64 * 1024
# How old the note may be that a connection is idle: noting it for every answer costs more than it is worth.
_NOTE_S = 0.2


class FastProtocol(StrictProtocol):
    """One connection.

    Attributes:
        paths: Decides which requests take the fast path.
    """

    paths: ClassVar[FastPaths]

    _candidate: Candidate | None = None
    _errand: Errand | None = None
    _upstream: UpstreamConnection | None = None
    _has_begun = False
    _early = b""
    _noted = -math.inf
    _idle_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Keep what decides about all requests of the connection."""
        super().connection_made(transport)
        self._wire = transport
        self._ends = self.paths.ends(self.server, self.client, self.scheme or "http")

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
        candidate = self._candidate
        if candidate is not None:
            self._decide(candidate)

    # Events of the parser

    def on_message_begin(self) -> None:
        """Note that a head begins; a request before it takes the ordinary way."""
        if self._candidate is not None:
            self._take_up(self._candidate)
        self._in_head = self._head_begun = True
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """Keep a request that may take the fast path.

        Raises:
            MalformedRequest: See `StrictProtocol`.
        """
        candidate = self._find_candidate()
        if candidate is None:
            self._begin(self.url, self.headers, expects_continue=self.expect_100_continue)
            return
        self._candidate = candidate
        self._head_begun = self._in_head = False
        self._in_body = self._progress = True
        self._stop_head_timer()

    def on_body(self, body: bytes) -> None:
        """Receive a piece of the body."""
        candidate = self._candidate
        if candidate is None:
            super().on_body(body)
            return
        self._progress = True
        candidate.body.append(body)
        self._count_body(len(body))

    def on_message_complete(self) -> None:
        """Note the end of the request."""
        candidate = self._candidate
        if candidate is None:
            super().on_message_complete()
            return
        candidate.is_complete = True
        self._in_head = self._progress = True
        self._in_body = False
        self._body_clock.stop()

    def _find_candidate(self) -> Candidate | None:
        parser, url, headers = self.parser, self.url, self.headers
        method = parser.get_method()
        if method not in _METHODS or self.expect_100_continue or not self._is_free():
            return None
        if parser.get_http_version() != "1.1" or not parser.should_keep_alive() or parser.should_upgrade():
            return None
        length = 0
        for name, value in headers:
            if name == b"content-length":
                if length or not _LENGTH.match(value):
                    return None
                length = int(value)
            elif name == b"transfer-encoding":
                return None
        if (
            length > (0 if method in (b"GET", b"HEAD") else REPLAYABLE_BYTES)
            or not _TARGET.match(url)
            or len(url) > _MAX_TARGET
        ):
            return None
        return Candidate(method, url, headers, length)

    def _is_free(self) -> bool:
        """Return whether every request is answered, and the client reads its answers."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if self._bounds.stopping or self.pipeline or self.flow.write_paused:
            return False
        return cycle is None or cycle.response_complete

    # The two ways

    def _decide(self, candidate: Candidate) -> None:
        if self.transport.is_closing() or not self._is_free():
            self._take_up(candidate)
            return
        if not candidate.is_complete:
            self._await_body(candidate)
            return
        try:
            planned = self.paths.plan(candidate, self._ends)
        except TakesOrdinaryWay:
            self._take_up(candidate)
            return
        if isinstance(planned, Errand):
            self._bounds.working(self)
            self._noted = -math.inf
            self._errand, self._has_begun = planned, False
            self._upstream = self.paths.send(self, planned)
        else:
            self._candidate = None
            self._wire.write(planned)
            self._note_answer()

    def _await_body(self, candidate: Candidate) -> None:
        """Give the rest of a body the time that any body has."""
        if not candidate.is_awaited:
            candidate.is_awaited = True
            self._noted = -math.inf
            self._grown_by = 0
            self._bounds.receiving(self)
            self._body_clock.start()

    def _take_up(self, candidate: Candidate, failure: CompatAuthError | None = None) -> None:
        """Give a request to uvicorn, as its parser would have done."""
        self._candidate = None
        self._noted = -math.inf
        parser, in_head, head_begun = self.parser, self._in_head, self._head_begun
        self.parser = cast("httptools.HttpRequestParser", candidate)
        try:
            self._begin(candidate.url, candidate.headers, expects_continue=False, failure=failure)
            if candidate.body:
                super().on_body(b"".join(candidate.body))
            if candidate.is_complete:
                super().on_message_complete()
        finally:
            self.parser = parser
            self._in_head, self._head_begun = in_head, head_begun

    def _begin(
        self,
        url: bytes,
        headers: list[tuple[bytes, bytes]],
        *,
        expects_continue: bool,
        failure: CompatAuthError | None = None,
    ) -> None:
        super().on_message_begin()
        self.url = url
        self.headers.extend(headers)
        self.expect_100_continue = expects_continue
        if failure is not None:
            scope = cast("dict[str, Any]", self.scope)
            scope["extensions"] = {**self._extensions, FAILED: [failure]}
        super().on_headers_complete()

    # The client's side of an errand

    def pass_on(self, data: bytes) -> None:
        """Send a piece of the answer."""
        if not self._has_begun:
            self._count_use()
        self._wire.write(data)

    def end_answer(self) -> None:
        """Wait for the next request, or close the connection."""
        errand = self._errand
        self._candidate = self._errand = self._upstream = None
        if errand is not None and errand.closes:
            self.transport.close()
            return
        self._note_answer()
        self._go_on()

    def break_off(self) -> None:
        """Close the connection, because the rest of the answer will never come."""
        self._candidate = self._errand = self._upstream = None
        self.transport.close()

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
        if self._errand is not None and (used := self._errand.granted.used) is not None:
            used()

    def _leave_upstream(self) -> None:
        if not self._has_begun:
            self._count_use()
        upstream = self._upstream
        self._errand = self._upstream = None
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
