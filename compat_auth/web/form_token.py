"""The token that ties a form to the browser it was shown to: in the form and in a cookie (double submit)."""

from __future__ import annotations

import hmac

from flask import Response, request

from compat_auth.authn.session_cookie import new_secret
from compat_auth.web.page import own_cookie, set_cookie, source_forgery

_LIFETIME_S = 3600
_LENGTHS = range(32, 65)


class FormToken:
    """The token of one kind of form.

    Args:
        cookie: Name of its cookie on plain HTTP.
    """

    def __init__(self, cookie: str) -> None:
        self._cookie = cookie

    def current(self) -> str:
        """Return the token of the browser at hand, or a new one."""
        token = request.cookies.get(own_cookie(self._cookie), "")
        return token if len(token) in _LENGTHS else new_secret()

    def keep(self, answer: Response, token: str) -> None:
        """Let the browser keep the token for an hour."""
        set_cookie(answer, own_cookie(self._cookie), token, _LIFETIME_S)

    def clear(self, answer: Response) -> None:
        """Take the token from the browser."""
        set_cookie(answer, own_cookie(self._cookie), "", 0)

    def forgery(self) -> str:
        """Return why the form at hand is not one that this browser was shown, for logs only; "" when it is."""
        token = request.form.get("token", "")
        cookie = request.cookies.getlist(own_cookie(self._cookie))
        same = len(cookie) == 1 and hmac.compare_digest(token.encode("utf-8", "replace"), cookie[0].encode())
        if not same or len(token) not in _LENGTHS:
            return "the form's token is not this browser's"
        return source_forgery(token, token)
