"""The session of Flask's current request: `read`, `write`, `clear`, as asfquart has them.

A session holds exactly what was last written. It lives in an encrypted cookie; the answer
to the request carries it. Each function has an async twin for async views.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable, Mapping
from typing import Any, cast

import flask

from compat_auth.authn.judgement import judgement_of, judges
from compat_auth.authn.session_registry import LiveSessions, live_sessions_of
from compat_auth.authn.session_sealing import Session
from compat_auth.config import Settings
from compat_auth.credentials import Absent, Bearer
from compat_auth.errors import ConfigError, InvalidSession, RequestRefused
from compat_auth.facts import is_secure, request_facts
from compat_auth.guard import current_identity, method_for_browsers, request_credential, require_permission
from compat_auth.http.browser.csrf import HANDSHAKE, TOKEN_HEADER, Source, find_forgery
from compat_auth.identity import Identity
from compat_auth.outcome import Accept
from compat_auth.requirements import NOTHING_REQUIRED

__all__ = [
    "BY_APPLICATION",
    "ClientSession",
    "clear",
    "clear_async",
    "read",
    "read_async",
    "request_forgery",
    "write",
    "write_async",
]

WEEK_S = 604800
USER_KEY = "uid"
BY_APPLICATION = "application"
"""The `backend` of a session that the app itself has begun, by `write`."""
PENDING = "compat_auth_set_cookie"
"""The attribute of `flask.g` with the Set-Cookie value that the answer is to carry."""
_CURRENT = "compat_auth_session"
# asfquart's ClientSession shows these keys under other names.
_ALIASES = {"committees": "pmcs", "isRole": "roleaccount"}
# What asfquart's ClientSession shows where nothing was said.
_UNSAID: Mapping[str, Callable[[], Any]] = {
    **dict.fromkeys(("isMember", "isChair", "isRoot", "mfa", "isRole"), bool),
    **dict.fromkeys(("committees", "projects"), list),
    **dict.fromkeys(("dn", "fullname", "email"), lambda: None),
    "metadata": dict,
}


class ClientSession(dict[str, Any]):
    """The written values, by key; each key is also an attribute, and so are asfquart's keys that were not written.

    Attributes:
        created: When the session began, in seconds since the epoch; 0 for a token, which has no session.
        last_seen: When its cookie was last renewed, in seconds since the epoch; 0 for a token.
        csrf_token: What an unsafe request must bring in `X-CSRF-Token` that has neither Sec-Fetch-Site nor Origin.
    """

    created: int
    last_seen: int
    csrf_token: str

    def __getattr__(self, name: str) -> Any:
        """Return a value by its key.

        Raises:
            AttributeError: There is no such key.
        """
        for key in (name, _ALIASES.get(name, name)):
            if key in self:
                return self[key]
        if name in _UNSAID:
            return _UNSAID[name]()
        raise AttributeError(name)


def init_app(app: flask.Flask, settings: Settings) -> LiveSessions | None:
    """Make sessions work in the app, where `[session]` has a secret; calling it twice is harmless.

    Raises:
        ConfigError: The secret is too short, or the database's URL cannot work.
    """
    sessions = live_sessions_of(app, settings)
    hooks = app.after_request_funcs.setdefault(None, [])
    if sessions is not None and _send_cookie not in hooks:
        app.after_request(_send_cookie)
    return sessions


def read(expiry_time: float = WEEK_S) -> ClientSession | None:
    """Return the caller's session, or None; being read keeps it alive.

    For a token that a token handler knows, it is what the handler said, unless the token is limited to other requests.
    There is none for any other explicit credential, which beats a cookie, and none for a request that another site could
    have forged (see `request_forgery`).

    Args:
        expiry_time: Seconds without a request after which it has ended; `[session] idle_s` also applies.

    Raises:
        BackendUnavailable: The store or the token handler could not be asked.
        ValueError: The time is not a positive number.
    """
    if isinstance(cast("object", expiry_time), (bool, str)) or not expiry_time > 0:
        raise ValueError("expiry_time: not a positive number of seconds")
    token = _bearer()
    if token is not None:
        claims = _claims_of(token)
        return _shown(claims, 0, 0, "") if claims else None
    sessions, session = _live(), _current()
    if session is None or request_forgery(session):
        return None
    if sessions.cookie.now() - session.last_seen >= expiry_time:
        clear()
        return None
    renewed = sessions.renew(session, idle_s=expiry_time)
    if renewed is not None:
        session = renewed
        _keep(session)
    content = {USER_KEY: session.username, **session.data}
    return _shown(content, session.created, session.last_seen, session.csrf_token)


def _shown(content: Mapping[str, Any], created: int, last_seen: int, csrf_token: str) -> ClientSession:
    found = ClientSession(copy.deepcopy(dict(content)))
    found.created, found.last_seen, found.csrf_token = created, last_seen, csrf_token
    return found


def _bearer() -> Bearer | None:
    try:
        credential = request_credential()
    except RequestRefused:
        return None
    return credential if isinstance(credential, Bearer) else None


def _claims_of(token: Bearer) -> Mapping[str, Any]:
    """Return the claims of the request's token; none if no token handler knows it, or if it is limited.

    Raises:
        BackendUnavailable: The handler could not be asked.
    """
    if current_identity:
        return current_identity.claims
    if not judges(flask.current_app):
        return {}
    try:
        outcome = judgement_of(flask.current_app).judge(token)
        if isinstance(outcome, Accept):
            require_permission(outcome.identity, NOTHING_REQUIRED)
            return outcome.identity.claims
    except RequestRefused:
        pass
    return {}


def write(data: Mapping[str, Any]) -> None:
    """Make this the caller's session. Its age stays while the user stays; another user's has a new id.

    In a session that the app began in this way, `isMember`, `isChair`, `isRoot`, `pmcs`, `projects`, `mfa` and
    `roleaccount` mean what they mean to a token handler: the caller has these roles, groups and flags.

    Args:
        data: JSON, with the user's name as `uid`.

    Raises:
        ValueError: It has no `uid`, or would not come back as it is.
        SessionTooLarge: It does not fit into a cookie.
        BackendUnavailable: The store could not be asked.
    """
    content = dict(data)
    username = content.pop(USER_KEY, None)
    if not isinstance(username, str) or not username:
        raise ValueError(f"session: {USER_KEY!r} must be the user's name")
    _require_lossless(content)
    sessions, session = _live(), _current()
    if session is not None and session.username == username:
        _keep(sessions.rewritten(session, content))
        return
    started = sessions.start(Identity(username, BY_APPLICATION, subject=username), content)
    _keep(started)
    if session is not None:
        sessions.end(session)


def log_in(identity: Identity) -> Session:
    """Begin a session for somebody who has just logged in, in place of any that the browser has, under a new id.

    Raises:
        BackendUnavailable: The store could not be asked.
    """
    sessions, before = _live(), _current()
    started = sessions.start(identity)
    _keep(started)
    if before is not None:
        sessions.end(before)
    return started


def clear() -> None:
    """End the caller's session, in the store and in the browser.

    Raises:
        BackendUnavailable: The store could not be asked.
    """
    sessions, session = _live(), _current()
    if session is not None:
        sessions.end(session)
    setattr(flask.g, _CURRENT, None)
    setattr(flask.g, PENDING, sessions.cookie.clearing(secure=flask.request.is_secure))


async def read_async(expiry_time: float = WEEK_S) -> ClientSession | None:
    """Return the result of `read`, without blocking the event loop."""
    return await asyncio.to_thread(read, expiry_time)


async def write_async(data: Mapping[str, Any]) -> None:
    """Do what `write` does, without holding up the event loop."""
    await asyncio.to_thread(write, data)


async def clear_async() -> None:
    """Do what `clear` does, without holding up the event loop."""
    await asyncio.to_thread(clear)


def current_session() -> Session | None:
    """Return the session of the request's cookie, whatever else the request says; None where there is none.

    Raises:
        BackendUnavailable: The store could not be asked.
    """
    return _current()


def cookie_values(sessions: LiveSessions) -> list[str]:
    """Return the values of our cookie in the current request."""
    request = request_facts()
    return request.cookies(sessions.cookie.name(secure=is_secure(request)))


def request_forgery(session: Session | None) -> str:
    """Return why the current request could be forged by another site, for logs only; "" when it cannot.

    Args:
        session: Whose token may stand for a missing word of where the request comes from; None for a cookie without a
            token, where the missing word is taken for that of a program, which no other site can steer.
    """
    request = request_facts()
    sec_fetch_site, origin = request.header("Sec-Fetch-Site"), request.header("Origin")
    method = method_for_browsers()
    # Browsers say in each handshake of a WebSocket where it comes from (RFC 6455 4.1), and a program has no token at hand.
    if (session is None or method == HANDSHAKE) and sec_fetch_site is None and origin is None:
        return ""
    own_origin = f"{request.scheme}://{request.host}"
    source = Source(sec_fetch_site, origin, own_origin, request.header(TOKEN_HEADER) or "")
    return find_forgery(method, source, session.csrf_token if session is not None else "")


def _live() -> LiveSessions:
    sessions = live_sessions_of(flask.current_app)
    if sessions is None:
        raise ConfigError("session.secret: not set, so there are no sessions; make one with: openssl rand -base64 48")
    return sessions


def _current() -> Session | None:
    if _CURRENT not in flask.g:
        setattr(flask.g, _CURRENT, _find())
    return cast("Session | None", getattr(flask.g, _CURRENT))


def _find() -> Session | None:
    sessions = _live()
    values = cookie_values(sessions)
    try:
        explicit = not isinstance(request_credential(), Absent)
        if len(values) != 1 or explicit:
            return None
        return sessions.find(values[0], secure=flask.request.is_secure)
    except (InvalidSession, RequestRefused):
        return None


def _keep(session: Session) -> None:
    header = _live().cookie.header(session, secure=flask.request.is_secure)
    setattr(flask.g, _CURRENT, session)
    setattr(flask.g, PENDING, header)


def _send_cookie(response: flask.Response) -> flask.Response:
    header = flask.g.pop(PENDING, None)
    if header is not None:
        name = header.partition("=")[0] + "="
        kept = [value for value in response.headers.getlist("Set-Cookie") if not value.startswith(name)]
        response.headers.setlist("Set-Cookie", [*kept, header])
        response.cache_control.no_store = True
    return response


def _require_lossless(content: dict[str, Any]) -> None:
    try:
        same = _is_same(json.loads(json.dumps(content, allow_nan=False)), content)
    except (TypeError, ValueError) as exc:
        raise ValueError("session: only JSON: texts, numbers, true, false, None, lists, and mappings by text") from exc
    if not same:
        raise ValueError("session: only JSON: lists instead of tuples, texts as keys; else it would come back changed")


def _is_same(found: object, wanted: object) -> bool:
    """Return whether two values are equal and of the same types: 1 is not True."""
    if type(found) is not type(wanted):
        return False
    if isinstance(found, dict):
        ours, theirs = cast("dict[object, object]", found), cast("dict[object, object]", wanted)
        return ours.keys() == theirs.keys() and all(_is_same(ours[key], theirs[key]) for key in ours)
    if isinstance(found, list):
        ours_list, theirs_list = cast("list[object]", found), cast("list[object]", wanted)
        return len(ours_list) == len(theirs_list) and all(map(_is_same, ours_list, theirs_list))
    return found == wanted
