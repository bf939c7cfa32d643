"""uvicorn's HTTP/1.1 protocol, made strict: it rejects what uvicorn accepts, before the middleware sees a request.

It closes four attacks that work against uvicorn with httptools:

- A request that asks for an upgrade (`h2c`, as Java's client does by default) loses its body, and uvicorn reads the
  body as the next request: an attacker who chooses a body chooses a request. We read such a request as plain HTTP/1.1
  (RFC 9110 section 7.8: a server may ignore Upgrade), even if its body is empty.
- uvicorn appends trailers to the header list that the application reads: a credential or a forward header could bypass
  a proxy that has checked the headers. RFC 9110 section 6.5.1 forbids it.
- An endless header, trailer or chunk extension fills the memory, because httptools reports it only when it is complete.
- uvicorn cuts off or ignores a fragment, HTTP/2.0 and the host of the absolute form in the request line.

A head also has a timeout; those of bodies and answers are in `BoundedProtocol`.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from compat_auth.gateway.connections.body_parser import body_parser
from compat_auth.gateway.connections.bounded_protocol import BoundedProtocol
from compat_auth.gateway.connections.last_answer import last_answer
from compat_auth.http.headers import MAX_HEADER_BYTES, is_host
from compat_auth.peer import FROM_SOCKET, tls_extension

# Above the middleware's own limit, so that a header section that is too large but complete gets its 431.
MAX_UNPRODUCTIVE_BYTES = 4 * MAX_HEADER_BYTES
# Long enough for a client on a bad network; nginx's client_header_timeout has the same default.
HEADER_TIMEOUT_S = 60.0
_VERSIONS = frozenset(("1.0", "1.1"))
# RFC 9112 3.2.2: a client sends the path even if it is only "/".
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(/.*)\Z", re.IGNORECASE | re.DOTALL)
_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}


class MalformedRequest(ValueError):
    """Another parser may read the request line differently; the answer is 400, and the connection closes."""


class StrictProtocol(BoundedProtocol):
    """One connection."""

    _in_head = True
    _progress = False
    _unproductive_bytes = 0
    _framing = b""
    _head_timer: asyncio.TimerHandle | None = None
    _extensions: dict[str, Any]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Start the timeout of the first request's head, and keep the certificate that the client has shown."""
        super().connection_made(transport)
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        certificate = None if tls is None else tls.getpeercert(binary_form=True)
        self._extensions = {FROM_SOCKET: True, **(tls_extension(certificate) if certificate else {})}
        if not self._refused:
            self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the data, or answer 400 and close."""
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
        """Parse, and return the bytes that follow the head of a request that asks for an upgrade."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as pause:
            if self._framing:
                # An empty body ends during the creation of its parser.
                framing, self._framing = self._framing, b""
                self.parser = body_parser(self, framing)
            return data[cast("int", pause.args[0]) :]
        return b""

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._in_head = True
        super().on_message_begin()
        self.scope["extensions"] = self._extensions

    def on_headers_complete(self) -> None:
        """Check the request line.

        Raises:
            MalformedRequest: The line is not `METHOD /path HTTP/1.1` (or 1.0).
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
        # The application's headers are complete: trailers go to a list that nobody reads.
        self.headers = []

    def _take_absolute_form(self, version: str) -> None:
        """Keep only the path of `http://host/path`; the host must be that of the Host header.

        RFC 9112 section 3.2.2 gives the target's host precedence. A proxy in front of us may have used the Host header,
        so we reject two different hosts.

        Raises:
            MalformedRequest: The target has another form, or its host differs from the Host header.
        """
        match = _ABSOLUTE.match(self.url)
        if match is None or not is_host(match[1]):
            raise MalformedRequest("request target: send a path, or http://HOST/PATH (RFC 9112 section 3.2)")
        authority = match[1]
        hosts = [value for name, value in self.headers if name == b"host"]
        if not hosts and version == "1.0":
            self.headers.append((b"host", authority))
        # The middleware rejects a request without a Host header where it needs one.
        elif any(_without_port(host, self.url) != _without_port(authority, self.url) for host in hosts):
            raise MalformedRequest("request target: its host is not that of the Host header; send the same one")
        self.url = match[2]

    def on_body(self, body: bytes) -> None:
        """Receive a piece of the body."""
        self._progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note the end of the request, unless httptools reports it before the body."""
        if self._framing:
            return
        self._in_head = True
        self._progress = True
        super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: a client that asks for an upgrade must also work without one (RFC 9110 section 7.8)."""

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEADER_TIMEOUT_S, self._end_slow_head)

    def _end_slow_head(self) -> None:
        self._head_timer = None
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is None or cycle.response_complete:
            self.transport.abort()
        else:
            # Some clients send a line break after a body; this must not time out the answer.
            self._start_head_timer()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def _without_port(host: bytes, target: bytes) -> bytes:
    """Return a host in lower case, without the default port of the target's scheme."""
    return host.lower().removesuffix(_DEFAULT_PORTS[target.partition(b":")[0].lower()])
