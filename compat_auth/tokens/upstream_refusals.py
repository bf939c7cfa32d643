"""Tokens that the upstream has refused, so that none is sent again. No Flask."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable
from typing import Any

from cachetools import LRUCache, TTLCache

from compat_auth.http.asgi import Send
from compat_auth.tokens.jose.unverified_claims import NESTED, claimed_in, read_payload

# Airflow 3's answer to a token that it does not accept (`airflow.api_fastapi.core_api.security`).
TOKEN_REFUSED = b"Invalid JWT token"
MAX_REFUSAL_BYTES = 4096
# An upstream that refuses every token must not make us fetch one for every request.
RENEWAL_PAUSE_S = 2.0
_ENTRIES = 10_000
# A 403 for such a new token means a missing permission, not an expired token: another token would change nothing.
YOUNG_S = 10


class UpstreamRefusals:
    """The last ten thousand refused tokens. Any thread may use it.

    Args:
        monotonic: Clock, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._refused: LRUCache[bytes, None] = LRUCache(_ENTRIES)
        self._noted: TTLCache[bytes, None] = TTLCache(_ENTRIES, RENEWAL_PAUSE_S, timer=monotonic)

    def note(self, owner: bytes, bearer: bytes) -> bool:
        """Record a refused token and return true; false where the owner's previous token was refused a moment ago.

        Args:
            owner: The owner: a user, or the digest of a credential.
            bearer: The Authorization value.
        """
        with self._lock:
            if bearer in self._refused:
                return True
            if owner in self._noted:
                return False
            self._noted[owner] = None
            self._refused[bearer] = None
            return True

    def __contains__(self, bearer: bytes) -> bool:
        """Return whether the upstream has refused a token."""
        # No lock for the common case of no refusals: every request asks.
        if not self._refused:
            return False
        with self._lock:
            return bearer in self._refused


def may_have_ended(bearer: bytes, now: float) -> bool:
    """Return whether a 403 without a reason may mean that the token has expired.

    That is possible where the token carries others: KeycloakAuthManager shows these to Keycloak, and requests no new
    login once they have expired there. A token with `iat` less than ten seconds ago counts as valid.

    Args:
        bearer: The Authorization value that the upstream has refused.
        now: Seconds since the epoch.
    """
    claims = read_payload(bearer.partition(b" ")[2].decode("latin-1"))
    if claims is None or not any(isinstance(claims.get(name), str) for name in NESTED):
        return False
    issued = claimed_in(claims).issued
    return issued is None or now - issued >= YOUNG_S


def says_refused(body: bytes, content_encoding: bytes) -> bool:
    """Return whether the body of a 403 says that the token is invalid; Airflow may compress it with gzip."""
    if content_encoding.lower() in (b"gzip", b"x-gzip"):
        try:
            # Bounded, because a few bytes may decompress to many.
            body = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body, MAX_REFUSAL_BYTES)
        except zlib.error:
            return False
    return TOKEN_REFUSED in body[:MAX_REFUSAL_BYTES]


def watch_for_refusal(send: Send, bearer: bytes, refused: Callable[[], object]) -> Send:
    """Return a `send` that forwards an answer, and calls back where the upstream refuses the token in it.

    Unlike a request that can be repeated, a stream is over by then: only the next request can be helped.
    """
    is_forbidden = False
    encoding = seen = b""

    async def send_watched(message: Any) -> None:
        nonlocal is_forbidden, encoding, seen
        if message["type"] == "http.response.start":
            is_forbidden = message["status"] == 403
            encoding = dict(message["headers"]).get(b"content-encoding", b"")
            if message["status"] == 401:
                refused()
        elif is_forbidden:
            seen += message.get("body", b"")[:MAX_REFUSAL_BYTES]
            is_forbidden = bool(message.get("more_body")) and len(seen) < MAX_REFUSAL_BYTES
            # A missing permission is a 403 too, and not the token's fault.
            is_over = not is_forbidden and bool(seen)
            if is_over and (says_refused(seen, encoding) or may_have_ended(bearer, time.time())):
                refused()
        await send(message)

    return send_watched
