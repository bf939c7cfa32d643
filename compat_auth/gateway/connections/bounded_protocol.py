"""One connection of a worker: it counts toward the limits, has timeouts, and gets an answer where one is due."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from compat_auth.gateway.connections import bounds, clocks
from compat_auth.gateway.connections.bounds import ConnectionBounds
from compat_auth.gateway.connections.clocks import BodyClock, WriteClock
from compat_auth.gateway.connections.far_end import far_end
from compat_auth.gateway.connections.joined_writes import JoinedWrites
from compat_auth.gateway.connections.last_answer import last_answer
from compat_auth.http.asgi import ASGIApp, Message, Receive, Scope, Send

PROGRESS_BYTES = int(bounds.STALLED_S * clocks.MIN_WINDOW_BYTES / clocks.WINDOW_S)
"""How many bytes count as progress of a body: a client that sends a byte now and then must not hold a place."""
REFUSAL_S = 1.0
"""How long a rejected connection stays open, so that its client can read why."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ServerConfig(uvicorn.Config):
    """uvicorn's configuration, plus our connection limits and TLS.

    Attributes:
        bounds: The limits of a worker's connections.
        tls: The TLS of its listeners; None: plain HTTP.
    """

    bounds: ConnectionBounds
    tls: ssl.SSLContext | None = None

    def load(self) -> None:
        """Make ready what uvicorn makes of its settings."""
        super().load()
        self.ssl = self.tls


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    Attributes:
        idle_since: When it last became idle, by the event loop's clock.
    """

    _has_body = True
    _in_body = False
    _grown_by = 0
    _head_begun = False
    _refused = False

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._bounds = config.bounds if isinstance(config, ServerConfig) else ConnectionBounds()
        self._body_clock = BodyClock(self.loop, self._holds_body_back, self._end_slow_body)
        self.idle_since: float = self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Count the connection, or reject it."""
        self._write_clock = WriteClock(self.loop, transport)
        joined = JoinedWrites(transport, self.loop, at_close=self._write_clock.start)
        super().connection_made(cast("asyncio.Transport", joined))
        self.client = self.client or far_end(transport)
        self._refused = not self._bounds.admit(self, self.client[0] if self.client else "")
        if self._refused:
            self._refuse()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._body_clock.stop()
        self._write_clock.stop()
        self._bounds.leave(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Start the clock for the client to read its answer."""
        super().pause_writing()
        self._write_clock.start()

    def resume_writing(self) -> None:
        """Stop the clock, unless the rest of the last answer must still go out."""
        if not self.transport.is_closing():
            self._write_clock.stop()
        super().resume_writing()

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._head_begun = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that a body begins, which may be empty."""
        self._head_begun = False
        self._in_body = True
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            # RFC 9110 section 10.1.1: such a client would mistake the interim answer for the final one.
            self.cycle.waiting_for_100_continue = False
        if self._bounds.stopping:
            self.cycle.keep_alive = False
        if self._has_body:
            self._grown_by = 0
            self._bounds.receiving(self)
            self._body_clock.start()

    def on_body(self, body: bytes) -> None:
        """Receive a piece of the body."""
        super().on_body(body)
        self._count_body(len(body))

    def _count_body(self, size: int) -> None:
        self._body_clock.received(size)
        self._grown_by += size
        if self._grown_by >= PROGRESS_BYTES:
            self._grown_by = 0
            self._bounds.receiving(self)

    def on_message_complete(self) -> None:
        """Note that the body is complete."""
        self._in_body = False
        self._body_clock.stop()
        self._bounds.working(self)
        super().on_message_complete()
        self._note_idle()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._note_idle()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; abort it if its client has not read the last answer in time."""
        self._end_idle()

    def make_room(self) -> None:
        """Close a connection that waits for its client; answer 408 if a request has begun."""
        if self.is_idle:
            self._end_idle()
        else:
            self._end_slow_body()

    @property
    def is_idle(self) -> bool:
        """Whether no byte of an unanswered request has arrived."""
        return not self._in_body and not self._head_begun and self._is_answered()

    def announce_close(self) -> None:
        """Send `Connection: close` with the pending answer, if that answer has not begun."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is not None and not cycle.response_started:
            cycle.keep_alive = False

    def end_for_stop(self) -> None:
        """Answer a pending request with 503, because the process ends."""
        self._end_with(503, "the replica is stopping; try again", retry_after_s=1)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, cast("Any", _without_cancellation(cycle, _with_body_requested(cycle, app))))

    def _note_idle(self) -> None:
        if not self._in_body and self._is_answered():
            self.idle_since = self.loop.time()
            self._bounds.idle(self)

    def _is_answered(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return not self.pipeline and (cycle is None or cycle.response_complete)

    def _end_idle(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        elif not self.transport.is_closing():
            self.transport.close()

    def _refuse(self) -> None:
        self._refused = True
        self.transport.write(last_answer(503, "too many connections; try again later", retry_after_s=5))
        if self._bounds.may_linger(self):
            # A request that arrives after we close resets the connection, and the client loses our answer.
            self.loop.call_later(REFUSAL_S, self.transport.abort)
        else:
            self.transport.close()

    def _holds_body_back(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if self.flow.read_paused or self.pipeline:
            return True
        if cycle is None or cycle.response_complete:
            return False
        # While an answer is being sent, its end decides; a client that waits for `100 Continue` may send nothing.
        return cycle.response_started or cycle.waiting_for_100_continue

    def _end_slow_body(self) -> None:
        self._end_with(408, "the request body made no progress")

    def _end_with(self, status: int, detail: str, retry_after_s: int | None = None) -> None:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is None or cycle.response_started or self.pipeline or self.transport.get_write_buffer_size():
            self.transport.abort()
            return
        # The application sees a disconnected client.
        cycle.disconnected = True
        cycle.message_event.set()
        self._refused = True
        self.transport.write(last_answer(status, detail, retry_after_s=retry_after_s))
        self.transport.close()


def _with_body_requested(cycle: RequestResponseCycle, app: ASGIApp) -> ASGIApp:
    """Return an application that asks for a held-back body before it answers early.

    Java 17 waits forever if a final answer arrives instead of `100 Continue`, and Go's client sends its next request
    in place of the body. RFC 9110 section 10.1.1 lets a server ask for a body at any time; we read and drop it.
    """

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_after_asking(message: Message) -> None:
            if cycle.waiting_for_100_continue:
                cycle.waiting_for_100_continue = False
                if cycle.keep_alive and cycle.more_body and not cycle.body and not cycle.disconnected:
                    cycle.transport.write(_CONTINUE)
            await send(message)

        await app(scope, receive, send_after_asking)

    return run


def _without_cancellation(cycle: RequestResponseCycle, app: ASGIApp) -> ASGIApp:
    """Return an application whose cancellation is not reported once we have answered its client."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            if not cycle.disconnected:
                raise

    return run
