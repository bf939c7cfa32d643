"""A request's body, held until it was judged: what a backend has seen is what goes on.

For the event loop's thread only. No Flask.
"""

from __future__ import annotations

import asyncio

from compat_auth.concurrency.rate_limit import network_of
from compat_auth.errors import BackendUnavailable, BadRequest, BodyTooLarge, BodyTooSlow, Overloaded
from compat_auth.http.asgi import Message, Receive

MAX_HELD_BYTES = 64 * 1024 * 1024
"""For all requests of a process together."""
# What a page of ours has read is remembered, should a backend ask for it afterwards: our forms are smaller.
_REMEMBERED_BYTES = 64 * 1024


class BodyBudget:
    """Bounds what is held for all requests, and for the requests of one client (IPv6: network) to a quarter of that.

    Args:
        each: Bytes that one body may have; one always fits.
        total: Bytes in all.
    """

    def __init__(self, each: int, total: int = MAX_HELD_BYTES) -> None:
        self.each = each
        self._total = max(total, each)
        self._for_one = max(total // 4, each)
        self._held: dict[str, int] = {}

    def take(self, client: str, size: int) -> None:
        """Count bytes that are held from now on.

        Raises:
            Overloaded: Too much is held, in all or for this client.
        """
        client = network_of(client)
        mine = self._held.get(client, 0) + size
        if mine > self._for_one or sum(self._held.values()) + size > self._total:
            raise Overloaded("too many bodies are held for an authentication backend")
        self._held[client] = mine

    def give_back(self, client: str, size: int) -> None:
        """Count bytes that are no longer held."""
        client = network_of(client)
        left = self._held.get(client, 0) - size
        if left > 0:
            self._held[client] = left
        else:
            self._held.pop(client, None)


class HeldBody:
    """The `receive` of a request, which can hold the body and replay it.

    Args:
        receive: The server's.
        client: Whose request it is.
        budget: Bounds all that is held.
        timeout_s: Seconds that the whole body may take.
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
        """Return the next message; the whole body in one where it was held."""
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
        """Return the whole body; it can still be received.

        Raises:
            BodyTooLarge: It is larger than the budget allows for one.
            BodyTooSlow: It took too long.
            BadRequest: The client has gone before its end.
            Overloaded: Too many bodies are held.
            BackendUnavailable: It has been passed on already.
        """
        if self._body is None:
            if self._was_read:
                raise BackendUnavailable("the body has been read already, and cannot be judged any more")
            try:
                self._body = await asyncio.wait_for(self._read(), self._timeout_s)
            except TimeoutError:
                raise BodyTooSlow(f"body: not here within {self._timeout_s:g} s") from None
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
        """Give back what was counted; the request is over."""
        self._budget.give_back(self._client, self._taken)
        self._taken = 0
