"""Logout, which asks first, and what a page's own script may know of the session."""

from __future__ import annotations

import contextlib

import flask
from flask import Response, request

from compat_auth import sessions
from compat_auth.authn.session_cookie import Session
from compat_auth.authn.session_registry import credential_id_of, live_sessions_of
from compat_auth.authn.upstream_tokens import upstream_tokens_of
from compat_auth.errors import InvalidSession
from compat_auth.http.browser.csrf import is_same_token
from compat_auth.identity import Identity
from compat_auth.web.login_completion import UpstreamCookie
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
                live.revoke_all(session.username)
            record("logout", session.username, "everywhere" if request.form.get("everywhere") else "")
        elif source_forgery("", ""):
            # Another site's form brings no cookie, so nobody knows here who is logged in. The page itself does.
            return redirect(here(self._path))
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


def end_along(upstream_cookie: UpstreamCookie) -> list[str]:
    """End every session that Flask's current request shows, and return the Set-Cookie values that clear its cookies.

    For a request for the upstream's own logout, which has been found to come from our own pages.

    Raises:
        BackendUnavailable: The store could not be asked.
    """
    live = live_sessions_of(flask.current_app)
    if live is None:
        return []
    secure = request.is_secure
    ended: Session | None = None
    # Two of one name: another host of the domain has set one of them. Both end.
    for value in dict.fromkeys(sessions.cookie_values(live)):
        with contextlib.suppress(InvalidSession):
            ended = live.find(value, secure=secure)
            end_leftovers(upstream_cookie.name, ended, everywhere=False)
            live.end(ended)
            record("logout", ended.username, "by the upstream's logout")
    if ended is None:
        end_leftovers(upstream_cookie.name, None, everywhere=False)
    return [live.cookie.clearing(secure=secure), *upstream_cookie.header(None)]


def show_session() -> Response:
    """Tell a page's own script whose session it is, and the token that its unsafe requests may bring."""
    found = sessions.current_session()
    if found is None:
        return flask.make_response({"username": None}, 401)
    content = {"username": found.username, "created": found.created, "csrf_token": found.csrf_token}
    return flask.make_response(content)


# One for each path of the host; more is no browser's doing, and each is a question to the upstream.
_MAX_COOKIES = 4


def end_leftovers(cookie_name: str, session: Session | None, *, everywhere: bool) -> None:
    """Take back what Flask's current request shows, and what was made from its session.

    Args:
        cookie_name: The upstream's own login cookie; "" where it has none.
        session: What ends; None where only the upstream's cookie is there to end.
        everywhere: All tokens of the user end, wherever they are.

    Raises:
        BackendUnavailable: The store could not be asked.
    """
    leftovers = upstream_tokens_of(flask.current_app)
    if leftovers is None:
        return
    tokens = flask.request.cookies.getlist(cookie_name)[:_MAX_COOKIES] if cookie_name else []
    leftovers.end(tokens=tokens, credential_id="" if session is None else credential_id_of(session))
    if everywhere and session is not None:
        leftovers.revoke_all(
            Identity(session.username, session.backend, subject=session.subject, directory=session.directory)
        )


def revoke_made_from(credential_id: str) -> None:
    """Take back what was made from a session that another browser has.

    Raises:
        BackendUnavailable: The store could not be asked.
    """
    leftovers = upstream_tokens_of(flask.current_app)
    if leftovers is not None:
        leftovers.end(tokens=(), credential_id=credential_id)
