"""Requests whose body Airflow's own server does not get, or may not: their answer ends the connection. No I/O, no Flask.

The gateway's own server handles both. Inside Airflow, uvicorn reads the connection:

- With httptools it drops the body of a request that asks for an upgrade, as Java's client does by default for `http://`,
  and what comes later of the body is read as the next request.
- It leaves a connection open on which the client was not told to send its body. Go's client then goes on with the next
  request, which uvicorn reads as the body.
"""

from __future__ import annotations

import sys
import time

from compat_auth.asgi import Message, Receive, Scope, Send
from compat_auth.errors import BadRequest

SOON_S = 0.3
"""A client that waits for `100 Continue` sends its body unasked after a while: .NET after 0.35 s, curl after 1 s."""
_HTTPTOOLS = "uvicorn.protocols.http.httptools_impl"
_CLOSE = (b"connection", b"close")


def require_body(scope: Scope) -> None:
    """Pass where the server can read the body of the request.

    Raises:
        BadRequest: The server drops it; says what to change in the client.
    """
    headers = scope["headers"]
    if _HTTPTOOLS not in sys.modules or all(name != b"upgrade" for name, _ in headers):
        return
    if any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0")) for name, value in headers
    ):
        raise BadRequest(
            "Upgrade: Airflow's server does not read the body of such a request; send it without Upgrade"
            " (Java: HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1))"
        )


def ending(send: Send) -> Send:
    """Return what sends an answer that is the last of its connection."""

    async def send_last(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], _CLOSE]}
        await send(message)

    return send_last


def ending_unread(scope: Scope, receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Return what reads and answers a request; an answer to one that still waits for `100 Continue` is the last.

    RFC 9110 section 10.1.1: whether such a client sends its body after all is its own choice.
    """
    if all(name != b"expect" for name, _ in scope["headers"]):
        return receive, send
    asked, begun = False, time.monotonic()

    async def receive_asked() -> Message:
        nonlocal asked
        asked = True
        return await receive()

    async def send_ending(message: Message) -> None:
        is_last = not asked and time.monotonic() - begun < SOON_S
        await (ending(send) if is_last else send)(message)

    return receive_asked, send_ending
