"""Shared by all pages: rendering, security headers, cookies, CSRF checks, audit entries, and pages that need a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, urlsplit

import flask
from flask import Response, render_template, request

from compat_auth import audit, sessions
from compat_auth.authn.session_cookie import new_secret
from compat_auth.authn.session_sealing import Session
from compat_auth.errors import StageRefusal
from compat_auth.guard import page_headers
from compat_auth.http.browser.csrf import Source, find_forgery, is_same_token
from compat_auth.http.browser.navigation import is_navigation
from compat_auth.http.browser.redirects import safe_next
from compat_auth.identity import Identity

MAX_FORM_BYTES = 16384
MAX_NAME = 512
STYLE = "pages.css"
STYLE_FILE = Path(__file__).with_name("static") / STYLE
COPY_SCRIPT = "copy.js"
COPY_SCRIPT_FILE = Path(__file__).with_name("static") / COPY_SCRIPT
_NONCE = "compat_auth_script_nonce"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: with it, browsers send `Origin: null` with a form.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def protect(response: Response) -> Response:
    """Return the response with headers that forbid framing, caching, and loading of foreign content.

    A response that says itself how long it may be cached keeps that.
    """
    kept = response.headers.get("Cache-Control")
    for name, value in _HEADERS.items():
        response.headers[name] = value
    if kept is not None:
        response.headers["Cache-Control"] = kept
    nonce: str | None = flask.g.get(_NONCE)
    if nonce is not None:
        response.headers["Content-Security-Policy"] += f"; script-src 'nonce-{nonce}'"
    return response


def allow_script() -> str:
    """Return the nonce with which the current page may load a script; pages without a nonce load none."""
    nonce = new_secret()
    # Not 'self': that would allow every script of the upstream, which has the same origin.
    setattr(flask.g, _NONCE, nonce)
    return nonce


def render_page(template: str, status: int = 200, **values: object) -> Response:
    """Return a page made from a template in `templates/compat_auth`."""
    return flask.make_response(render_template(f"compat_auth/{template}", **values), status)


def redirect(target: str) -> Response:
    """Return a redirect by GET to a target that was checked before."""
    answer = flask.make_response("", 303)
    # Unchanged: a framework that completes the URL could make it point to another host.
    answer.headers["Location"] = target
    answer.autocorrect_location_header = False
    return answer


def here(path: str) -> str:
    """Return a path of this application as the browser sees it: Airflow may run below a path."""
    return request.script_root + path


def lead_to_login(prefix: str) -> Response | None:
    """Return the redirect to our login page, which leads back, if a browser navigates to a page; None otherwise."""
    headers = request.headers
    asks = is_navigation(request.method, headers.get("Sec-Fetch-Mode"), headers.get("Accept"))
    if not asks or "Authorization" in headers:
        return None
    query = "?" + request.query_string.decode("ascii", "replace") if request.query_string else ""
    target = safe_next(quote(request.script_root + request.path, safe="/!$&'()*+,;=:@~") + query, here("/"))
    answer = redirect(f"{here(prefix)}login?next={quote(target)}")
    answer.status_code = 302
    answer.headers["Cache-Control"] = "no-store"
    return answer


def is_too_large() -> bool:
    """Return whether the current request's body is larger than any of our forms."""
    return (request.content_length or 0) > MAX_FORM_BYTES


def own_cookie(name: str) -> str:
    """Return the name of one of our cookies; on HTTPS a name that no other host of the domain can set (`__Host-`)."""
    return f"__Host-{name}" if request.is_secure else name


def set_cookie(
    answer: Response, name: str, value: str, max_age_s: int, *, path: str = "/", http_only: bool = True
) -> None:
    """Set a cookie for a path, which browsers do not send with requests of other sites; 0 s clears it."""
    answer.set_cookie(
        name, value, max_age=max_age_s, path=path, secure=request.is_secure, httponly=http_only, samesite="Lax"
    )


def source_forgery(token: str, expected: str) -> str:
    """Return why the current unsafe request may come from another site, for logs only; "" if it cannot."""
    source = Source(
        request.headers.get("Sec-Fetch-Site"),
        request.headers.get("Origin"),
        f"{request.scheme}://{request.host}",
        token,
    )
    return find_forgery(request.method, source, expected)


def comes_from_another_site() -> bool:
    """Return whether another site sent the browser here; a browser that does not say is trusted."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    # On plain HTTP browsers send no Sec-Fetch-Site.
    referrer = urlsplit(request.headers.get("Referer", ""))
    return bool(referrer.netloc) and (referrer.scheme, referrer.netloc) != (request.scheme, request.host)


def record(result: str, username: str, reason: str, *, way: str = "login", names_nobody: bool = False) -> None:
    """Write one audit entry about the current request."""
    client = request.remote_addr or ""
    event = audit.AuditEvent(
        result, way, username[:MAX_NAME], reason, request.method, request.path, client, names_nobody
    )
    audit.record(event)


View = Callable[[Session], Response]


class Account:
    """Protects pages that need a session; only our session cookie counts, no other credential.

    Args:
        prefix: Path prefix of our own pages.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def guard(self, view: View, page: str, *, is_way_out: bool = True) -> Callable[[], Response]:
        """Return the view with a check for a session; without one it redirects to the login page.

        An unsafe request must carry the session's CSRF token.

        Args:
            view: The page, or the action of its form.
            page: The page to return to after a login, below the prefix.
            is_way_out: The page stays open while the login of the session ends for everybody (`compat-auth stages`), since
                here a user gets a token in its place. A stage for this very user counts on every page.
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
                    return show_message(session, 400, "This page has expired. Please try again.")
            try:
                notices = page_headers(_identity_of(session), is_way_out=is_way_out)
            except StageRefusal as refusal:
                return _show_refusal(session, refusal)
            response = view(session)
            response.headers.extend(notices)
            return response

        return answer


def _identity_of(session: Session) -> Identity:
    login = "" if session.backend == sessions.BY_APPLICATION else session.backend
    return Identity(session.username, "session", login=login)


def _show_refusal(session: Session, refusal: StageRefusal) -> Response:
    # A 401 needs a challenge (RFC 9110 section 15.5.2), and a browser would ask for a password.
    answer = show_message(session, 403 if refusal.status == 401 else refusal.status, str(refusal))
    answer.headers.extend(refusal.headers)
    if refusal.retry_after_s is not None:
        answer.headers["Retry-After"] = str(refusal.retry_after_s)
    return answer


def render_account(template: str, session: Session, status: int = 200, **values: object) -> Response:
    """Return a page for a user who is logged in."""
    return render_page(template, status, username=session.username, token=session.csrf_token, **values)


def show_message(session: Session, status: int, message: str) -> Response:
    """Return a page that says why the request was not carried out."""
    return render_account("message.html", session, status, message=message)
