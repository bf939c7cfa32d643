"""Makes the calls of an operation to the application behind: the reverse proxy, or Airflow's own.

A call carries the caller's token, but no header that describes the caller's own body.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote_to_bytes, urlencode

from compat_auth.airflow.v1.messages import Answer, Call
from compat_auth.airflow.v1.problems import V1Problem
from compat_auth.concurrency.rate_limit import network_of
from compat_auth.errors import UpstreamError
from compat_auth.gateway.authorization import Authorize
from compat_auth.gateway.forwarding import INTAKE
from compat_auth.http.asgi import ASGIApp, ClientGone, Message, RawHeaders, Receive, Scope, Send

MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""For one answer. Airflow lists 100 objects at a time, some kilobytes each; logs are streamed, not held."""
MAX_HELD_BYTES = 64 * 1024 * 1024
"""For all answers in the memory of a process; half of it for those of one caller, so that one answer always fits."""
# Headers about the caller's body, its preferred format, or its page do not apply to the call. Airflow treats a request
# with a Referer as one from its UI.
_NOT_PASSED_ON = frozenset(
    b"content-length content-type content-encoding transfer-encoding expect trailer te connection keep-alive accept "
    b"accept-encoding range referer origin if-match if-none-match if-modified-since if-unmodified-since if-range".split()
)


class Room:
    """Limits the bytes of answers in a process, with at most half of them for one caller; use it on one event loop.

    Args:
        limit: For all answers together. One answer of the largest size fits if nothing else is held.
    """

    def __init__(self, limit: int = MAX_HELD_BYTES) -> None:
        self._limit = limit
        self._for_one = max(limit // 2, MAX_ANSWER_BYTES)
        self._held: Counter[str] = Counter()

    @property
    def held(self) -> int:
        """The number of bytes in memory now."""
        return self._held.total()

    @contextlib.contextmanager
    def share(self, client: str = "") -> Generator[Share]:
        """Yield the share of one request; the end of the block releases its bytes.

        Args:
            client: Address of the caller; callers of one network share one half.
        """
        share = Share(self, network_of(client))
        try:
            yield share
        finally:
            self._held[share.caller] -= share.size
            if not self._held[share.caller]:
                del self._held[share.caller]

    def take(self, caller: str, size: int) -> bool:
        """Reserve more bytes for a caller, and return whether there was room."""
        if self.held + size > self._limit or self._held[caller] + size > self._for_one:
            return False
        self._held[caller] += size
        return True


@dataclass(slots=True)
class Share:
    """The memory of the answers to one request.

    Attributes:
        room: The limit of the process.
        caller: The caller of the request.
        size: In bytes.
    """

    room: Room
    caller: str = ""
    size: int = 0

    def take(self, size: int) -> None:
        """Reserve more bytes.

        Raises:
            V1Problem: There is no room for them: 503, retry later.
        """
        if not self.room.take(self.caller, size):
            raise V1Problem(503, "too many large answers at one time; try again, or ask for less (limit)")
        self.size += size


@dataclass(slots=True)
class UpstreamCalls:
    """The calls to the upstream for one request.

    Attributes:
        app: The application behind.
        scope: The scope of the client's request.
        receive: The client's `receive`; its body has been read.
        client: Sends to the client.
        authorize: Raises unless the caller may make a call; None if the caller is not authenticated.
        headers: Headers of a streamed reply.
        share: Memory for answers.
    """

    app: ASGIApp
    scope: Scope
    receive: Receive
    client: Send
    authorize: Authorize | None
    headers: RawHeaders
    share: Share = field(default_factory=lambda: Share(Room()))

    async def send(self, call: Call) -> Answer | None:
        """Make one call; see `driver.Sender`.

        Raises:
            NotPermitted: A requirement on the upstream's path does not allow the call.
            ClientGone: The client has disconnected.
        """
        path = call.path.encode("ascii")
        body = _encoded(call.body) if call.body is not None else b""
        if self.authorize is not None:
            self.authorize(call.method, path, body)
        collector = _Collector(call, self.client, self.headers, self.share)
        try:
            await self.app(self._scope_of(call, path, body), _Body(body, self.receive).receive, collector.take)
        except UpstreamError as error:
            if collector.is_streaming:
                return None
            # Pass the error to the operation, which knows what is done so far.
            return Answer(error.status)
        if collector.is_streaming:
            return None
        if collector.status == 0:
            raise ClientGone
        return collector.answer()

    def _scope_of(self, call: Call, path: bytes, body: bytes) -> Scope:
        query = urlencode(call.query, quote_via=quote).encode("ascii")
        headers = [header for header in self.scope["headers"] if header[0] not in _NOT_PASSED_ON]
        headers += ((b"accept", call.accept.encode("ascii")), (b"accept-encoding", b"identity"))
        if body:
            headers += ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)))
        scope = dict(self.scope)
        scope.update(
            method=call.method,
            raw_path=path,
            path=unquote_to_bytes(path).decode("utf-8"),
            query_string=query,
            headers=headers,
        )
        extensions = dict(self.scope.get("extensions") or {})
        if INTAKE in extensions:
            extensions[INTAKE] = replace(extensions[INTAKE], method=call.method, path=path, query=query, inspected=body)
        scope["extensions"] = extensions
        return scope


def _encoded(document: object) -> bytes:
    """Return a document as JSON.

    Raises:
        V1Problem: It holds a number that JSON cannot represent. The client's body was checked, so an answer is to blame.
    """
    try:
        return json.dumps(document, allow_nan=False).encode()
    except ValueError:
        raise V1Problem(502, "the upstream's answer contains a number that JSON cannot represent") from None


class _Body:
    """The `receive` of a call: its body, then the client's own events."""

    def __init__(self, body: bytes, client: Receive) -> None:
        self._body: bytes | None = body
        self._client = client

    async def receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        return await self._client()


class _Collector:
    """The `send` of a call: collects the answer, or streams it through the call's rewriter."""

    def __init__(self, call: Call, client: Send, headers: RawHeaders, share: Share) -> None:
        self._share = share
        self.status = 0
        self.is_streaming = False
        self._headers: RawHeaders = []
        self._call = call
        self._client = client
        self._client_headers = headers
        self._parts: list[bytes] = []
        self._size = 0
        self._is_whole = False

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self._headers = message["status"], list(message.get("headers", ()))
            if self._call.rewriter is not None and self.status == 200:
                self.is_streaming = True
                headers = [*self._client_headers, (b"content-type", self._call.content_type.encode("ascii"))]
                await self._client({"type": "http.response.start", "status": 200, "headers": headers})
        elif message["type"] == "http.response.body":
            part, more = message.get("body", b""), message.get("more_body", False)
            if self.is_streaming:
                await self._pass_on(part, more)
            else:
                self._hold(part)
            self._is_whole = not more

    async def _pass_on(self, part: bytes, more: bool) -> None:
        rewriter = self._call.rewriter
        if rewriter is None:
            return
        text = rewriter.feed(part) if part else b""
        if text and more:
            await self._client({"type": "http.response.body", "body": text, "more_body": True})
        elif not more:
            await self._client({"type": "http.response.body", "body": text + rewriter.end()})

    def _hold(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > MAX_ANSWER_BYTES:
            raise V1Problem(502, f"the upstream's answer is larger than {MAX_ANSWER_BYTES} bytes")
        self._share.take(len(part))
        self._parts.append(part)

    def answer(self) -> Answer:
        # A truncated body is not an answer.
        if not self._is_whole:
            return Answer(502)
        return Answer(self.status, b"".join(self._parts), tuple(self._headers))
