"""The page of the user's own sessions: list them, end one."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, request

from compat_auth.authn.session_cookie import RENEWAL_PART
from compat_auth.authn.session_registry import LiveSessions, credential_id_of_digest
from compat_auth.authn.session_sealing import Session
from compat_auth.store.tables.sessions import digest_of
from compat_auth.web.logout import revoke_tokens_of_credential
from compat_auth.web.page import Account, here, record, redirect, render_account, show_message

PATH = "sessions"
_HOUR_S = 3600
_DONE = {"ended": "The session has ended. Its browser must log in again."}


class SessionPage:
    """The page.

    Args:
        live: The live sessions.
        account: Protects the page.
        prefix: Path prefix of our own pages.
    """

    def __init__(self, live: LiveSessions, account: Account, prefix: str) -> None:
        self._live = live
        self._account = account
        self._prefix = prefix

    def routes(self) -> tuple[tuple[str, str, Callable[[], Response]], ...]:
        """Return (path below the prefix, method, view) of each page."""
        guard = self._account.guard
        return ((PATH, "GET", guard(self._show, PATH)), (PATH, "POST", guard(self._end, PATH)))

    def _show(self, session: Session) -> Response:
        mine = digest_of(session.id)
        found = self._live.list_live(session.username)
        rows = [(digest.hex(), row, digest == mine) for digest, row in found.items()]
        # The last use of a session is stored only from time to time.
        lag_h = max(1, round(self._live.cookie.idle_s * RENEWAL_PART / _HOUR_S))
        done = _DONE.get(request.args.get("done", ""), "")
        return render_account("sessions.html", session, rows=rows, lag_h=lag_h, done=done)

    def _end(self, session: Session) -> Response:
        try:
            digest = bytes.fromhex(request.form.get("id", ""))
        except ValueError:
            digest = b""
        if digest not in self._live.list_live(session.username):
            return show_message(session, 404, "You have no such session. It may have ended already.")
        revoke_tokens_of_credential(credential_id_of_digest(digest))
        self._live.revoke_by_digest(session.username, digest)
        record("logout", session.username, "another session")
        return redirect(here(f"{self._prefix}{PATH}?done=ended"))
