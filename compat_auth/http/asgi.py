"""ASGI 3: its types, bodies (read, replay, stream), answers, and a watch for clients that disconnect. No Flask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from compat_auth.errors import BadRequest, BodyTooLarge
from compat_auth.http.error_responses import RenderedError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
RawHeaders = list[tuple[bytes, bytes]]


async def read_body(receive: Receive, limit: int) -> bytes:
    """Return the whole body.

    Raises:
        BodyTooLarge: The body is longer than the limit, in bytes.
        BadRequest: The client disconnected before the end of the body.
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
    """Return a `receive` that replays a body."""
    was_sent = False

    async def receive_replayed() -> Message:
        nonlocal was_sent
        if was_sent:
            return await receive()
        was_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_replayed


async def respond(
    send: Send, status: int, body: bytes = b"", *, content_type: bytes = b"", headers: RawHeaders | None = None
) -> None:
    """Send a complete answer."""
    all_headers: RawHeaders = [(b"content-length", b"%d" % len(body))]
    if content_type:
        all_headers.append((b"content-type", content_type))
    all_headers.extend(headers or ())
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": body})


async def respond_rendered(send: Send, error: RenderedError) -> None:
    """Send an error response."""
    headers = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in error.headers]
    await respond(send, error.status, error.body, content_type=error.content_type.encode("ascii"), headers=headers)


# Starting a task costs more than most requests: look for a disconnected client only when an answer is slow.
_WATCH_AFTER_S = 0.05


class ClientGone(Exception):
    """The client has closed its connection, so nobody can be answered."""


async def body_parts(receive: Receive, at_end: Callable[[], None] | None = None) -> AsyncIterator[bytes]:
    """Yield the chunks of a request's body, and call `at_end` after the last one.

    Raises:
        ClientGone: The client disconnected before the end of the body.
    """
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        more = message.get("more_body", False)
        if message.get("body"):
            yield message["body"]
    if at_end is not None:
        at_end()


class ClientWatch:
    """Ends the request's task when its client disconnects while the upstream is slow.

    Args:
        receive: `receive` of the request.

    Attributes:
        gone: Whether the client has disconnected.
    """

    def __init__(self, receive: Receive) -> None:
        self.gone = False
        self._receive = receive
        self._task = asyncio.current_task()
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to watch; the request's body must have been read."""
        self._timer = asyncio.get_running_loop().call_later(_WATCH_AFTER_S, self._look)

    def _look(self) -> None:
        self._watcher = asyncio.ensure_future(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        if self._task is not None:
            self._task.cancel()

    def stop(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
