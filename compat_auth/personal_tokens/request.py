"""A request for a personal token: its name, scopes and last day, and the checks of these."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from compat_auth.config.personal_tokens import PersonalTokenSettings
from compat_auth.errors import InvalidValue, NotPermitted
from compat_auth.scopes import ALL, Scope, is_subset, parse_scopes
from compat_auth.store.schema import TOKEN_NAME_LENGTH
from compat_auth.store.tables.personal_tokens import PersonalToken

NO_CERTIFICATES = (
    "no client certificate can be seen here, so the token would never work; set [client_certificate] ca_file and [serve] "
    "tls_cert, or proxies and forwarded"
)
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]\Z")


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just created or refreshed: its text is known only now.

    Attributes:
        text: The complete token.
        token: What is stored about it.
    """

    text: str = field(repr=False)
    token: PersonalToken


@dataclass(frozen=True, slots=True)
class PersonalTokenRequest:
    """A request for a token.

    Attributes:
        name: The owner's name for it.
        scopes: Scopes and names of bundles.
        days: Its last day, in days from today (UTC); None for the default.
        certificate: `x5t#S256` of the client certificate beside which alone it works, or "".
        within: The scopes of the credential that requests it, which it must not exceed; None for no limit.
    """

    name: str
    scopes: tuple[str, ...] = (ALL,)
    days: int | None = None
    certificate: str = ""
    within: tuple[Scope, ...] | None = None

    def check(self) -> None:
        """Raise unless name and scopes are valid.

        Raises:
            InvalidValue: One of them is not valid.
            NotPermitted: The scopes exceed the limit.
        """
        name = self.name
        if not 0 < len(name) <= TOKEN_NAME_LENGTH or not name.isprintable() or name != name.strip():
            raise InvalidValue(f"name: 1 to {TOKEN_NAME_LENGTH} printable characters, no blank at either end")
        if self.certificate:
            require_thumbprint(self.certificate)
        require_within(self.scopes, self.within)


def is_thumbprint(text: str) -> bool:
    """Return whether a text can be an `x5t#S256` (RFC 8705 section 3.1): 32 bytes in base64url without padding."""
    return _THUMBPRINT.match(text) is not None


def require_thumbprint(text: str) -> None:
    """Raise unless a text can be an `x5t#S256`.

    Raises:
        InvalidValue: It cannot.
    """
    if not is_thumbprint(text):
        raise InvalidValue(
            "certificate: not an x5t#S256 (RFC 8705): write the SHA-256 of the certificate in base64url, 43 characters"
        )


def require_within(texts: tuple[str, ...], within: tuple[Scope, ...] | None) -> None:
    """Raise unless the scopes are covered by others.

    Raises:
        InvalidValue: A scope cannot be read.
        NotPermitted: The scopes are wider.
    """
    try:
        scopes = parse_scopes(texts)
    except ValueError as error:
        raise InvalidValue(str(error)) from None
    if within is not None and not is_subset(scopes, within):
        raise NotPermitted("scopes: wider than those of the credential that requests the token")


def granted_days(rules: PersonalTokenSettings, token: PersonalToken) -> int:
    """Return for how many days a token was last created or refreshed; no more than the rules allow now."""
    first = datetime.fromtimestamp(token.refreshed or token.created, UTC).date()
    # It expires at the midnight after its last day.
    last = datetime.fromtimestamp(token.expires - 1, UTC).date()
    return min(max(1, (last - first).days), rules.max_days)


def end_of(rules: PersonalTokenSettings, now: int, days: int | None) -> int:
    """Return the time at which a token expires: the end (UTC) of the day after that number of days.

    Args:
        rules: The default, and the maximum.
        now: Seconds since the epoch; the result has the same unit.
        days: None for the default.

    Raises:
        InvalidValue: The day is past or too far ahead.
    """
    most = rules.max_days
    days = min(rules.default_days, most) if days is None else days
    if not 0 < days <= most:
        raise InvalidValue(f"the last day must be 1 to {most} days ahead")
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0)
    return int((today + timedelta(days=days + 1)).timestamp())
