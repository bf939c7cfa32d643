"""The last step of every login: who has been vouched for gets a session and the upstream's own cookie, and goes on."""

from __future__ import annotations

from flask import Response

from compat_auth import sessions
from compat_auth.authn.chain import Chain
from compat_auth.credentials import Credential
from compat_auth.errors import NotPermitted
from compat_auth.identity import Identity
from compat_auth.outcome import Accept
from compat_auth.web.login_completion import UpstreamCookie
from compat_auth.web.page import record, redirect


class Arrival:
    """Lets people in.

    Args:
        chain: Knows whose name is nobody's in person.
        upstream_cookie: What a login gives the browser besides our session.
    """

    def __init__(self, chain: Chain, upstream_cookie: UpstreamCookie) -> None:
        self._chain = chain
        self._upstream_cookie = upstream_cookie

    def let_in(self, accepted: Accept, credential: Credential, target: str) -> Response:
        """Return the redirect that begins a session, with a new id whatever the browser had.

        Raises:
            CompatAuthError: The upstream would have no token for this user, or there is none at present; or the name
                is a role account's.
        """
        identity = accepted.identity
        if not self._chain.may_vouch_for(identity):
            raise NotPermitted(f"{identity.username!r} is a role account")
        # First: whom the upstream does not know gets no session either.
        token = self._upstream_cookie.obtain(identity, credential, accepted.token)
        sessions.log_in(identity)
        record("accept", identity.username, "")
        answer = redirect(target)
        self._upstream_cookie.keep(answer, token)
        return answer


def is_limited(identity: Identity) -> bool:
    """Return whether a session would lend the credential of an identity what it does not have."""
    return identity.scopes is not None or identity.role_account
