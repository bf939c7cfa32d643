"""Forms of the pages: the fields of a personal token, and the CSRF token of forms without a session."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from flask import Response, request

from compat_auth.authn.session_cookie import new_secret
from compat_auth.errors import CompatAuthError, InvalidValue, NameTaken
from compat_auth.personal_tokens.request import PersonalTokenRequest
from compat_auth.scopes import ALL
from compat_auth.web.page import own_cookie, set_cookie, source_forgery

_LISTED = "listed"


@dataclass(frozen=True, slots=True)
class TokenForm:
    """The fields of a new token, exactly as the user typed them.

    Attributes:
        name: Name of the token.
        until: Its last day (UTC), in the format of a browser's date field.
        limit: "all", "read", or "listed".
        scopes: With "listed": one scope per line.
        chosen: With "listed": the scopes whose boxes are checked.
        dags: With "listed": ids of DAGs, separated by blanks or commas.
    """

    name: str = ""
    until: str = ""
    limit: str = "read"
    scopes: str = ""
    chosen: tuple[str, ...] = ()
    dags: str = ""

    @classmethod
    def from_request(cls) -> TokenForm:
        """Return the fields of Flask's current request."""
        form = request.form
        name, until, limit, scopes, dags = (
            form.get(field, "") for field in ("name", "until", "limit", "scopes", "dags")
        )
        return cls(name, until, limit, scopes, tuple(form.getlist("scope")), dags)

    def token_request(self, now: float) -> PersonalTokenRequest:
        """Return the requested token.

        Raises:
            InvalidValue: The scopes are missing, or the last day is not a date.
        """
        return PersonalTokenRequest(self.name.strip(), self._scopes(), days_until(self.until, now))

    def _scopes(self) -> tuple[str, ...]:
        if self.limit == _LISTED:
            of_dags = (f"dags:{dag}" for dag in self.dags.replace(",", " ").split())
            lines = (line for line in map(str.strip, self.scopes.splitlines()) if line)
            return (*self.chosen, *of_dags, *lines)
        if self.limit in (ALL, "read"):
            if self.chosen or self.dags.strip():
                raise InvalidValue("scopes: for these boxes and DAGs choose 'Only these'; otherwise clear them")
            return (self.limit,)
        raise InvalidValue("scopes: choose what the token may do")


def days_until(until: str, now: float) -> int | None:
    """Return the number of days from today (UTC) to a last day; None for an empty field.

    Raises:
        InvalidValue: The text is not a date.
    """
    if not until:
        return None
    try:
        return (date.fromisoformat(until) - today(now)).days
    except ValueError:
        raise InvalidValue("the last day must be a date, such as 2027-01-31") from None


def today(now: float) -> date:
    """Return the date of a timestamp (UTC)."""
    return datetime.fromtimestamp(now, UTC).date()


def day_ahead(now: float, days: int) -> str:
    """Return the date this many days from now (UTC), in the format of a browser's date field."""
    return (today(now) + timedelta(days=days)).isoformat()


def field_of(error: CompatAuthError) -> str:
    """Return the form field that an error is about; "" for none."""
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
    """The CSRF token of a form that needs no session: in the form and in a cookie (double submit).

    Args:
        cookie: Name of the cookie on plain HTTP.
    """

    def __init__(self, cookie: str) -> None:
        self._cookie = cookie

    def current(self) -> str:
        """Return the token of the current request's browser, or a new one."""
        token = request.cookies.get(own_cookie(self._cookie), "")
        return token if len(token) in _LENGTHS else new_secret()

    def keep(self, answer: Response, token: str) -> None:
        """Set the token's cookie for an hour."""
        set_cookie(answer, own_cookie(self._cookie), token, _LIFETIME_S)

    def clear(self, answer: Response) -> None:
        """Clear the token's cookie."""
        set_cookie(answer, own_cookie(self._cookie), "", 0)

    def forgery(self) -> str:
        """Return why the current form did not come from a page that this browser was shown, for logs only; "" if it did."""
        token = request.form.get("token", "")
        cookie = request.cookies.getlist(own_cookie(self._cookie))
        same = len(cookie) == 1 and hmac.compare_digest(token.encode("utf-8", "replace"), cookie[0].encode())
        if not same or len(token) not in _LENGTHS:
            return "the form's token is not this browser's"
        return source_forgery(token, token)
