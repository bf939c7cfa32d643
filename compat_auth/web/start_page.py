"""The start page: who is logged in, what there is, and a line to try."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from flask import Response, request

from compat_auth.authn.session_sealing import Session
from compat_auth.web.page import Account, here, render_account

PATH = ""


class StartPage:
    """The page.

    Args:
        account: Protects the page.
        prefix: Path prefix of our own pages.
    """

    def __init__(self, account: Account, prefix: str) -> None:
        self._account = account
        self._prefix = prefix

    def routes(self) -> tuple[tuple[str, str, Callable[[], Response]], ...]:
        """Return (path below the prefix, method, view) of the page."""
        return ((PATH, "GET", self._account.guard(self._show, PATH)),)

    def _show(self, session: Session) -> Response:
        whoami = shlex.quote(f"{request.scheme}://{request.host}{here(self._prefix)}whoami")
        lines = [f"curl -H 'Authorization: Bearer TOKEN' {whoami}", f"curl -u {shlex.quote(session.username)} {whoami}"]
        return render_account("start.html", session, login=session, lines=lines, upstream=here("/"))
