"""One connection to the upstream: HTTP/1.1, one request at a time, its answer passed on while it arrives.

A byte that belongs to no answer closes the connection: the next client would get it as its own.
"""

from __future__ import annotations

import asyncio
import logging
import math
import select
from typing import Protocol, cast

from compat_auth.errors import CompatAuthError, UpstreamTimeout, UpstreamUnreachable
from compat_auth.gateway.fast.upstream.answer_reader import AnswerReader, AnswerState
from compat_auth.gateway.fast.upstream.errand import Client, Errand
from compat_auth.gateway.proxy.upstream_connection import KEEP_ALIVE_MARGIN_S
from compat_auth.telemetry import counts

logger = logging.getLogger("compat_auth.proxy")

_STIRS = select.POLLIN | select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


class Pool(Protocol):
    """The connections of a process, as one of them sees it.

    Attributes:
        head_timeout_s: Seconds to wait for the first byte of an answer.
        body_timeout_s: Longest pause within an answer.
        idle_s: Seconds for which an idle connection is kept.
    """

    head_timeout_s: float
    body_timeout_s: float
    idle_s: float

    def now(self) -> float:
        """Return the time of the event loop's clock."""
        ...

    def take_back(self, connection: UpstreamConnection) -> None:
        """Keep a connection for the next request."""

    def forget(self, connection: UpstreamConnection) -> None:
        """Forget a connection that has ended."""


class UpstreamConnection(asyncio.Protocol):
    """One connection.

    Args:
        pool: Where it belongs.

    Attributes:
        deadline: When to give up what it does, by the event loop's clock; idle: when to close it.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._reader = AnswerReader()
        self._transport: asyncio.Transport | None = None
        self._poll: select.poll | None = None
        self._client: Client | None = None
        self._errand: Errand | None = None
        self._is_paused = False
        self.deadline = math.inf

    @property
    def is_fit(self) -> bool:
        """Whether an idle connection may carry a request: it has not ended, and no byte has arrived on it."""
        transport = self._transport
        if transport is None or transport.is_closing() or self._pool.now() > self.deadline:
            return False
        # The event loop may not have come to what the kernel has already.
        return self._poll is None or not self._poll.poll(0)

    @property
    def is_busy(self) -> bool:
        """Whether a client waits for an answer."""
        return self._client is not None

    def assign(self, client: Client, errand: Errand) -> None:
        """Make a client the one that waits; the request goes out when there is a connection."""
        self._client, self._errand = client, errand
        if self._transport is not None:
            self._begin(self._transport, errand)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request, if its client still waits."""
        self._transport = cast("asyncio.Transport", transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            self._poll = select.poll()
            self._poll.register(sock.fileno(), _STIRS)
        if self._errand is None:
            self._transport.abort()
        else:
            self._begin(self._transport, self._errand)

    def _begin(self, transport: asyncio.Transport, errand: Errand) -> None:
        self._reader.begin(errand)
        self.deadline = self._pool.now() + self._pool.head_timeout_s
        transport.write(errand.data)

    def abandon(self) -> None:
        """Give up the request, because its client has gone."""
        self._client = self._errand = None
        self._abort()

    def pause_answer(self) -> None:
        """Read nothing more, because the client reads slowly."""
        if self._transport is not None and not self._is_paused:
            self._is_paused = True
            self.deadline = math.inf
            self._transport.pause_reading()

    def resume_answer(self) -> None:
        """Read on."""
        if self._transport is not None and self._is_paused:
            self._is_paused = False
            self.deadline = self._pool.now() + self._pool.body_timeout_s
            self._transport.resume_reading()

    def give_up(self) -> None:
        """End what has taken too long."""
        if self._client is None:
            self._abort()
        elif self._reader.has_passed:
            self._break_off("it paused for too long")
        else:
            self._fail(UpstreamTimeout("upstream: no answer in time"))

    def fail_to_connect(self, failure: CompatAuthError | None) -> None:
        """Note that there is no connection; nothing was sent.

        Args:
            failure: The error that the client gets; None: the ASGI application may try.
        """
        client = self._client
        self._client = self._errand = None
        self._pool.forget(self)
        if failure is not None:
            counts.upstream_failures.add("timeout")
        if client is not None:
            client.take_ordinary_way(failure)

    # Events of the transport

    def data_received(self, data: bytes) -> None:
        """Read a piece of the answer, and pass it on."""
        client, errand, reader, pool = self._client, self._errand, self._reader, self._pool
        if client is None or errand is None:
            # Nobody has asked.
            self._abort()
            return
        state = reader.feed(data)
        self.deadline = pool.now() + (pool.body_timeout_s if reader.is_in_body else pool.head_timeout_s)
        self._follow(state, client, errand)

    def eof_received(self) -> None:
        """End an answer that ends with its connection."""
        client, errand = self._client, self._errand
        if client is not None and errand is not None:
            state = self._reader.end()
            if self._reader.is_complete:
                self._follow(state, client, errand)

    def _follow(self, state: AnswerState, client: Client, errand: Errand) -> None:
        reader = self._reader
        if state is AnswerState.PASSES:
            piece = reader.take()
            if piece:
                client.pass_on(piece)
            if reader.is_complete:
                self._complete(client)
            elif reader.is_broken:
                self._break_off("it is malformed")
        elif state is AnswerState.REFUSES_TOKEN:
            # The application gets another token.
            self._fail(None)
        elif state is AnswerState.IS_UNUSUAL:
            self._give_back(errand)
        elif state is AnswerState.IS_MALFORMED:
            self._fail_to_answer(errand)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the client, if one waits."""
        del exc
        self._transport = None
        self._pool.forget(self)
        if self._client is None:
            return
        if self._reader.has_passed:
            self._break_off("the connection ended")
        elif self._errand is not None:
            self._give_back(self._errand)

    # What becomes of the answer

    def _complete(self, client: Client) -> None:
        transport, kept_s = self._transport, self._kept_s()
        self._client = self._errand = None
        if transport is not None and self._reader.leaves_connection and kept_s > 0:
            self.deadline = self._pool.now() + kept_s
            if self._is_paused:
                self._is_paused = False
                transport.resume_reading()
            self._pool.take_back(self)
        else:
            self._abort()
        client.end_answer()

    def _kept_s(self) -> float:
        """Return for how many seconds the connection may be kept."""
        said = self._reader.kept_s()
        return self._pool.idle_s if said is None else min(self._pool.idle_s, said - KEEP_ALIVE_MARGIN_S)

    def _give_back(self, errand: Errand) -> None:
        """End an attempt of which the client has got nothing."""
        if errand.may_repeat:
            self._fail(None)
        else:
            self._fail_to_answer(errand)

    def _fail_to_answer(self, errand: Errand) -> None:
        logger.warning("upstream: no whole answer to a %s", errand.method.decode("ascii"))
        self._fail(UpstreamUnreachable("upstream: no connection, or no whole answer"))

    def _fail(self, failure: CompatAuthError | None) -> None:
        if failure is not None:
            counts.upstream_failures.add("timeout" if isinstance(failure, UpstreamTimeout) else "unreachable")
        client = self._client
        self._client = self._errand = None
        self._abort()
        if client is not None:
            client.take_ordinary_way(failure)

    def _break_off(self, reason: str) -> None:
        client = self._client
        self._client = self._errand = None
        self._abort()
        counts.upstream_failures.add("broke off")
        logger.warning("upstream: answer broke off: %s", reason)
        if client is not None:
            client.break_off()

    def _abort(self) -> None:
        self._pool.forget(self)
        if self._transport is not None:
            self._transport.abort()
