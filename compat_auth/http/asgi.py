"""The shapes of ASGI 3 that we use, and one way to answer. No Flask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from compat_auth.errors import BadRequest, BodyTooLarge
from compat_auth.http.error_responses import Wording
from compat_auth.http.problem import PROBLEM_JSON

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
RawHeaders = list[tuple[bytes, bytes]]


async def read_body(receive: Receive, limit: int) -> bytes:
    """Return the whole body.

    Raises:
        BodyTooLarge: It is longer than the limit, in bytes.
        BadRequest: The client has gone before its end.
    """
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("the body ended too early")
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > limit:
            raise BodyTooLarge(f"body: larger than {limit} bytes")
        if not message.get("more_body", False):
            return body


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that yields a body that was read already."""
    given = False

    async def give() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give


async def respond(
    send: Send, status: int, body: bytes = b"", *, content_type: bytes = b"", headers: RawHeaders | None = None
) -> None:
    """Send a whole answer."""
    all_headers: RawHeaders = [(b"content-length", b"%d" % len(body))]
    if content_type:
        all_headers.append((b"content-type", content_type))
    all_headers.extend(headers or ())
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": body})


async def respond_wording(send: Send, wording: Wording) -> None:
    """Send a refusal."""
    headers = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in wording.headers]
    await respond(send, wording.status, wording.body, content_type=PROBLEM_JSON.encode(), headers=headers)
