"""Decides who may open the pages for administrators: exactly those who may list and revoke all tokens by the API.

A session proves only who logged in, perhaps days ago. So the chain is asked at each request, as it is for the API: it looks
the user up in the directory, with today's groups and roles.
"""

from __future__ import annotations

from collections.abc import Callable

import flask
from flask import Response

from compat_auth.authn.chain import Chain
from compat_auth.authn.session_registry import credential_id_of
from compat_auth.authn.session_sealing import Session
from compat_auth.credentials import Absent
from compat_auth.errors import CompatAuthError, NotPermitted
from compat_auth.identity import Identity
from compat_auth.outcome import Accept
from compat_auth.personal_tokens.permissions import TokenPermissions
from compat_auth.web.page import View, record, show_message

_KNOWN = "compat_auth_is_admin"


class Administrators:
    """The administrators of personal tokens.

    Args:
        chain: Identifies the user of a session.
        access: Knows who is an administrator; None: nobody is.
    """

    def __init__(self, chain: Chain, access: TokenPermissions | None) -> None:
        self._chain = chain
        self._access = access

    def identify(self, session: Session) -> Identity:
        """Return the identity of an administrator who is logged in.

        Raises:
            NotPermitted: The user is no administrator now, or something other than this very session was accepted.
            BackendUnavailable: A directory could not be asked.
        """
        if self._access is None or not self._access.has_admins:
            raise NotPermitted("nobody is an administrator here")
        outcome = self._chain.ask(Absent()).outcome
        if not isinstance(outcome, Accept):
            raise NotPermitted("the session is not accepted as a login")
        identity = outcome.identity
        # Another backend may have decided, by a certificate or a proxy's header: the form's token is the session's.
        if identity.credential_id != credential_id_of(session) or identity.username != session.username:
            raise NotPermitted("the accepted credential is not the session")
        self._access.require_manager(identity)
        if identity.scopes is not None or not self._access.is_admin(identity):
            raise NotPermitted("not an administrator")
        return identity

    def includes(self, session: Session) -> bool:
        """Return whether the user of a session is an administrator, for links only; asked once in a request."""
        known: bool | None = flask.g.get(_KNOWN)
        if known is None:
            try:
                self.identify(session)
            except CompatAuthError:
                known = False
            else:
                known = True
            setattr(flask.g, _KNOWN, known)
        return known

    def guard(self, view: Callable[[Session, Identity], Response]) -> View:
        """Return the view with a check that the user is an administrator; everybody else gets 403."""

        def answer(session: Session) -> Response:
            try:
                identity = self.identify(session)
            except NotPermitted as error:
                record("reject", session.username, f"page for administrators: {error}", way="session")
                return show_message(session, 403, "Only administrators of personal tokens may open this page.")
            setattr(flask.g, _KNOWN, True)
            return view(session, identity)

        return answer
