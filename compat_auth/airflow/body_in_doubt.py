"""Handles requests whose body Airflow's own server drops, or receives too late. No I/O, no Flask.

The gateway's own server handles both. Inside Airflow, uvicorn reads the connection:

- With httptools it drops the body of a request that asks for an upgrade, as Java's client does by default for `http://`,
  and reads the rest of the body as the next request.
- If the body is not needed, it answers a client that waits for `100 Continue` without that line. Java 17 then waits
  forever, and Go's client sends its next request, which uvicorn reads as the body.
"""

from __future__ import annotations

import asyncio
import sys

from compat_auth.errors import BadRequest
from compat_auth.http.asgi import Message, Receive, Scope, Send

BODY_S = 1.0
"""How long an answer waits for the start of a body that it does not need."""
DROPPED_S = 0.01
"""Long enough to ask for a body that the server drops, so that the client sends it and reads the answer."""
_HTTPTOOLS = "uvicorn.protocols.http.httptools_impl"
_CLOSE = (b"connection", b"close")


def require_body(scope: Scope) -> None:
    """Raise if the server cannot read the body of the request.

    Raises:
        BadRequest: The server drops the body; the message says what to change in the client.
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
    """Return a `send` whose answer is the last one of its connection."""

    async def send_last(message: Message) -> None:
        if message["type"] == "http.response.start" and _CLOSE not in message["headers"]:
            message = {**message, "headers": [*message["headers"], _CLOSE]}
        await send(message)

    return send_last


def asking_for_body(scope: Scope, receive: Receive, send: Send, wait_s: float | None = None) -> tuple[Receive, Send]:
    """Return a `receive` and a `send` that ask for the body before an early answer, if the client waits for `100 Continue`.

    RFC 9110 section 10.1.1: such a client may or may not send its body after a final answer. If it sends nothing within
    `wait_s` (default `BODY_S`), the answer closes the connection.
    """
    if all(name != b"expect" for name, _ in scope["headers"]):
        return receive, send
    is_requested = False
    answering = send

    async def receive_body() -> Message:
        nonlocal is_requested
        is_requested = True
        return await receive()

    async def send_after_asking(message: Message) -> None:
        nonlocal answering, is_requested
        if not is_requested:
            is_requested = True
            try:
                # The server sends `100 Continue` when the application reads the body.
                await asyncio.wait_for(receive(), BODY_S if wait_s is None else wait_s)
            except TimeoutError:
                answering = ending(send)
        await answering(message)

    return receive_body, send_after_asking
