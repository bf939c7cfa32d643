"""One run of the chain on a thread: from the request's credential to a decision, with its line in the audit log."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Protocol

from flask import Flask

from compat_auth import audit
from compat_auth.authn.chain import Answer, Chain, Course
from compat_auth.authn.surroundings import Surroundings
from compat_auth.authn.users.acting import Acting
from compat_auth.credentials import Absent, Basic, Credential
from compat_auth.errors import BackendUnavailable, CompatAuthError, NotPermitted
from compat_auth.gateway.decision import Decision, Granted, Refused, Unclaimed
from compat_auth.guard import describe
from compat_auth.http.headers import is_header
from compat_auth.http.request import Presented
from compat_auth.identity import Identity, Token
from compat_auth.outcome import Accept, Challenge, Reject, Skip
from compat_auth.tokens.upstream_refusals import UpstreamRefusals

# A token must outlive the request that carries it and the clock difference to the upstream.
_TOKEN_MARGIN_S = 10


class Issuer(Protocol):
    """Makes the upstream's tokens; see `compat_auth.tokens.issuer`."""

    def obtain(
        self, identity: Identity, credential: Credential, yielded: Token | None = None, *, fresh: bool = False
    ) -> Token:
        """Return the token for an identity; see `TokenIssuer.obtain`."""
        ...


class ChainRunner:
    """Runs the chain, in a Flask request context of its own if a backend needs it. Any thread may use it.

    Args:
        chain: The backends.
        app: The Flask app in which they were initialised.
        issuer: Makes the token for an accepted identity.
        refused: Tokens that the upstream has refused.
        acting: Who may act for whom; None: nobody.
    """

    def __init__(
        self, chain: Chain, app: Flask, issuer: Issuer, refused: UpstreamRefusals, acting: Acting | None = None
    ) -> None:
        self._chain = chain
        self._app = app
        self._issuer = issuer
        self._refused = refused
        self._acting = acting

    def run(
        self, presented: Presented, *, fresh: bool, for_upstream: bool, course: Course | None = None
    ) -> tuple[Decision, float]:
        """Return the decision, and for how many seconds it may be remembered.

        Args:
            presented: With a credential that follows its grammar.
            fresh: The upstream has refused the earlier token.
            for_upstream: Whether a token for the upstream is wanted.
            course: The point at which the chain continues, once the body has arrived; None: from the start.

        Raises:
            CompatAuthError: A source is unavailable, or the upstream has no token for the caller.
            BodyWanted: A backend may look at the body, which is not read yet.
        """
        credential = presented.shown.credential()
        # An explicit credential beats a cookie: beside one, backends do not even see the cookies.
        with_cookies = isinstance(credential, Absent)
        facts = None if presented.facts is None else presented.facts(self._app, with_cookies)
        with Surroundings(self._app, facts, lambda: presented.environ(with_cookies)) as surroundings:
            try:
                answer = self._chain.ask(
                    credential, course, body_at_hand=presented.body_at_hand(), prepare=surroundings.provide_for
                )
                if presented.shown.acts_for:
                    surroundings.provide_flask()
                    answer = self._acted(answer, presented)
                if for_upstream and isinstance(answer.outcome, Accept):
                    surroundings.provide_for(self._issuer)
                decision, for_s = self._conclude(answer, credential, fresh, for_upstream)
            except CompatAuthError as error:
                record_error(presented, credential, error)
                raise
        result, reason = describe(answer.outcome)
        identity = decision.identity if isinstance(decision, Granted) else None
        names_nobody = isinstance(answer.outcome, Reject) and answer.outcome.names_nobody
        _record(presented, credential, result, answer.backend, reason, identity, names_nobody=names_nobody)
        return decision, for_s

    def renew(self, presented: Presented, refused: Granted) -> bytes:
        """Return another Authorization value for an accepted identity, without asking the chain again.

        Raises:
            CompatAuthError: The upstream has no token for the caller, or there is none at present.
        """
        return _bearer_of(self._issuer.obtain(refused.identity, presented.shown.credential(), fresh=True))

    def _acted(self, answer: Answer, presented: Presented) -> Answer:
        """Return the answer about the user for whom the caller acts, where it names one.

        Raises:
            NotPermitted, NoSuchUser: It may not.
            BackendUnavailable: A directory could not be asked.
        """
        name = presented.shown.acts_for
        if not name or isinstance(answer.outcome, Reject | Challenge):
            return answer
        if self._acting is None or not isinstance(answer.outcome, Accept):
            raise NotPermitted("X-Do-As: needs a credential that a backend takes")
        user = self._acting.become(answer.outcome.identity, name, presented.client)
        # Not remembered: the caller may be disabled at any moment, and so may the user. What a login has yielded is a
        # token of the caller's.
        outcome = replace(answer.outcome, identity=user, reusable_s=0, token=None)
        return replace(answer, outcome=outcome)

    def _conclude(
        self, answer: Answer, credential: Credential, fresh: bool, for_upstream: bool
    ) -> tuple[Decision, float]:
        match answer.outcome:
            case Accept(identity, headers, reusable_s, yielded, used):
                raw_headers = tuple(_raw_header(answer.backend, name, value) for name, value in headers)
                if not for_upstream:
                    return Granted(identity, b"", raw_headers, used=used), reusable_s if answer.reusable else 0
                token = self._issuer.obtain(identity, credential, yielded, fresh=fresh)
                if not fresh and _bearer_of(token) in self._refused:
                    token = self._issuer.obtain(identity, credential, fresh=True)
                for_s = min(reusable_s, token.expires_at - _TOKEN_MARGIN_S - time.time()) if answer.reusable else 0
                return Granted(identity, _bearer_of(token), raw_headers, used=used), for_s
            case Reject(_, status):
                return Refused(status, answer.challenges), 0
            case Challenge():
                return Refused(401, answer.challenges), 0
            case Skip():
                return Unclaimed(credential, answer.challenges), 0


def record_error(presented: Presented, credential: Credential, error: CompatAuthError) -> None:
    """Write the audit line of a request without a decision.

    Args:
        presented: The request.
        credential: The part that could be parsed.
        error: Why.
    """
    _record(presented, credential, "reject" if error.status < 500 else "unavailable", "", str(error))


def _record(
    presented: Presented,
    credential: Credential,
    result: str,
    backend: str,
    reason: str,
    identity: Identity | None = None,
    *,
    names_nobody: bool = False,
) -> None:
    claimed = credential.username if isinstance(credential, Basic) else ""
    username = identity.username if identity is not None else claimed
    method, path, client = presented.method, presented.path, presented.client
    actor = identity.actor if identity is not None else ""
    audit.record(audit.AuditEvent(result, backend, username, reason, method, path, client, names_nobody, actor))


def _bearer_of(token: Token) -> bytes:
    return b"Bearer " + token.value.encode("ascii")


def _raw_header(backend: str, name: str, value: str) -> tuple[bytes, bytes]:
    """Return a backend's response header as it goes on the wire.

    Raises:
        BackendUnavailable: It would be another header, or none.
    """
    raw_name, raw_value = name.lower().encode("ascii", "replace"), value.encode("latin-1", "replace")
    if not name.isascii() or not is_header(raw_name, raw_value):
        raise BackendUnavailable(f"backend {backend}: answered with a response header that cannot be sent")
    return raw_name, raw_value
