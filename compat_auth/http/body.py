"""Hold a request's body until a backend has decided: the backend and the upstream get the same bytes.

Only for the event loop's thread. No Flask.
"""

from __future__ import annotations

import asyncio

from compat_auth.concurrency.rate_limit import network_of
from compat_auth.errors import BackendUnavailable, BadRequest, BodyTooLarge, BodyTooSlow, Overloaded
from compat_auth.http.asgi import Message, Receive

MAX_HELD_BYTES = 64 * 1024 * 1024
"""Limit for all requests of a process together, in bytes."""
# A body that a page of ours has read stays in memory, because a backend may need it afterwards: our forms are smaller.
_REMEMBERED_BYTES = 64 * 1024


class BodyBudget:
    """Limits the bytes held for all requests, and for one client's requests (IPv6: network) to a quarter of that.

    Args:
        each: Limit for one body, in bytes; one such body always fits.
        total: Limit for all bodies, in bytes.
    """

    def __init__(self, each: int, total: int = MAX_HELD_BYTES) -> None:
        self.each = each
        self._total = max(total, each)
        self._for_one = max(total // 4, each)
        self._held: dict[str, int] = {}

    def take(self, client: str, size: int) -> None:
        """Reserve bytes for a body.

        Raises:
            Overloaded: Too many bytes are held, in total or for this client.
        """
        client = network_of(client)
        mine = self._held.get(client, 0) + size
        if mine > self._for_one or sum(self._held.values()) + size > self._total:
            raise Overloaded("too many bodies are held for an authentication backend")
        self._held[client] = mine

    def release(self, client: str, size: int) -> None:
        """Release reserved bytes."""
        client = network_of(client)
        left = self._held.get(client, 0) - size
        if left > 0:
            self._held[client] = left
        else:
            self._held.pop(client, None)


class HeldBody:
    """The `receive` of a request, which can hold the body and replay it.

    Args:
        receive: `receive` of the server.
        client: The client's address.
        budget: Limits the bytes that are held.
        timeout_s: Time limit for the whole body, in seconds.
    """

    def __init__(self, receive: Receive, client: str, budget: BodyBudget, timeout_s: float) -> None:
        self._receive = receive
        self._client = client
        self._budget = budget
        self._timeout_s = timeout_s
        self._taken = 0
        self._body: bytes | None = None
        self._replay = False
        self._was_read = False
        self._passed: bytes | None = b""

    async def __call__(self) -> Message:
        """Return the next message; a held body comes whole in one message."""
        if self._replay:
            self._replay = False
            return {"type": "http.request", "body": self._body, "more_body": False}
        message = await self._receive()
        if self._body is None and message["type"] == "http.request":
            self._remember(message)
        return message

    def _remember(self, message: Message) -> None:
        self._was_read = True
        if self._passed is None:
            return
        passed = self._passed = self._passed + bytes(message.get("body", b""))
        if len(passed) > _REMEMBERED_BYTES:
            self._passed = None
        elif not message.get("more_body", False):
            self._body = passed

    async def hold(self) -> bytes:
        """Return the whole body, which stays available to `receive`.

        Raises:
            BodyTooLarge: The body is larger than the limit for one.
            BodyTooSlow: The body took too long.
            BadRequest: The client disconnected before its end.
            Overloaded: Too many bodies are held.
            BackendUnavailable: The body was forwarded already.
        """
        if self._body is None:
            if self._was_read:
                raise BackendUnavailable("the body was read already, so no backend can check it")
            try:
                self._body = await asyncio.wait_for(self._read(), self._timeout_s)
            except TimeoutError:
                raise BodyTooSlow(f"body: not received within {self._timeout_s:g} s") from None
            self._replay = True
        return self._body

    async def _read(self) -> bytes:
        parts: list[bytes] = []
        self._was_read = True
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise BadRequest("the body ended too early")
            part: bytes = message.get("body", b"")
            if self._taken + len(part) > self._budget.each:
                raise BodyTooLarge(
                    f"body: larger than {self._budget.each} bytes, which an authentication backend here may have to see"
                )
            self._budget.take(self._client, len(part))
            self._taken += len(part)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    def release(self) -> None:
        """Release the reserved bytes; the request is over."""
        self._budget.release(self._client, self._taken)
        self._taken = 0
