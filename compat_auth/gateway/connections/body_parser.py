"""Parses the body of a request that asks for an upgrade; httptools' own parser stops after the head of such a request."""

from __future__ import annotations

from typing import Protocol

import httptools


class ParsedRequest(Protocol):
    """Receives the events of a parser, by httptools' names."""

    def on_message_begin(self) -> None:
        """Begin a head."""

    def on_url(self, url: bytes) -> None:
        """Receive a piece of the request target."""

    def on_header(self, name: bytes, value: bytes) -> None:
        """Receive a header."""

    def on_headers_complete(self) -> None:
        """End the head."""

    def on_body(self, body: bytes) -> None:
        """Receive a piece of the body."""

    def on_message_complete(self) -> None:
        """End the request."""


class _AfterHead:
    """Passes a parser's events to a protocol, except those of the first head, which the protocol already has."""

    def __init__(self, protocol: ParsedRequest) -> None:
        self._protocol = protocol
        self._skip = True
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete

    def on_message_begin(self) -> None:
        if not self._skip:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._skip:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._skip:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self._skip:
            self._protocol.on_headers_complete()
        self._skip = False


def body_parser(protocol: ParsedRequest, framing: bytes) -> httptools.HttpRequestParser:
    """Return a parser that has read a head with these framing headers and now expects the body."""
    parser = httptools.HttpRequestParser(_AfterHead(protocol))
    if hasattr(parser, "set_dangerous_leniencies"):
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
    parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
    return parser
