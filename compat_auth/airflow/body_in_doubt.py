"""Requests whose body Airflow's own server does not get, or gets too late. No I/O, no Flask.

The gateway's own server handles both. Inside Airflow, uvicorn reads the connection:

- With httptools it drops the body of a request that asks for an upgrade, as Java's client does by default for `http://`,
  and what comes later of the body is read as the next request.
- It answers a client that waits for `100 Continue` without it, where the body is not needed. Java 17 then waits for ever,
  and Go's client sends its next request, which uvicorn reads as the body.
"""

from __future__ import annotations

import asyncio
import sys

from compat_auth.errors import BadRequest
from compat_auth.http.asgi import Message, Receive, Scope, Send

BODY_S = 1.0
"""How long an answer waits for the beginning of a body that it does not need."""
DROPPED_S = 0.01
"""Long enough to ask for a body that the server drops, so that its client goes on to read the answer."""
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
        if message["type"] == "http.response.start" and _CLOSE not in message["headers"]:
            message = {**message, "headers": [*message["headers"], _CLOSE]}
        await send(message)

    return send_last


def asking_for_body(scope: Scope, receive: Receive, send: Send, wait_s: float | None = None) -> tuple[Receive, Send]:
    """Return what reads and answers a request; an early answer to one that waits for `100 Continue` asks for the body.

    RFC 9110 section 10.1.1: whether such a client sends its body after a final answer is its own choice. One that sends
    nothing within the wait (`BODY_S` without another one) gets the end of its connection.
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
                # The server says `100 Continue` where the body is asked for.
                await asyncio.wait_for(receive(), BODY_S if wait_s is None else wait_s)
            except asyncio.TimeoutError:
                answering = ending(send)
        await answering(message)

    return receive_body, send_after_asking
