"""What the upstream says about an origin, for the answers that we make ourselves: a page must be able to read them, too.

The upstream is asked as nobody, once for each origin, and its `Access-Control-*` headers are repeated. Nothing is made up:
an origin of which the upstream says nothing gets nothing.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from compat_auth.errors import CompatAuthError
from compat_auth.http.asgi import RawHeaders

TTL_S = 60.0
RETRY_S = 5.0
"""How long an upstream that did not answer is not asked again; what it said before holds until then."""
TIMEOUT_S = 2.0
MAX_ORIGINS = 1024
MAX_QUESTIONS = 16
"""At one time, because anybody may name origins."""
MAX_ORIGIN_BYTES = 300
# RFC 6454 7.1, or "null".
_ORIGIN = re.compile(rb"(?:null|[a-z][a-z0-9+.-]*://[^\s/?#@,]+)\Z", re.IGNORECASE)
# Of an answer that is no preflight's (Fetch, "HTTP responses").
_REPEATED = frozenset(
    (b"access-control-allow-origin", b"access-control-allow-credentials", b"access-control-expose-headers")
)
_VARY: tuple[bytes, bytes] = (b"vary", b"Origin")

Question = tuple[bytes, bool]
"""An origin, and whether the request has cookies: the wildcard is not for those."""
Ask = Callable[[], Awaitable[RawHeaders]]
"""Returns the headers of an answer of the upstream's to a request of that kind."""


@dataclass(slots=True)
class _Known:
    headers: RawHeaders = field(default_factory=list["tuple[bytes, bytes]"])
    until: float = 0.0


class OriginHeaders:
    """The upstream's words about origins, a minute old at most. Used on one event loop.

    Args:
        now: Monotonic seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._known: OrderedDict[Question, _Known] = OrderedDict()
        self._asking: dict[Question, asyncio.Task[None]] = {}

    async def about(self, origin: bytes, ask: Ask, *, has_cookies: bool) -> RawHeaders:
        """Return what the upstream says about the origin; nothing where it cannot be asked.

        Args:
            origin: The `Origin` of the request.
            ask: Asks the upstream, where nobody has a moment ago.
            has_cookies: The request has cookies.
        """
        if len(origin) > MAX_ORIGIN_BYTES or not _ORIGIN.match(origin):
            return []
        question = (origin, has_cookies)
        known = self._known.get(question)
        if known is None or self._now() >= known.until:
            task = self._asking.get(question)
            if task is None and len(self._asking) < MAX_QUESTIONS:
                task = self._asking[question] = asyncio.create_task(self._learn(question, ask))
            if task is not None:
                # The others who wait need the answer, too, when this client goes away.
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
