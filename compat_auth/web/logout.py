"""Logout, which asks first, and what a page's own script may know of the session."""

from __future__ import annotations

import flask
from flask import Response, request

from compat_auth import sessions
from compat_auth.csrf import is_same_token
from compat_auth.live_sessions import live_sessions_of
from compat_auth.web.hand_off import UpstreamCookie
from compat_auth.web.leftovers import end_leftovers
from compat_auth.web.page import here, is_too_large, record, redirect, render_page, source_forgery


class LogoutPage:
    """Ends this session, or all sessions of the user.

    Args:
        path: Where it is.
        upstream_cookie: What a logout takes from the browser besides our session.
    """

    def __init__(self, path: str, upstream_cookie: UpstreamCookie) -> None:
        self._path = path
        self._upstream_cookie = upstream_cookie

    def show(self) -> Response:
        """Answer a GET, which ends nothing."""
        return self._render(200)

    def log_out(self) -> Response:
        """Answer a POST."""
        session = sessions.current_session()
        if session is not None:
            token = "" if is_too_large() else request.form.get("token", "")
            if source_forgery(token, session.csrf_token) or not is_same_token(token, session.csrf_token):
                return self._render(400)
            if request.form.get("everywhere"):
                live = live_sessions_of(flask.current_app)
                assert live is not None  # noqa: S101  # for the type checkers: there is a session
                live.end_all(session.username)
            record("logout", session.username, "everywhere" if request.form.get("everywhere") else "")
        elif source_forgery("", ""):
            return self._render(400)
        end_leftovers(self._upstream_cookie.name, session, everywhere=bool(request.form.get("everywhere")))
        sessions.clear()
        answer = redirect(here(self._path))
        self._upstream_cookie.clear(answer)
        return answer

    def _render(self, status: int) -> Response:
        session = sessions.current_session()
        if session is None:
            return render_page("logout.html", status, username="", token="")
        return render_page("logout.html", status, username=session.username, token=session.csrf_token)


def show_session() -> Response:
    """Tell a page's own script whose session it is, and the token that its unsafe requests may bring."""
    found = sessions.current_session()
    if found is None:
        return flask.make_response({"username": None}, 401)
    content = {"username": found.username, "created": found.created, "csrf_token": found.csrf_token}
    return flask.make_response(content)
