"""CORS preflights: recognize a browser's, and collect the answer of an ASGI application to one of our own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from compat_auth.http.asgi import Message, RawHeaders
from compat_auth.http.browser.cross_origin import Call
from compat_auth.http.headers import may_have_body
from compat_auth.http.request import GateRequest

_HEADERS = (b"sec-fetch-site", b"sec-fetch-mode", b"origin", b"content-type")


@dataclass
class PreflightAnswer:
    """Status and headers of the answer, once the application has sent them; drops its body."""

    status: int = 0
    headers: RawHeaders = field(default_factory=list["tuple[bytes, bytes]"])

    async def send(self, message: Message) -> None:
        """Receive a message of the application."""
        if message["type"] == "http.response.start":
            self.status, self.headers = int(message["status"]), [*message["headers"]]


class NoBody:
    """A `receive` for a request without a body, whose client stays connected."""

    def __init__(self) -> None:
        self._begun = False

    async def __call__(self) -> Message:
        """Return the empty body, then nothing more."""
        if self._begun:
            await asyncio.get_running_loop().create_future()
        self._begun = True
        return {"type": "http.request", "body": b"", "more_body": False}


def call_of(request: GateRequest) -> Call:
    """Return the parts of a request that identify the page behind it."""
    said: dict[bytes, str] = {}
    for name, value in request.intake.kept:
        if name in _HEADERS:
            text = value.decode("latin-1")
            # A browser sends one value: two of them, joined, match nothing.
            said[name] = f"{said[name]}, {text}" if name in said else text
    site, mode, origin, content_type = (said.get(name) for name in _HEADERS)
    own = f"{request.scheme}://{request.intake.host.decode('ascii')}"
    return Call(request.method, site, mode, origin, content_type, own)


def is_preflight(request: GateRequest) -> bool:
    """Return whether a browser asks what a page of another origin may send (Fetch, "CORS-preflight request").

    Such a request never has a credential, and a page cannot cause one with a body. Cookies do not count: they are
    dropped.
    """
    if request.method != "OPTIONS" or request.intake.authorization is not None:
        return False
    names = [name for name, _ in request.intake.kept]
    asks = names.count(b"origin") == names.count(b"access-control-request-method") == 1
    return asks and not may_have_body({}, request.intake.kept)
