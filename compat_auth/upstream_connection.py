"""One HTTP/1.1 connection to the upstream: a request out, its answer in. Parsed by httptools, as on the other side.

An answer passes in parts as they come, and a slow reader of it holds the upstream back. What the parser finds malformed,
or what comes unasked, ends the connection: the next request on it could get the wrong answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import cast

import httptools

from compat_auth.errors import UpstreamTimeout, UpstreamUnreachable
from compat_auth.headers import RawHeaders

Body = bytes | AsyncIterator[bytes]
"""A request body: held when small, else a stream that can be read once."""

MAX_ANSWER_HEAD_BYTES = 256 * 1024
# More than this of an answer waits for nobody: the upstream is held back until the client has taken it.
_HIGH_WATER_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the upstream may take, in seconds.

    Attributes:
        first_byte_s: From the end of the request to the first byte of the answer.
        idle_s: Between two parts of an answer that is passed on.
    """

    first_byte_s: float
    idle_s: float


class UpstreamConnection(asyncio.Protocol):
    """A connection; between `ask` and `release` it belongs to one request.

    Attributes:
        status: Of the answer.
        headers: Of the answer, names in lower case, in the order of the wire.
        is_open: Whether another request may be sent, as far as is known.
        freed_at: When it was last released, in the event loop's time.
    """

    def __init__(self, patience: Patience, freed: Callable[[UpstreamConnection], None]) -> None:
        self.status = 0
        self.headers: RawHeaders = []
        self.is_open = False
        self.freed_at = 0.0
        self._patience = patience
        self._freed = freed
        self._loop = asyncio.get_running_loop()
        self._parser: httptools.HttpResponseParser | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._upload: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = self._deadline = float("inf")
        self._parts: deque[bytes] = deque()

    async def ask(self, method: str, head: bytes, body: Body) -> None:
        """Send a request and return when the head of its answer is there.

        Args:
            method: Of the request.
            head: Request line and headers, with the empty line.
            body: A stream is sent in chunks where the head says so, else as it is.

        Raises:
            UpstreamUnreachable: The connection ended, or the answer is malformed.
            UpstreamTimeout: The first byte did not come in time.
        """
        self.status, self.headers = 0, []
        self._is_head = method == "HEAD"
        self._heard = self._head_done = self._ended = self._interim = self._reusable = self._held_back = False
        self._head_bytes = self._waiting_bytes = 0
        self._error: BaseException | None = None
        self._pause_s = self._patience.first_byte_s
        self._parser = httptools.HttpResponseParser(self)
        if isinstance(body, bytes):
            self._transport.write(head + body)
            self._expect_within(self._patience.first_byte_s)
        else:
            self._deadline = float("inf")
            self._upload = self._loop.create_task(self._send(head, body))
        while not self._head_done:
            if self._error is not None:
                raise self._error
            await self._wait()

    def allow_pauses(self) -> None:
        """Let the answer pause between its parts for as long as one that is passed on may."""
        self._pause_s = self._patience.idle_s
        self._deadline = self._loop.time() + self._pause_s

    async def read(self) -> tuple[bytes, bool]:
        """Return what has come of the body, and whether more may come.

        Raises:
            UpstreamUnreachable, UpstreamTimeout: The rest does not come.
        """
        while not self._parts:
            if self._ended:
                return b"", False
            if self._error is not None:
                raise self._error
            await self._wait()
        part = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._waiting_bytes = 0
        if self._held_back:
            self._held_back = False
            self._deadline = self._loop.time() + self._pause_s
            self._transport.resume_reading()
        return part, not self._ended

    def release(self) -> None:
        """Keep the connection for another request when the answer was read to its end, else end it."""
        sent = self._upload is None or self._upload.done()
        if self._upload is not None:
            self._upload.cancel()
            self._upload = None
        if sent and self._ended and self._reusable and not self._parts and self.is_open:
            self._parser = None
            self.freed_at = self._loop.time()
            self._freed(self)
        else:
            self.end()

    def end(self) -> None:
        """End the connection at once."""
        self.is_open = False
        self._transport.abort()

    @property
    def was_heard(self) -> bool:
        """Whether any byte of an answer has come since the request."""
        return self._heard

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        """End the answer where its end is the connection's, else fail it."""
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()
        self.resume_writing()
        if self._parser is None or self._ended:
            return
        if self._head_done and _lasts_until_the_end(self.headers) and exc is None:
            self._ended = True
            self._wake()
        else:
            self._fail(UpstreamUnreachable("upstream: the connection ended before the answer did"))

    def data_received(self, data: bytes) -> None:
        """Take a part of the answer."""
        if self._parser is None:
            # Nobody asked: what would come next is not the next request's answer either.
            self.end()
            return
        self._heard = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._reusable = False
            if self._ended:
                self._wake()
            else:
                self._fail(UpstreamUnreachable(f"upstream: a malformed answer: {exc}"))
            return
        if self._head_done:
            self._deadline = self._loop.time() + self._pause_s
        else:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_ANSWER_HEAD_BYTES:
                self._fail(UpstreamUnreachable(f"upstream: an answer's head above {MAX_ANSWER_HEAD_BYTES} bytes"))
        self._wake()

    def on_message_begin(self) -> None:
        """Notice an answer that nobody asked for."""
        if self._ended:
            self._reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer is not taken (RFC 9110 6.5.1)."""
        if not self._head_done:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Take the status; one below 200 comes before the answer (RFC 9110 section 15.2)."""
        parser = cast("httptools.HttpResponseParser", self._parser)
        status = parser.get_status_code()
        if self._head_done:
            return
        if status < 200:
            self._interim = True
            self.headers = []
            return
        self.status = status
        self._head_done = True
        if self._is_head:
            # The parser waits for a body that no answer to HEAD has.
            self._ended, self._reusable = True, parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; hold the upstream back when too much waits."""
        if self._ended:
            self._reusable = False
            return
        self._parts.append(body)
        self._waiting_bytes += len(body)
        if self._waiting_bytes > _HIGH_WATER_BYTES and not self._held_back:
            self._held_back = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """End the answer."""
        if self._interim:
            self._interim = False
        elif not self._ended:
            self._ended = True
            self._reusable = cast("httptools.HttpResponseParser", self._parser).should_keep_alive()

    def pause_writing(self) -> None:
        """Hold the upload back."""
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let the upload go on."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    async def _send(self, head: bytes, parts: AsyncIterator[bytes]) -> None:
        chunked = b"\r\ntransfer-encoding: chunked\r\n" in head
        # The head waits for the first part: a body that is malformed from its beginning never reaches the upstream.
        unsent = head
        try:
            async for part in parts:
                if not self.is_open:
                    return
                self._transport.write(unsent + (b"%x\r\n%b\r\n" % (len(part), part) if chunked else part))
                unsent = b""
                if self._drained is not None:
                    await self._drained
        except Exception as exc:  # noqa: BLE001  # it belongs to the request that waits, whatever it is
            self._fail(exc)
            return
        self._transport.write(unsent + (b"0\r\n\r\n" if chunked else b""))
        if not self._heard:
            self._expect_within(self._patience.first_byte_s)

    def _fail(self, error: BaseException) -> None:
        self._error = error
        self.is_open = False
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _expect_within(self, seconds: float) -> None:
        """Set the deadline; one timer serves many requests, because it only looks whether the deadline has moved."""
        self._deadline = self._loop.time() + seconds
        if self._timer is not None and self._timer_at > self._deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer_at = self._deadline
            self._timer = self._loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._parser is None or self._ended or self._error is not None:
            return
        now = self._loop.time()
        if self._held_back or self._deadline > now:
            self._timer_at = now + self._patience.idle_s if self._held_back else self._deadline
            with contextlib.suppress(OverflowError):  # a deadline without end: the upload's end sets another
                self._timer = self._loop.call_at(self._timer_at, self._look)
        else:
            self._fail(UpstreamTimeout("upstream: no answer in time"))


def _lasts_until_the_end(headers: RawHeaders) -> bool:
    """Return whether the body ends with the connection (RFC 9112 section 6.3)."""
    return not any(
        name == b"content-length" or (name == b"transfer-encoding" and value.lower().rstrip().endswith(b"chunked"))
        for name, value in headers
    )
