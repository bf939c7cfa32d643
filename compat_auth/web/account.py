"""What all pages for whoever is logged in here have in common: a session, and forms that are its own."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from flask import Response, request

from compat_auth import sessions
from compat_auth.authn.session_cookie import Session
from compat_auth.http.browser.csrf import is_same_token
from compat_auth.web.page import here, is_too_large, record, redirect, render_page, source_forgery

View = Callable[[Session], Response]


class Account:
    """Leads whoever is not logged in to the login page; no other credential than our cookie counts.

    Args:
        prefix: Where our own pages live.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def guard(self, view: View, page: str) -> Callable[[], Response]:
        """Return the view, for the session of the request at hand; an unsafe request must be a form of that session.

        Args:
            view: The page, or what its form does.
            page: Where a login leads, below the prefix.
        """

        def answer() -> Response:
            if request.method != "POST":
                sessions.read()
            session = sessions.current_session()
            if session is None:
                return redirect(f"{here(self._prefix)}login?next={quote(here(self._prefix + page))}")
            if request.method == "POST":
                if is_too_large():
                    return show_message(session, 413, "The form is too large.")
                token = request.form.get("token", "")
                forgery = source_forgery(token, session.csrf_token)
                if forgery or not is_same_token(token, session.csrf_token):
                    record("reject", session.username, forgery or "the form's token is not the session's")
                    return show_message(session, 400, "This page had expired. Please try again.")
            return view(session)

        return answer


def render_account(template: str, session: Session, status: int = 200, **values: object) -> Response:
    """Return a page of somebody who is logged in."""
    return render_page(template, status, username=session.username, token=session.csrf_token, **values)


def show_message(session: Session, status: int, message: str) -> Response:
    """Return a page that says why nothing has happened."""
    return render_account("message.html", session, status, message=message)
