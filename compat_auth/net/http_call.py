"""One HTTP request and its whole answer, within one deadline. No Flask.

It uses http.client, which follows no redirect, reads no proxy from the environment, keeps no cookie and treats all
status codes alike. It reads from a socket whose every read ends at the deadline, so that a peer that sends one byte at
a time gains nothing, whether in the head or in the body.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

# http.client bounds a line and the number of lines, which together allow 6 MB.
MAX_HEAD_BYTES = 64 * 1024
# A chunked body of one byte a chunk is six times its content.
_MAX_FRAMING = 8
_BUFFER_BYTES = 16 * 1024


class NoAnswer(Exception):
    """No complete answer came in time; the message quotes nothing that was sent or received."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The answer of a server.

    Attributes:
        status: HTTP status; a redirect is an answer like any other.
        headers: Names in lower case; of a repeated one the last.
        body: At most as long as was asked for.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpPeer:
    """A server, and how long it may take. Any thread may ask; each request has its own connection.

    Attributes:
        host: Name or address.
        port: TCP port.
        tls: For https; None for http.
        connect_timeout_s: For the connection and the TLS handshake.
        answer_timeout_s: For the request and its whole answer, head and body.
        max_body_bytes: Of the answer.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = field(repr=False, compare=False)
    connect_timeout_s: float
    answer_timeout_s: float
    max_body_bytes: int

    def ask(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> HttpAnswer:
        """Return the answer.

        Raises:
            NoAnswer: It did not come in time, is cut off or too long, or is no HTTP.
        """
        # Of the right class: it decides on the port in the Host field.
        kind = http.client.HTTPConnection if self.tls is None else http.client.HTTPSConnection
        connection = kind(self.host, self.port, timeout=self.connect_timeout_s)
        sock: socket.socket | None = None
        timed: _TimedSocket | None = None
        try:
            sock = self._connect()
            timed = _TimedSocket(sock, time.monotonic() + self.answer_timeout_s)
            connection.sock = cast("Any", timed)
            connection.request(method, target, body, {"Accept": "application/json", "Connection": "close", **headers})
            with connection.getresponse() as response:
                return self._read(response, timed.stream)
        except TimeoutError:
            has_begun = timed is not None and timed.stream.has_begun
            raise NoAnswer("answered too slowly" if has_begun else "could not be asked (TimeoutError)") from None
        # ValueError: http.client raises it for a malformed chunk size or content length.
        except (OSError, http.client.HTTPException, ValueError) as exc:
            # Only the class: a message may quote what was sent or received.
            raise NoAnswer(f"could not be asked ({type(exc).__name__})") from None
        finally:
            if sock is not None:
                sock.close()

    def _connect(self) -> socket.socket:
        """Return a connection, with the handshake done; a host's several addresses share the time."""
        deadline = time.monotonic() + self.connect_timeout_s
        failure: OSError = OSError("no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(_left_s(deadline))
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.tls is None:
                    return sock
                sock.settimeout(_left_s(deadline))
                return self.tls.wrap_socket(sock, server_hostname=self.host)
            except OSError as exc:
                sock.close()
                failure = exc
        raise failure

    def _read(self, response: http.client.HTTPResponse, stream: _TimedStream) -> HttpAnswer:
        if stream.has_ended:
            # http.client takes the end of the stream for the end of the head.
            raise NoAnswer("the answer ended too early")
        stream.allow(self.max_body_bytes * _MAX_FRAMING + MAX_HEAD_BYTES)
        body = response.read(self.max_body_bytes + 1)
        if len(body) > self.max_body_bytes:
            raise NoAnswer(f"answered with more than {self.max_body_bytes} bytes")
        if response.length not in (None, 0):
            raise NoAnswer("the answer ended too early")
        return HttpAnswer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


class _TimedStream(io.RawIOBase):
    """The bytes from a socket until the deadline (monotonic seconds), up to a limit."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        super().__init__()
        self._sock = sock
        self._deadline = deadline
        self._left = MAX_HEAD_BYTES + _BUFFER_BYTES
        self.has_begun = False
        self.has_ended = False

    def allow(self, size: int) -> None:
        """Allow that many bytes from now on."""
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        self._sock.settimeout(_left_s(self._deadline))
        size = self._sock.recv_into(buffer)
        self._left -= size
        if self._left < 0:
            raise http.client.HTTPException("too long")
        self.has_begun = True
        self.has_ended = size == 0
        return size


class _TimedSocket:
    """The methods of a socket that http.client uses."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline
        self.stream = _TimedStream(sock, deadline)

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(_left_s(self._deadline))
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self.stream, _BUFFER_BYTES)

    def close(self) -> None:
        """Do nothing: the function that made the connection closes it."""


def _left_s(deadline: float) -> float:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s
