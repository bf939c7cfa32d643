"""A client that is still there, or has gone: its body, and its connection once the body was read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from compat_auth.http.asgi import Receive

# Starting a task costs more than most requests take: look for a client that has gone only when an answer is slow.
_WATCH_AFTER_S = 0.05


class ClientGone(Exception):
    """The client closed its connection; there is nobody left to answer."""


async def body_parts(receive: Receive, at_end: Callable[[], None] | None = None) -> AsyncIterator[bytes]:
    """Yield the parts of a request's body, and call `at_end` once all of it was read.

    Raises:
        ClientGone: The client went before the end.
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
    """Ends the request's task when its client goes while the upstream is slow.

    Args:
        receive: The request's.

    Attributes:
        gone: The client has gone.
    """

    def __init__(self, receive: Receive) -> None:
        self.gone = False
        self._receive = receive
        self._task = asyncio.current_task()
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start watching; the request's body must have been read."""
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
