"""One connection to the upstream: HTTP/1.1, one request at a time, its answer passed on while it arrives.

llhttp parses the answer, as in aiohttp. A byte that belongs to no answer closes the connection: the next client would
get it as its own. Nothing of an answer that is given up reaches a client: pieces are collected while a packet is parsed,
and sent only when it is known that the answer passes.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import select
from typing import Protocol, cast

import httptools

from compat_auth.errors import CompatAuthError, UpstreamTimeout, UpstreamUnreachable
from compat_auth.gateway.fast.answer_head import AnswerHead, answer_head
from compat_auth.gateway.fast.errand import Client, Errand
from compat_auth.gateway.proxy.upstream_connection import KEEP_ALIVE_MARGIN_S
from compat_auth.http.asgi import RawHeaders
from compat_auth.tokens.upstream_refusals import MAX_REFUSAL_BYTES

logger = logging.getLogger("compat_auth.proxy")

MAX_HEAD_BYTES = 64 * 1024
"""Longest head of an answer, interim answers included."""
MAX_HEADERS = 128
"""Most headers of an answer, as in aiohttp."""
_TIMEOUT = re.compile(rb"(?:^|[,\s])timeout\s*=\s*([0-9]{1,9})(?![0-9])", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"
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
        self._parser = _new_parser(self)
        self._transport: asyncio.Transport | None = None
        self._poll: select.poll | None = None
        self._client: Client | None = None
        self._errand: Errand | None = None
        self._is_paused = False
        self.deadline = math.inf
        self._clear()

    def _clear(self) -> None:
        self._headers: RawHeaders = []
        self._out: list[bytes] = []
        self._head: AnswerHead | None = None
        self._held: list[bytes] | None = None
        self._head_bytes = 0
        self._is_interim = False
        self._is_unusual = False
        self._is_complete = False
        self._is_kept = False
        self._has_stray = False
        self._has_sent = False

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
        self._clear()
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
        elif self._has_sent:
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
        if client is not None:
            client.take_ordinary_way(failure)

    # Events of the transport

    def data_received(self, data: bytes) -> None:
        """Parse a piece of the answer, and pass it on."""
        client, errand = self._client, self._errand
        if client is None or errand is None:
            self._abort()
            return
        pool = self._pool
        is_broken = not self._parse(data)
        if self._is_complete and errand.method == b"HEAD":
            self._restart_parser(data)
        self.deadline = pool.now() + (
            pool.head_timeout_s if self._head is None or self._held is not None else pool.body_timeout_s
        )
        is_hopeless = is_broken and not self._is_complete and not self._has_sent
        if self._is_unusual or is_hopeless or (self._head is None and self._head_bytes > MAX_HEAD_BYTES):
            self._give_back(errand)
        elif self._held is None or self._is_held_no_longer(errand):
            self._pass_on(client)
            if self._is_complete:
                self._complete(client, is_broken=is_broken)
            elif is_broken:
                self._break_off("it is malformed")
        elif self._is_complete:
            # The token is refused, and the request has not been done: the ASGI application gets another token.
            self._take_ordinary_way()

    def _parse(self, data: bytes) -> bool:
        """Return whether the data is well-formed; the parser's events say what it is."""
        if self._head is None:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return False
        return True

    def eof_received(self) -> None:
        """End an answer that ends with its connection."""
        client, head = self._client, self._head
        if client is not None and head is not None and head.ends_with_connection and not self._is_unusual:
            errand = self._errand
            self._is_complete = True
            self._out.append(b"0\r\n\r\n")
            if self._held is not None and errand is not None and not self._is_held_no_longer(errand):
                self._take_ordinary_way()
                return
            self._pass_on(client)
            self._is_kept = False
            self._complete(client, is_broken=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the client, if one waits."""
        del exc
        self._transport = None
        self._pool.forget(self)
        if self._client is None:
            return
        if self._has_sent:
            self._break_off("the connection ended")
        elif self._errand is not None:
            self._give_back(self._errand)

    # Events of the parser

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._has_stray = self._has_stray or self._is_complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """Receive a header; a trailer is dropped (RFC 9110 section 6.5.1)."""
        if self._head is None:
            self._headers.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """Make the head for the client."""
        errand = self._errand
        if self._is_complete or errand is None:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._is_interim = True
            return
        if len(self._headers) > MAX_HEADERS:
            self._is_unusual = True
            return
        head = answer_head(status, self._headers, errand.method, closes=errand.closes)
        if head is None or status == 401:
            self._is_unusual = True
            return
        self._head = head
        self._out.append(head.data)
        if status == 403 and errand.method != b"HEAD":
            self._held = []
        if errand.method == b"HEAD":
            self._is_complete, self._is_kept = True, self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """Receive a piece of the body."""
        head = self._head
        if self._is_complete:
            self._has_stray = True
        elif head is not None and not self._is_unusual:
            if self._held is not None:
                self._held.append(body)
            self._out.append(b"%x\r\n%b\r\n" % (len(body), body) if head.is_chunked else body)

    def on_message_complete(self) -> None:
        """Note the end of the answer, or of an interim answer."""
        if self._is_interim:
            self._is_interim = False
            self._headers = []
        elif not self._is_complete and self._head is not None:
            self._is_complete, self._is_kept = True, self._parser.should_keep_alive()
            if self._head.is_chunked:
                self._out.append(b"0\r\n\r\n")

    # What becomes of the answer

    def _pass_on(self, client: Client) -> None:
        out = self._out
        if out:
            self._out = []
            self._has_sent = True
            client.pass_on(b"".join(out) if len(out) > 1 else out[0])

    def _is_held_no_longer(self, errand: Errand) -> bool:
        """Return whether a 403 passes: it is complete, or too long for a refused token, and refuses a permission."""
        body, head = b"".join(self._held or ()), self._head
        if not self._is_complete and len(body) <= MAX_REFUSAL_BYTES:
            return False
        if head is not None and errand.is_refused(body, head.encoding):
            return False
        self._held = None
        return True

    def _complete(self, client: Client, *, is_broken: bool) -> None:
        ends = self._ends_at()
        self._client = self._errand = None
        transport = self._transport
        if self._is_kept and not is_broken and not self._has_stray and transport is not None and ends > 0:
            self.deadline = self._pool.now() + ends
            if self._is_paused:
                self._is_paused = False
                transport.resume_reading()
            self._pool.take_back(self)
        else:
            self._abort()
        client.end_answer()

    def _ends_at(self) -> float:
        """Return for how many seconds the connection may be kept."""
        for name, value in self._headers:
            if len(name) == 10 and name.lower() == b"keep-alive" and (match := _TIMEOUT.search(value)):
                return min(self._pool.idle_s, int(match[1]) - KEEP_ALIVE_MARGIN_S)
        return self._pool.idle_s

    def _give_back(self, errand: Errand) -> None:
        """End an attempt of which the client has got nothing."""
        if errand.may_repeat or self._is_unusual_refusal():
            self._take_ordinary_way()
            return
        logger.warning("upstream: no whole answer to a %s", errand.method.decode("ascii"))
        self._fail(UpstreamUnreachable("upstream: no connection, or no whole answer"))

    def _is_unusual_refusal(self) -> bool:
        # A request with a refused token has not been done.
        return self._is_unusual and self._parser.get_status_code() == 401

    def _take_ordinary_way(self) -> None:
        self._fail(None)

    def _fail(self, failure: CompatAuthError | None) -> None:
        client = self._client
        self._client = self._errand = None
        self._abort()
        if client is not None:
            client.take_ordinary_way(failure)

    def _break_off(self, reason: str) -> None:
        client = self._client
        self._client = self._errand = None
        self._abort()
        logger.warning("upstream: answer broke off: %s", reason)
        if client is not None:
            client.break_off()

    def _abort(self) -> None:
        self._pool.forget(self)
        if self._transport is not None:
            self._transport.abort()

    def _restart_parser(self, data: bytes) -> None:
        """Begin again after an answer to HEAD: llhttp cannot know that no body follows."""
        self._is_kept = self._is_kept and data.endswith(_END_OF_HEAD) and data.count(_END_OF_HEAD) == 1
        self._parser = _new_parser(self)


def _new_parser(connection: UpstreamConnection) -> httptools.HttpResponseParser:
    """Return a parser that accepts what aiohttp's accepts, so that both ways to the upstream accept the same answers."""
    parser = httptools.HttpResponseParser(connection)
    if hasattr(parser, "set_dangerous_leniencies"):
        parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
    return parser
