"""The token for one credential at one server: requested when needed, kept, and renewed by one thread at a time."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf

from compat_auth.client.credential import Credential
from compat_auth.client.errors import LoginRefused, LoginUnavailable
from compat_auth.client.login import Lease, Send, make_request, read_answer
from compat_auth.client.origin import Server, parse_server
from compat_auth.concurrency.single_flight import SingleFlight

LOGIN_TIMEOUT_S = 30.0
# A token must still be valid when the request arrives, whether its lifetime is a minute or a day.
MARGIN_S = 60.0
MARGIN_SHARE = 0.1
# Repeating a wrong password locks out its owner, in LDAP and elsewhere.
PAUSE_AFTER_REFUSAL_S = 60.0
PAUSE_AFTER_FAILURE_S = 5.0
# A server that refuses so new a token would refuse another: a 401 of the API must not always cause a login.
TOO_YOUNG_TO_RENEW_S = 5.0


@dataclass(frozen=True, slots=True)
class _Kept:
    value: str = field(repr=False)
    got_at: float
    renew_at: float
    ends_at: float


class TokenSource:
    """Keeps the token for one credential at one server. Any thread may call.

    Args:
        server: The server that issues the token.
        credential: The credential for logins.
        send: Sends a request.
        now: Seconds since the epoch.

    Attributes:
        origin: The only origin that sees the token.
    """

    def __init__(
        self, server: Server, credential: Credential, send: Send, *, now: Callable[[], float] = time.time
    ) -> None:
        self.origin = server.origin
        self._server = server
        self._credential = credential
        self._send = send
        self._now = now
        self._flight = SingleFlight[_Kept](max_waiting=sys.maxsize)
        self._lock = threading.Lock()
        self._kept: _Kept | None = None
        self._refusal = ""
        self._ask_again_at = 0.0

    @classmethod
    def at(cls, url: str, credential: Credential, send: Send, *, allow_http: bool) -> TokenSource:
        """Return the token source for the server that a URL names; each library's class begins with it.

        Raises:
            UnsafeAddress: The URL does not name a single server, or is http to another machine.
        """
        return cls(parse_server(url, allow_http=allow_http), credential, send)

    def peek(self) -> str | None:
        """Return the current token if no login is needed, else None."""
        kept = self._kept
        return kept.value if kept is not None and self._now() < kept.renew_at else None

    def obtain(self) -> str:
        """Return a valid token; logs in if there is none.

        Raises:
            LoginRefused: The server refuses the credential; it is not asked again for a minute.
            LoginUnavailable: The server returned no token, and the current one has expired.
        """
        return self.peek() or self._flight.run("login", self._renew).value

    def renew(self, refused: str) -> str | None:
        """Return a token in place of one that got a 401, or None where another would not help.

        Raises:
            LoginRefused: As for `obtain`.
            LoginUnavailable: As for `obtain`.
        """
        with self._lock:
            kept = self._kept
            if kept is not None and kept.value == refused:
                if self._now() < kept.got_at + TOO_YOUNG_TO_RENEW_S:
                    return None
                self._kept = None
        renewed = self.obtain()
        return None if renewed == refused else renewed

    def _renew(self) -> _Kept:
        kept = self._kept
        now = self._now()
        # Another thread may have renewed it meanwhile.
        if kept is not None and now < kept.renew_at:
            return kept
        if now < self._ask_again_at:
            raise LoginRefused(self._refusal)
        try:
            renewed = self._log_in(now)
        except LoginRefused as refusal:
            self._refusal, self._ask_again_at = str(refusal), now + PAUSE_AFTER_REFUSAL_S
            with self._lock:
                self._kept = None
            raise
        except LoginUnavailable:
            if kept is None or now >= kept.ends_at:
                raise
            renewed = replace(kept, renew_at=min(kept.ends_at, now + PAUSE_AFTER_FAILURE_S))
        with self._lock:
            self._kept = renewed
        return renewed

    def _log_in(self, now: float) -> _Kept:
        lease = log_in(self._server, self._credential, self._send, now=now)
        ends_after_s = inf if lease.lifetime_s is None else lease.lifetime_s
        return _Kept(lease.value, now, now + renew_after_s(lease), now + ends_after_s)


def log_in(server: Server, credential: Credential, send: Send, *, now: float) -> Lease:
    """Return a new token; a personal token is returned itself, without a request.

    Raises:
        LoginRefused: The server refuses the credential, or there is none.
        LoginUnavailable: The server returned no token, or did not prove its identity.
    """
    presented = credential.present(server.origin)
    if presented.bearer:
        return Lease(presented.bearer, None)
    answer = send(make_request(server, presented))
    lease = read_answer(server, answer, now=now)
    presented.confirm(answer.headers.get("www-authenticate", ""))
    return lease


def renew_after_s(lease: Lease) -> float:
    """Return for how many seconds to use a new token before the next login."""
    if lease.lifetime_s is None:
        return inf
    return lease.lifetime_s - min(MARGIN_S, MARGIN_SHARE * lease.lifetime_s)
