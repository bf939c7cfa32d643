"""Logout: the page that asks first, the end of sessions, the revocation of their tokens; and the session endpoint.

The session endpoint tells a page's own script who is logged in.
"""

from __future__ import annotations

import contextlib

import flask
from flask import Response, request

from compat_auth import sessions
from compat_auth.authn.session_registry import credential_id_of, live_sessions_of
from compat_auth.authn.session_sealing import Session
from compat_auth.authn.upstream_tokens import upstream_tokens_of
from compat_auth.errors import InvalidSession
from compat_auth.http.browser.csrf import is_same_token
from compat_auth.identity import Identity
from compat_auth.web.login_completion import UpstreamCookie
from compat_auth.web.page import here, is_too_large, record, redirect, render_page, source_forgery


class LogoutPage:
    """The logout page: ends this session, or all sessions of the user.

    Args:
        path: Path of the page.
        upstream_cookie: Cleared together with our session cookie.
    """

    def __init__(self, path: str, upstream_cookie: UpstreamCookie) -> None:
        self._path = path
        self._upstream_cookie = upstream_cookie

    def show(self) -> Response:
        """Answer a GET: show the form and change nothing."""
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
            # A form on another site sends no cookie, so this request does not show who is logged in. A GET of the page does.
            return redirect(here(self._path))
        revoke_session_tokens(self._upstream_cookie.name, session, everywhere=bool(request.form.get("everywhere")))
        sessions.clear()
        answer = redirect(here(self._path))
        self._upstream_cookie.clear(answer)
        return answer

    def _render(self, status: int) -> Response:
        session = sessions.current_session()
        if session is None:
            return render_page("logout.html", status, username="", token="")
        return render_page("logout.html", status, username=session.username, token=session.csrf_token)


def log_out_sessions(upstream_cookie: UpstreamCookie) -> list[str]:
    """End every session of Flask's current request, and return the Set-Cookie values that clear its cookies.

    For a request to the upstream's own logout; the caller has checked that it came from our own pages.

    Raises:
        BackendUnavailable: The store is not available.
    """
    live = live_sessions_of(flask.current_app)
    if live is None:
        return []
    secure = request.is_secure
    ended: Session | None = None
    # Two cookies of one name: another host of the domain has set one of them. End both sessions.
    for value in dict.fromkeys(sessions.cookie_values(live)):
        with contextlib.suppress(InvalidSession):
            ended = live.find(value, secure=secure)
            revoke_session_tokens(upstream_cookie.name, ended, everywhere=False)
            live.end(ended)
            record("logout", ended.username, "by the upstream's logout")
    if ended is None:
        revoke_session_tokens(upstream_cookie.name, None, everywhere=False)
    return [live.cookie.clearing(secure=secure), *upstream_cookie.header(None)]


def show_session() -> Response:
    """Return the session's user and the CSRF token for unsafe requests, for a page's own script."""
    found = sessions.current_session()
    if found is None:
        return flask.make_response({"username": None}, 401)
    content = {"username": found.username, "created": found.created, "csrf_token": found.csrf_token}
    return flask.make_response(content)


# One for each path of the host; no browser sends more, and each costs a request to the upstream.
_MAX_COOKIES = 4


def revoke_session_tokens(cookie_name: str, session: Session | None, *, everywhere: bool) -> None:
    """Revoke the tokens in the cookies of Flask's current request, and those that were issued for its session.

    Args:
        cookie_name: The upstream's own login cookie; "" if it has none.
        session: The session that ends; None if the request has only the upstream's cookie.
        everywhere: Revoke all tokens of the user.

    Raises:
        BackendUnavailable: The store is not available.
    """
    revoker = upstream_tokens_of(flask.current_app)
    if revoker is None:
        return
    tokens = flask.request.cookies.getlist(cookie_name)[:_MAX_COOKIES] if cookie_name else []
    revoker.revoke_session(tokens=tokens, credential_id="" if session is None else credential_id_of(session))
    if everywhere and session is not None:
        revoker.revoke_all(
            Identity(session.username, session.backend, subject=session.subject, directory=session.directory)
        )


def revoke_tokens_of_credential(credential_id: str) -> None:
    """Revoke the tokens that were issued for a session of another browser.

    Raises:
        BackendUnavailable: The store is not available.
    """
    revoker = upstream_tokens_of(flask.current_app)
    if revoker is not None:
        revoker.revoke_session(tokens=(), credential_id=credential_id)
