"""Authenticates Flask's current request: the one way to ask the chain from a view.

Behind a gate, the gate has already decided, with its limits and its cache, and has written its line in the audit log:
its decision counts, and the chain is not asked again. In any other app this module asks the chain, by the rules of the
gate. An accepted credential is remembered for as long as its backend says, and a revocation ends that at once.
Simultaneous requests with one credential wait for one check.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import flask
from flask import Flask

from compat_auth.authn.chain import Chain
from compat_auth.authn.grant_cache import GrantCache
from compat_auth.authn.revocation_events import (
    Check,
    RevocationEvent,
    RevocationEvents,
    forget_revoked,
)
from compat_auth.concurrency.single_flight import SingleFlight
from compat_auth.credentials import Absent, Credential, credential_key
from compat_auth.errors import BackendUnavailable, CompatAuthError
from compat_auth.guard import JUDGED, recorded, request_authorization
from compat_auth.http.headers import is_header
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth.peer import request_peer

_EXTENSION = "compat_auth_judgement"


@dataclass(frozen=True, slots=True)
class _Asked:
    """The chain's outcome, with the challenges for a 401, and the name of the backend that decided."""

    outcome: Outcome
    backend: str


class Judgement:
    """Says who sent the current request of an app. One for each app; any thread may use it.

    Args:
        chain: Asked if no gate has decided.
        revocations: Those of the app.
        entries: Credentials to remember.
        peer_headers: Headers in which a front proxy forwards a client's certificate: an answer is remembered for each.
        monotonic: Clock, in seconds.

    Attributes:
        chain: As given.
    """

    def __init__(
        self,
        chain: Chain,
        revocations: RevocationEvents,
        *,
        entries: int = 10_000,
        peer_headers: tuple[str, ...] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.chain = chain
        self._peer_headers = peer_headers
        self._revocations = revocations
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._remembered: GrantCache[_Asked] = GrantCache(entries, monotonic)
        # The server of the app bounds how many requests are at work.
        self._flight = SingleFlight[_Asked](max_waiting=sys.maxsize)
        self._under_way: set[Check] = set()
        self._revoked = 0
        revocations.listen(self._hear)

    def judge(self, credential: Credential) -> Outcome:
        """Return the deciding answer about the current request, with the challenges for a 401.

        Without a gate, the audit log gets one line for each request, even if the answer is remembered.

        Args:
            credential: That of the request.

        Raises:
            CompatAuthError: See `Chain.ask`.
        """
        judged: Outcome | CompatAuthError | None = flask.request.environ.get(JUDGED)
        if isinstance(judged, CompatAuthError):
            raise judged
        if judged is not None:
            return judged

        def ask() -> tuple[Outcome, str]:
            asked = self._find_or_ask(credential)
            return asked.outcome, asked.backend

        return recorded(ask, credential)

    def _find_or_ask(self, credential: Credential) -> _Asked:
        kind = type(credential)
        if isinstance(credential, Absent) or not self.chain.takes(kind):
            # Cookies are never a key: who has one may be logged out by another request at any moment.
            return self._ask(credential)[0]
        with self._lock:
            digest = self._remembered.digest(_key_of_request(), _evidence_of_request(self._peer_headers))
            found = self._remembered.find(digest)
            # Who comes after a revocation does not wait for a check that began before it.
            flight = (digest, self._revoked)
        if found is not None:
            return found.grant
        if not self.chain.answers_alike(kind):
            return self._check(digest, credential)
        return self._flight.run(flight, lambda: self._check(digest, credential))

    def _check(self, digest: bytes, credential: Credential) -> _Asked:
        check = Check(self._monotonic())
        with self._lock:
            self._under_way.add(check)
        try:
            asked, for_s = self._ask(credential)
            # Asked for outside of the lock: it may begin to listen.
            hears_all = self._revocations.hears_all
        except BaseException:
            with self._lock:
                self._under_way.discard(check)
            raise
        with self._lock:
            self._under_way.discard(check)
            if isinstance(asked.outcome, Accept) and for_s > 0:
                identity = asked.outcome.identity
                for_s = check.believable_s(identity, for_s, now=self._monotonic(), hears_all=hears_all)
                self._remembered.remember(
                    digest, asked, for_s, owner=identity.username, credential_id=identity.credential_id
                )
        return asked

    def _ask(self, credential: Credential) -> tuple[_Asked, float]:
        """Return the chain's answer, and for how many seconds it may be reused."""
        answer = self.chain.ask(credential)
        outcome, for_s = answer.outcome, 0.0
        match outcome:
            case Skip():
                outcome = Skip(answer.challenges)
            case Reject():
                outcome = replace(outcome, challenges=answer.challenges)
            case Accept(identity, headers, reusable_s):
                outcome = replace(outcome, headers=tuple(_sendable(answer.backend, *header) for header in headers))
                for_s = reusable_s if answer.reusable else 0
                if identity.expires_at is not None:
                    for_s = min(for_s, identity.expires_at - time.time())
            case _:
                pass
        return _Asked(outcome, answer.backend), for_s

    def _hear(self, revocation: RevocationEvent | None) -> None:
        """Forget the answers that a revocation concerns; called from any thread."""
        with self._lock:
            self._revoked += 1
            forget_revoked(self._remembered, revocation)
            # Whom a check under way is about is not known yet.
            for check in self._under_way:
                check.heard.append(revocation)


def set_judgement(app: Flask, judgement: Judgement) -> None:
    """Make the views of an app ask this object from now on."""
    app.extensions[_EXTENSION] = judgement


def judges(app: Flask) -> bool:
    """Return whether the app has a `CompatAuth`, so that `judgement_of` finds what its views ask."""
    return _EXTENSION in app.extensions


def judgement_of(app: Flask) -> Judgement:
    """Return the object that the views of an app ask.

    Raises:
        KeyError: The app has no `CompatAuth`.
    """
    return cast("Judgement", app.extensions[_EXTENSION])


def _sendable(backend: str, name: str, value: str) -> tuple[str, str]:
    """Return a backend's response header with the characters that a header may have (RFC 9110 section 5.5).

    Raises:
        BackendUnavailable: It would be another header, or none.
    """
    raw_value = value.encode("latin-1", "replace")
    if not name.isascii() or not is_header(name.lower().encode("ascii"), raw_value):
        raise BackendUnavailable(f"backend {backend}: answered with a response header that cannot be sent")
    return name, raw_value.decode("latin-1")


def _key_of_request() -> bytes:
    return credential_key(request_authorization() or "")


def _evidence_of_request(headers: tuple[str, ...]) -> bytes:
    """Return a digest of the client certificate that the request shows and of who forwards it; b"" for none."""
    peer = request_peer()
    said = tuple((name, value) for name in headers for value in peer.values(name))
    return replace(peer, headers=said).evidence
