"""A client that sends bytes as they are, to one host only. Standard library only."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_LONGEST_ANSWER = 2**22
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it stood on the wire; names of headers in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for found, value in self.headers if found == name]


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came back.

    Attributes:
        answers: Complete final answers, in order.
        is_closed: Whether the server ended the connection.
        is_silent: Whether neither an answer nor an end came in time.
    """

    answers: tuple[Answer, ...]
    is_closed: bool
    is_silent: bool


class Client:
    """Connects to one host, and to no other.

    Args:
        base_url: http or https; its path is not used.
        timeout_s: How long a server may take for the first answer.
        linger_s: How long to wait for a second answer.
        verify: Whether to check the certificate.
    """

    def __init__(self, base_url: str, *, timeout_s: float = 5.0, linger_s: float = 0.05, verify: bool = True) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{base_url}: not the URL of a server; give one such as http://127.0.0.1:8088")
        self.name = parts.hostname
        self._address = (parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
        self._timeout_s, self._linger_s = timeout_s, linger_s
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        if self._tls is not None and not verify:
            self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE

    def send(self, raw: bytes, *, is_alone: bool = False) -> Exchange:
        """Send the bytes on a new connection and return what comes.

        Args:
            raw: One request or several.
            is_alone: Whether one answer is all that is waited for.

        Raises:
            OSError: The server takes no connection.
        """
        with contextlib.closing(self._connect()) as connection:
            received, is_closed, is_silent = b"", False, False
            is_head = raw.lstrip(b"\r\n").startswith(b"HEAD ")
            # A server that has refused the head need not read the rest.
            with contextlib.suppress(OSError):
                connection.sendall(raw)
            deadline = time.monotonic() + self._timeout_s
            while len(received) < _LONGEST_ANSWER:
                found = parse_answers(received, is_head=is_head)
                if found and (is_alone or "close" in found[-1].values("connection")):
                    is_closed = True
                    break
                connection.settimeout(self._linger_s if found else max(0.01, deadline - time.monotonic()))
                try:
                    part = connection.recv(65536)
                except TimeoutError:
                    is_silent = not found
                    break
                except OSError:
                    part = b""
                if not part:
                    is_closed = True
                    break
                received += part
        return Exchange(tuple(parse_answers(received, is_head=is_head, is_closed=is_closed)), is_closed, is_silent)

    def ask_json(self, target: str, host: str, headers: list[tuple[str, str]]) -> Any:
        """Return the JSON document at a path.

        Raises:
            RuntimeError: The answer is not a JSON document.
        """
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        raw = f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{lines}Connection: close\r\n\r\n".encode("latin-1")
        for answer in self.send(raw, is_alone=True).answers:
            with contextlib.suppress(ValueError):
                return json.loads(answer.body)
        raise RuntimeError(f"{target}: no JSON document; is the upstream echo.py, and is the credential good?")

    def _connect(self) -> socket.socket:
        plain = socket.create_connection(self._address, timeout=self._timeout_s)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return plain if self._tls is None else self._tls.wrap_socket(plain, server_hostname=self.name)


def parse_answers(received: bytes, *, is_head: bool = False, is_closed: bool = False) -> list[Answer]:
    """Return the complete final answers at the start of the bytes.

    Args:
        received: What the server sent.
        is_head: Whether the first answer has no body, because the request was HEAD.
        is_closed: Whether the connection has ended: what is left then is the body of an answer without a length.
    """
    answers: list[Answer] = []
    while b"\r\n\r\n" in received and (status_line := _STATUS.match(received)):
        head, _, rest = received.partition(b"\r\n\r\n")
        status = int(status_line[1])
        lines = head.decode("latin-1").split("\r\n")[1:]
        headers = tuple(
            (name.lower().strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)
        )
        if status < 200:
            received = rest
            continue
        body, left = _body(dict(headers), rest, is_closed=is_closed)
        if status in (204, 304) or (is_head and not answers):
            body, left = b"", rest
        if body is None:
            break
        answers.append(Answer(status, headers, body))
        received = left
    return answers


def _body(headers: dict[str, str], rest: bytes, *, is_closed: bool) -> tuple[bytes | None, bytes]:
    """Return the body, or None while it is not complete, and what follows."""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = b""
        while found := re.match(rb"([0-9A-Fa-f]+)[^\r\n]*\r\n", rest):
            size = int(found[1], 16)
            chunk, rest = rest[found.end() : found.end() + size], rest[found.end() + size + 2 :]
            body += chunk
            if size == 0:
                return body, rest
            if len(chunk) < size:
                break
        return (body, b"") if is_closed else (None, rest)
    if "content-length" in headers:
        size = int(headers["content-length"] or 0)
        return (rest[:size], rest[size:]) if len(rest) >= size else ((rest, b"") if is_closed else (None, rest))
    return (rest, b"") if is_closed else (None, rest)
