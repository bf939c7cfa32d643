"""The token of one credential at one server: got when it is needed, kept, renewed in time, by one thread at a time."""

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
# A token must still be good when the request arrives, a short one as well as one of a day.
MARGIN_S = 60.0
MARGIN_SHARE = 0.1
# A wrong password that is tried again and again locks its owner out, in LDAP and elsewhere.
PAUSE_AFTER_REFUSAL_S = 60.0
PAUSE_AFTER_FAILURE_S = 5.0
# Whoever refuses a token this young does not want another: each 401 of an API must not become a login.
TOO_YOUNG_TO_RENEW_S = 5.0


@dataclass(frozen=True, slots=True)
class _Kept:
    value: str = field(repr=False)
    got_at: float
    renew_at: float
    ends_at: float


class TokenSource:
    """Keeps the token of one credential at one server. Any thread may call.

    Args:
        server: Who issues the token.
        credential: What is shown for it.
        send: How a request gets there.
        now: Seconds since the epoch.

    Attributes:
        origin: Who alone gets to see the token.
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
        """Return the keeper for the server that a URL names; every library's class begins with it.

        Raises:
            UnsafeAddress: The URL is not one of a single server, or is http to another machine.
        """
        return cls(parse_server(url, allow_http=allow_http), credential, send)

    def peek(self) -> str | None:
        """Return the kept token where that needs no login, else None."""
        kept = self._kept
        return kept.value if kept is not None and self._now() < kept.renew_at else None

    def obtain(self) -> str:
        """Return a token that is good for a while; logs in where there is none.

        Raises:
            LoginRefused: The credential is not wanted; the server is not asked again for a minute.
            LoginUnavailable: The server gave no token, and the one that we have has ended.
        """
        return self.peek() or self._flight.run("login", self._renew).value

    def renew(self, refused: str) -> str | None:
        """Return a token in place of one that was answered with 401, or None where another would not help.

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
        # The thread before this one may have been quicker.
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
    """Return a new token; a personal token is its own, and the server is not asked.

    Raises:
        LoginRefused: The server does not want the credential, or there is none to show.
        LoginUnavailable: The server gave no token, or did not prove who it is.
    """
    presented = credential.present(server.origin)
    if presented.bearer:
        return Lease(presented.bearer, None)
    answer = send(make_request(server, presented))
    lease = read_answer(server, answer, now=now)
    presented.confirm(answer.headers.get("www-authenticate", ""))
    return lease


def renew_after_s(lease: Lease) -> float:
    """Return for how many seconds a new token is used before the next one is got."""
    if lease.lifetime_s is None:
        return inf
    return lease.lifetime_s - min(MARGIN_S, MARGIN_SHARE * lease.lifetime_s)
