"""A document of a remote source, kept for as long as it may be: fresh, then stale if the source is down, then not at all.

One thread fetches, outside of any lock, while the others use the cached content. After a fetch, good or bad, there is
a pause: a client that sends us tokens cannot make us flood the source.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from compat_auth.concurrency.single_flight import SingleFlight
from compat_auth.errors import BackendUnavailable, Overloaded

Content = TypeVar("Content")

DEFAULT_TTL_S = 3600.0
MIN_TTL_S = 60.0
MAX_TTL_S = 86_400.0
# How much longer a document is believed while its source cannot be asked.
MAX_STALE_S = 4 * 3600.0
PAUSE_S = 5.0
PAUSE_AFTER_ERROR_S = 3.0
# A document in use is fetched anew before it ends, in the background: nobody waits for it.
_REFRESH_AT = 0.8
_MAX_AGE = re.compile(r"(?:^|,)\s*max-age\s*=\s*\"?(\d{1,9})\"?\s*(?=,|$)", re.IGNORECASE)
_log = logging.getLogger("compat_auth.fetched_document")


@dataclass(frozen=True, slots=True)
class Fetched(Generic[Content]):
    """A document and how long it stays fresh, in seconds."""

    content: Content
    ttl_s: float = DEFAULT_TTL_S


@dataclass(frozen=True, slots=True)
class _Held(Generic[Content]):
    content: Content
    refresh_at: float
    fresh_until: float
    usable_until: float


class FetchedDocument(Generic[Content]):
    """The latest content of one document. Any thread may call.

    Args:
        name: For the log.
        fetch: Gets the document; raises BackendUnavailable when it cannot.
        now: Clock, in seconds.
    """

    def __init__(
        self, name: str, fetch: Callable[[], Fetched[Content]], *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._fetch = fetch
        self._now = now
        self._lock = threading.Lock()
        self._flight: SingleFlight[None] = SingleFlight()
        self._held: _Held[Content] | None = None
        self._paused_until = float("-inf")
        self._failure: str = ""
        self._refreshing = False

    def current(self) -> Content:
        """Return the fresh content, or stale content (for at most four hours) if the source cannot be asked.

        Raises:
            BackendUnavailable: No usable content is cached, and the source cannot be asked.
        """
        held = self._held
        if held is not None and self._now() < held.fresh_until:
            if self._now() >= held.refresh_at:
                self._refresh_in_background()
            return held.content
        try:
            self._look()
        except Overloaded:
            # Enough threads wait for the source; what is held will do until they know.
            if held is None:
                raise
        held = self._held
        if held is None or self._now() >= held.usable_until:
            raise BackendUnavailable(self._failure or f"{self._name}: not there yet")
        return held.content

    def renewed(self) -> Content:
        """Return the content after another look at the source, unless the last look was a moment ago.

        Raises:
            BackendUnavailable: The last look failed.
        """
        self._look()
        held = self._held
        if held is None or self._failure:
            raise BackendUnavailable(self._failure or f"{self._name}: not there yet")
        return held.content

    def _look(self) -> None:
        if self._now() >= self._paused_until:
            self._flight.run("look", self._load)

    def _load(self) -> None:
        # A caller that saw the pause end before the last fetch would otherwise fetch again right after it.
        if self._now() < self._paused_until:
            return
        try:
            fetched = self._fetch()
        except BackendUnavailable as error:
            with self._lock:
                if not self._failure:
                    _log.error("%s; what is held stays in use for up to %d s", error, MAX_STALE_S)
                self._failure = str(error)
                self._paused_until = self._now() + PAUSE_AFTER_ERROR_S
            return
        now = self._now()
        ttl_s = min(max(fetched.ttl_s, MIN_TTL_S), MAX_TTL_S)
        with self._lock:
            if self._failure:
                _log.warning("%s: there again", self._name)
            self._failure = ""
            self._paused_until = now + PAUSE_S
            self._held = _Held(fetched.content, now + ttl_s * _REFRESH_AT, now + ttl_s, now + ttl_s + MAX_STALE_S)

    def _refresh_in_background(self) -> None:
        with self._lock:
            if self._refreshing or self._now() < self._paused_until:
                return
            self._refreshing = True
        threading.Thread(target=self._refresh, name=f"refresh {self._name}", daemon=True).start()

    def _refresh(self) -> None:
        try:
            self._look()
        except Overloaded:
            # Many are looking already: what they find is ours, too.
            return
        finally:
            self._refreshing = False


def ttl_of(headers: Mapping[str, str]) -> float:
    """Return the seconds for which an answer says that it is fresh (RFC 9111 section 4.2.1), or the default."""
    cache_control = headers.get("cache-control", "")
    found = _MAX_AGE.search(cache_control)
    if re.search(r"no-store|no-cache", cache_control, re.IGNORECASE):
        return MIN_TTL_S
    if found is None:
        return DEFAULT_TTL_S
    age = headers.get("age", "")
    return float(found[1]) - (float(age) if re.fullmatch(r"\d{1,9}", age) else 0)
