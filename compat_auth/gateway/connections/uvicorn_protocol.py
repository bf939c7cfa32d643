"""uvicorn's HTTP/1.1 protocol, made strict: what it lets by ends here, before the gate sees a request.

Four things, each an attack that uvicorn with httptools is open to:

- A request that asks for an upgrade (`h2c`, as Java's client does by default) loses its body, and the bytes of the body
  are read as the next request: whoever chooses a body chooses a request. We read such a request as plain HTTP/1.1
  (RFC 9110 section 7.8: a server may ignore Upgrade), also where its body is empty.
- Trailers are appended to the header list that the application reads: a credential or a forward header could come in
  behind the back of a proxy that has checked the headers. RFC 9110 section 6.5.1 forbids it.
- A header, trailer or chunk extension without end fills the memory, because it is reported only when it is complete.
- A fragment and HTTP/2.0 in the request line are cut off or ignored, and the host of the absolute form is.

A head that does not end has its time, too; what a body and an answer have is in `BoundedProtocol`.
"""

from __future__ import annotations

import asyncio
import re
from typing import cast

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from compat_auth.gateway.connections.body_parser import parser_of_body
from compat_auth.gateway.connections.bounded_protocol import BoundedProtocol
from compat_auth.gateway.connections.last_answer import last_answer
from compat_auth.http.headers import MAX_HEADER_BYTES, is_host

# Above the gate's own limit, so that a section that is too large but ends gets its 431.
MAX_UNPRODUCTIVE_BYTES = 4 * MAX_HEADER_BYTES
# As long as a patient client on a bad line may need; as short as nginx's client_header_timeout is by default.
HEADER_TIMEOUT_S = 60.0
_VERSIONS = frozenset(("1.0", "1.1"))
# RFC 9112 3.2.2. A client sends the path, if it is only "/".
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(/.*)\Z", re.IGNORECASE | re.DOTALL)
_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}


class MalformedRequest(ValueError):
    """The request line means something else to another parser; the answer is 400, and the connection ends."""


class StrictProtocol(BoundedProtocol):
    """One connection."""

    _in_head = True
    _progress = False
    _unproductive_bytes = 0
    _framing = b""
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Give the first request its time."""
        super().connection_made(transport)
        if not self._refused:
            self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what has come, or answer 400 and close."""
        if self._refused:
            return
        self._unset_keepalive_if_required()
        self._progress = False
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            reason = error.__context__
            detail = str(reason) if isinstance(reason, MalformedRequest) else "not a request of HTTP/1.1"
            self.transport.write(last_answer(400, detail))
            self.transport.close()
            return
        self._unproductive_bytes = 0 if self._progress else self._unproductive_bytes + len(data)
        if self._unproductive_bytes > MAX_UNPRODUCTIVE_BYTES:
            self.transport.abort()
        elif self._in_head and not self._progress and self._head_timer is None:
            self._start_head_timer()

    def _feed(self, data: bytes) -> None:
        rest = self._parse(data)
        while rest:
            rest = self._parse(rest)

    def _parse(self, data: bytes) -> bytes:
        """Return what the parser has left over behind a request that asks for an upgrade."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as pause:
            if self._framing:
                # An empty body ends while its parser is made.
                framing, self._framing = self._framing, b""
                self.parser = parser_of_body(self, framing)
            return data[cast("int", pause.args[0]) :]
        return b""

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Judge the request line.

        Raises:
            MalformedRequest: It is not `METHOD /path HTTP/1.1` (or 1.0).
        """
        self._in_head = False
        self._progress = True
        self._stop_head_timer()
        version = self.parser.get_http_version()
        if not self.url.startswith(b"/"):
            self._take_absolute_form(version)
        if b"#" in self.url:
            raise MalformedRequest("request target: a fragment ('#'), which is never sent (RFC 9110 section 7.1)")
        framing = [(name, value) for name, value in self.headers if name in {b"content-length", b"transfer-encoding"}]
        chunked = any(name == b"transfer-encoding" for name, _ in framing)
        if version not in _VERSIONS or (version == "1.0" and chunked):
            raise MalformedRequest("HTTP version: only 1.0, without Transfer-Encoding, and 1.1")
        if framing and self.parser.should_upgrade():
            self._framing = b"".join(b"%s: %s\r\n" % header for header in framing)
        self._has_body = bool(framing)
        super().on_headers_complete()
        # What the application reads is complete: a trailer goes to a list that nobody reads.
        self.headers = []

    def _take_absolute_form(self, version: str) -> None:
        """Keep the path of `http://host/path`; the host is the one of the Host header.

        RFC 9112 section 3.2.2 lets the target's host win. A proxy in front of us may have gone by the other one, so two
        that differ are refused.

        Raises:
            MalformedRequest: It is no such target, or its host is not that of the Host header.
        """
        match = _ABSOLUTE.match(self.url)
        if match is None or not is_host(match[1]):
            raise MalformedRequest("request target: send a path, or http://HOST/PATH (RFC 9112 section 3.2)")
        authority = match[1]
        hosts = [value for name, value in self.headers if name == b"host"]
        if not hosts and version == "1.0":
            self.headers.append((b"host", authority))
        # Without a Host header, the gate refuses what needs one.
        elif any(_without_port(host, self.url) != _without_port(authority, self.url) for host in hosts):
            raise MalformedRequest("request target: its host is not that of the Host header; send the same one")
        self.url = match[2]

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request, unless httptools ends it before its body."""
        if self._framing:
            return
        self._in_head = True
        self._progress = True
        super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: a client may ask for an upgrade and be content without (RFC 9110 section 7.8)."""

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEADER_TIMEOUT_S, self._end_slow_head)

    def _end_slow_head(self) -> None:
        self._head_timer = None
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is None or cycle.response_complete:
            self.transport.abort()
        else:
            # Some clients send a line's end after a body; the answer to it may take as long as it likes.
            self._start_head_timer()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def _without_port(host: bytes, target: bytes) -> bytes:
    """Return a host in lower case, without the port where it is the default one of the target's scheme."""
    return host.lower().removesuffix(_DEFAULT_PORTS[target.partition(b":")[0].lower()])
