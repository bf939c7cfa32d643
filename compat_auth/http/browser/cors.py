"""The upstream's CORS headers for an origin, repeated on our own answers, so that a page can read these too.

The upstream is asked without credentials, once for each origin, and its `Access-Control-*` headers are copied. Nothing
is invented: an origin for which the upstream sends no headers gets none.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from compat_auth.concurrency.lanes import retrieve_error
from compat_auth.errors import CompatAuthError
from compat_auth.http.asgi import RawHeaders

TTL_S = 60.0
RETRY_S = 5.0
"""Seconds after a failure before the upstream is asked again; its previous answer applies until then."""
TIMEOUT_S = 2.0
MAX_ORIGINS = 1024
MAX_QUESTIONS = 16
"""Questions at one time; limited because anybody may invent origins."""
MAX_ORIGIN_BYTES = 300
# RFC 6454 7.1, or "null".
_ORIGIN = re.compile(rb"(?:null|[a-z][a-z0-9+.-]*://[^\s/?#@,]+)\Z", re.IGNORECASE)
# Headers of an answer other than to a preflight (Fetch, "HTTP responses").
_REPEATED = frozenset(
    (b"access-control-allow-origin", b"access-control-allow-credentials", b"access-control-expose-headers")
)
_VARY: tuple[bytes, bytes] = (b"vary", b"Origin")

Question = tuple[bytes, bool]
"""An origin, and whether the request has cookies, to which the wildcard does not apply."""
Ask = Callable[[], Awaitable[RawHeaders]]
"""Returns the headers of an upstream's answer to such a request."""


@dataclass(slots=True)
class _Known:
    headers: RawHeaders = field(default_factory=list["tuple[bytes, bytes]"])
    until: float = 0.0


class OriginHeaders:
    """The upstream's CORS headers for each origin, at most a minute old. Used on one event loop.

    Args:
        now: Monotonic clock, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._known: OrderedDict[Question, _Known] = OrderedDict()
        self._asking: dict[Question, asyncio.Task[None]] = {}

    async def about(self, origin: bytes, ask: Ask, *, has_cookies: bool) -> RawHeaders:
        """Return the upstream's headers for the origin; none where it cannot be asked.

        Args:
            origin: The `Origin` of the request.
            ask: Asks the upstream, if nobody has just done so.
            has_cookies: Whether the request has cookies.
        """
        if len(origin) > MAX_ORIGIN_BYTES or not _ORIGIN.match(origin):
            return []
        question = (origin, has_cookies)
        known = self._known.get(question)
        if known is None or self._now() >= known.until:
            task = self._asking.get(question)
            if task is None and len(self._asking) < MAX_QUESTIONS:
                task = self._asking[question] = asyncio.create_task(self._learn(question, ask))
                task.add_done_callback(retrieve_error)
            if task is not None:
                # Other callers need the answer even if this client disconnects.
                await asyncio.shield(task)
            known = self._known.get(question)
        return [*known.headers, _VARY] if known is not None else []

    async def _learn(self, question: Question, ask: Ask) -> None:
        known = self._known.get(question) or _Known()
        try:
            answered = await asyncio.wait_for(ask(), TIMEOUT_S)
        except (TimeoutError, CompatAuthError, OSError):
            known.until = self._now() + RETRY_S
        else:
            known.headers = [header for header in answered if header[0] in _REPEATED]
            known.until = self._now() + TTL_S
        finally:
            del self._asking[question]
            self._known[question] = known
            self._known.move_to_end(question)
            while len(self._known) > MAX_ORIGINS:
                self._known.popitem(last=False)
