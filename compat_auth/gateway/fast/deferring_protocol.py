"""One connection of a client whose last request is kept until somebody decides which way it takes.

A request that may take the fast path is kept until all data at hand is parsed. Only the last request in it may take that
path, and only if every request before is answered: so answers keep the order of their requests.
"""

from __future__ import annotations

import asyncio
import math
import re
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from compat_auth.errors import CompatAuthError
from compat_auth.gateway.connections.joined_writes import JoinedWrites
from compat_auth.gateway.connections.uvicorn_protocol import StrictProtocol
from compat_auth.gateway.fast.candidate import Candidate
from compat_auth.gateway.forwarding import FAILED
from compat_auth.gateway.proxy.header_rules import REPLAYABLE_BYTES

# PUT goes the ordinary way: aiohttp may send it twice.
_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PATCH", b"DELETE"))
_TARGET = re.compile(rb"/(?!/)[\x21\x22\x24-\x7e]*\Z")
# uvicorn refuses one that is longer than 64 KiB.
_MAX_TARGET = 16 * 1024
_LENGTH = re.compile(rb"(?:0|[1-9][0-9]{0,4})\Z")


class DeferringProtocol(StrictProtocol):
    """One connection; a subclass decides about requests."""

    _candidate: Candidate | None = None
    # When the connection was last noted to be idle; uvicorn's side notes that itself.
    _noted = -math.inf

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Keep the transport that joins writes, for answers that need no joining."""
        super().connection_made(transport)
        self._wire = cast("JoinedWrites", self.transport)

    def data_received(self, data: bytes) -> None:
        """Parse the data, and decide about the last request in it."""
        super().data_received(data)
        candidate = self._candidate
        if candidate is None:
            return
        if self._wire.is_closing() or not self._is_free():
            self._take_up(candidate)
        elif candidate.is_complete:
            self._decide(candidate)
        else:
            self._await_body(candidate)

    def _decide(self, candidate: Candidate) -> None:
        """Decide which way a complete request takes; every request before it is answered."""
        self._take_up(candidate)

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

    # The ordinary way

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
