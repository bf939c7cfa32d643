"""One request of an asynchronous app: what was decided about it, and what its answer is to carry.

Blocking work runs on a thread, in a request context of the Flask app in which the backends live; what it leaves in
`flask.g` is there again the next time. Pieces of work of one request run one after the other.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from typing import Any, TypeVar, cast

import flask
from flask import Flask

from compat_auth import sessions
from compat_auth.async_apps.facts import client_of, environ_of, path_of
from compat_auth.concurrency.lanes import Lanes, retrieve_error
from compat_auth.errors import BackendUnavailable
from compat_auth.guard import PREFLIGHT
from compat_auth.http.asgi import ASGIApp, Message, RawHeaders, Scope, Send
from compat_auth.http.forwarded import Peers
from compat_auth.identity import Identity

T = TypeVar("T")
VISIT = "compat_auth.visit"
"""Key in the WSGI environment under which the backends' app finds the `Visit`."""


class Visit:
    """A request or the handshake of a WebSocket; used on its event loop, except for `from_thread`.

    Args:
        scope: As the server made it; the app gets the same one.
        send: Of the server.
        backends: The Flask app in which the backends live.
        lanes: Threads.
        whole_app: What answers a preflight.
        peers: See `environ_of`, as for the last one.
        named: See there.

    Attributes:
        scope: As it was given.
        routed: The scope that the app has, into which its routing writes.
        identity: Who was let in; None: nobody, or the answer has been sent.
        headers: What the answer is to carry besides.
        is_refused: Nothing that the app says about a WebSocket counts any more.
    """

    def __init__(
        self,
        scope: Scope,
        send: Send,
        backends: Flask,
        lanes: Lanes,
        whole_app: ASGIApp,
        *,
        peers: Peers | None = None,
        named: frozenset[bytes] = frozenset(),
    ) -> None:
        # A copy: the app's routing writes into its own what the decision must not depend on.
        self.scope = dict(scope)
        self.identity: Identity | None = None
        self.headers: list[tuple[str, str]] = []
        self.is_refused = False
        self.routed = scope
        self._send = send
        self._backends = backends
        self._lanes = lanes
        self._whole_app = whole_app
        self._peers = peers
        self._named = named
        self._loop = asyncio.get_running_loop()
        self._lock = asyncio.Lock()
        self._kept: dict[str, Any] = {}
        self._pending: list[asyncio.Task[Any]] = []
        self._context = contextvars.copy_context()

    async def run(self, work: Callable[[], T], *, view_args: Mapping[str, object] | None = None) -> T:
        """Do blocking work, and return its result.

        Args:
            work: On a thread, with Flask's request and `flask.g` of this request.
            view_args: What the app's route has read from the path.

        Raises:
            BadRequest: The header section has two readings.
            Overloaded, BackendUnavailable: Too much is waiting, or it takes too long.
        """
        environ = self.environ()
        context = contextvars.copy_context()

        def work_in_flask() -> T:
            with self._backends.request_context(environ):
                flask.request.view_args = dict(view_args or {})
                for name, value in self._kept.items():
                    setattr(flask.g, name, value)
                try:
                    return work()
                finally:
                    self._kept = {name: flask.g.get(name) for name in flask.g}

        async with self._lock:
            self._context = context
            return await self._lanes.run(client_of(self.scope), work_in_flask)

    def environ(self) -> dict[str, Any]:
        """Return the WSGI environment in which the backends see the request.

        Raises:
            BadRequest: See `environ_of`.
        """
        return {**environ_of(self.scope, self._peers, self._named), VISIT: self, PREFLIGHT: self._preflight_from_thread}

    def begin(self, work: Callable[[], T]) -> Awaitable[T]:
        """Begin blocking work; the answer waits for it, whether the app does so or not."""
        task = self._loop.create_task(self.run(work))
        task.add_done_callback(retrieve_error)
        self._pending.append(task)
        return _Begun(task, self._pending)

    def is_rewritten(self, *scopes: Scope) -> bool:
        """Return whether the app has routed by another method or path than the one that came, as far as can be seen."""
        came = _target(self.scope)
        return any(_target(scope) != came for scope in (self.routed, *scopes))

    async def settle(self) -> None:
        """Wait for all work that was begun.

        Raises:
            Exception: What it raised.
        """
        while self._pending:
            await asyncio.shield(self._pending.pop(0))

    def take_cookie(self) -> str | None:
        """Return the Set-Cookie value of the session that the answer is to carry, once."""
        return cast("str | None", self._kept.pop(sessions.PENDING, None))

    def close(self) -> None:
        """Let nobody who has inherited the request's context be taken for its caller."""
        self.identity = None
        self._kept = {}

    async def refuse_handshake(self) -> None:
        """Refuse a WebSocket: the server answers its handshake with 403."""
        self.is_refused = True
        await self._send({"type": "websocket.close", "code": 1008, "reason": ""})

    def call_handler(self, handler: Callable[[str], object], token: str) -> object:
        """Ask a token handler of the app; called on a thread of `run`.

        A coroutine runs on the app's own event loop, in the context of the request, as in asfquart.
        """
        answer = self._context.copy().run(handler, token)
        return self.from_thread(_await(cast("Awaitable[object]", answer))) if inspect.isawaitable(answer) else answer

    def from_thread(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the event loop of the app, and return its result.

        Raises:
            BackendUnavailable: It takes too long.
        """
        future = self._context.copy().run(asyncio.run_coroutine_threadsafe, work, self._loop)
        try:
            return future.result(self._lanes.timeout_s)
        except TimeoutError:
            future.cancel()
            raise BackendUnavailable(f"no answer within {self._lanes.timeout_s:g} s") from None

    def _preflight_from_thread(self, headers: RawHeaders) -> tuple[int, RawHeaders]:
        return self.from_thread(self._preflight(headers))

    async def _preflight(self, headers: RawHeaders) -> tuple[int, RawHeaders]:
        host = [(name, value) for name, value in self.scope["headers"] if name.lower() == b"host"]
        scope = {
            **{name: value for name, value in self.scope.items() if name not in ("app", "endpoint", "route", "router")},
            "method": "OPTIONS",
            "headers": [*host, *headers],
            "state": dict(self.scope.get("state", {})),
        }
        answered: list[Message] = []

        coming: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]
        is_over = asyncio.Event()

        async def receive() -> Message:
            if coming:
                return coming.pop()
            # A framework that watches for the end of the connection must not spin.
            await is_over.wait()
            return {"type": "http.disconnect"}

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered.append(message)
            elif not message.get("more_body", False):
                is_over.set()

        await self._whole_app(scope, receive, keep)
        if not answered:
            return 500, []
        found = [(bytes(name).lower(), bytes(value)) for name, value in answered[0].get("headers", [])]
        return int(answered[0]["status"]), found


class _Begun(Awaitable[T]):
    """Work that was begun; who waits for it takes what it raises, and the answer need not."""

    def __init__(self, task: asyncio.Task[T], pending: list[asyncio.Task[Any]]) -> None:
        self._task = task
        self._pending = pending

    def __await__(self) -> Generator[Any, None, T]:
        if self._task in self._pending:
            self._pending.remove(self._task)
        return self._task.__await__()


def _target(scope: Scope) -> tuple[str, str]:
    return str(scope.get("method", "GET")), str(scope.get("root_path", "")).rstrip("/") + path_of(scope)


async def _await(awaitable: Awaitable[object]) -> object:
    return await awaitable
