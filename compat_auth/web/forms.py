"""The forms of personal tokens: what was typed, what it asks for, and beside which field an error belongs."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from flask import Response, request

from compat_auth.authn.session_cookie import new_secret
from compat_auth.errors import CompatAuthError, InvalidValue, NameTaken
from compat_auth.personal_tokens.request import PersonalTokenRequest
from compat_auth.scopes import ALL
from compat_auth.web.page import own_cookie, set_cookie, source_forgery

_LISTED = "listed"


@dataclass(frozen=True, slots=True)
class TokenForm:
    """What was typed, as it was typed.

    Attributes:
        name: What to call the token.
        until: Its last day (UTC), as a browser's date field says it.
        limit: "all", "read", or "listed".
        scopes: With "listed": one scope a line.
    """

    name: str = ""
    until: str = ""
    limit: str = "read"
    scopes: str = ""

    @classmethod
    def from_request(cls) -> TokenForm:
        """Return what the form at hand says."""
        form = request.form
        return cls(form.get("name", ""), form.get("until", ""), form.get("limit", ""), form.get("scopes", ""))

    def wish(self, now: float) -> PersonalTokenRequest:
        """Return what the form asks for.

        Raises:
            InvalidValue: It does not say how far the token reaches, or its last day is no date.
        """
        return PersonalTokenRequest(self.name.strip(), self._scopes(), days_until(self.until, now))

    def _scopes(self) -> tuple[str, ...]:
        if self.limit == _LISTED:
            return tuple(line for line in map(str.strip, self.scopes.splitlines()) if line)
        if self.limit in (ALL, "read"):
            return (self.limit,)
        raise InvalidValue("scopes: say what the token may do")


def days_until(until: str, now: float) -> int | None:
    """Return a last day, counted from today (UTC); None where none was given.

    Raises:
        InvalidValue: It is no date.
    """
    if not until:
        return None
    try:
        return (date.fromisoformat(until) - today(now)).days
    except ValueError:
        raise InvalidValue("the last day must be a date, such as 2027-01-31") from None


def today(now: float) -> date:
    """Return the day of a moment (UTC)."""
    return datetime.fromtimestamp(now, timezone.utc).date()


def day_ahead(now: float, days: int) -> str:
    """Return the day so many days ahead (UTC), as a browser's date field wants it."""
    return (today(now) + timedelta(days=days)).isoformat()


def field_of(error: CompatAuthError) -> str:
    """Return beside which field an error belongs; "" for none."""
    if isinstance(error, NameTaken):
        return "name"
    if isinstance(error, InvalidValue):
        for start, field in (("name", "name"), ("scope", "scopes"), ("the last day", "until")):
            if str(error).startswith(start):
                return field
    return ""


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
