"""What a personal token is to be: its name, its scopes and its last day, and what of these makes no sense."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from compat_auth.config.personal_tokens import PersonalTokenSettings
from compat_auth.errors import InvalidValue, NotPermitted
from compat_auth.scopes import ALL, Scope, is_subset, parse_scopes
from compat_auth.store.schema import TOKEN_NAME_LENGTH
from compat_auth.store.tables.personal_tokens import PersonalToken


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made, or made anew: the only moment at which its text is known.

    Attributes:
        text: The whole token.
        token: What is stored of it.
    """

    text: str = field(repr=False)
    token: PersonalToken


@dataclass(frozen=True, slots=True)
class TokenWish:
    """What a token is to be.

    Attributes:
        name: What the owner calls it.
        scopes: Scopes and names of bundles.
        days: Its last day, counted from today (UTC); None for the default.
        within: What it may not go beyond: the scopes of the credential that asks for it; None where that has no limit.
    """

    name: str
    scopes: tuple[str, ...] = (ALL,)
    days: int | None = None
    within: tuple[Scope, ...] | None = None

    def check(self) -> None:
        """Return where name and scopes make sense.

        Raises:
            InvalidValue: They do not.
            NotPermitted: The scopes go beyond what they must be within.
        """
        name = self.name
        if not 0 < len(name) <= TOKEN_NAME_LENGTH or not name.isprintable() or name != name.strip():
            raise InvalidValue(f"name: 1 to {TOKEN_NAME_LENGTH} printable characters, none blank at either end")
        require_within(self.scopes, self.within)


def require_within(texts: tuple[str, ...], within: tuple[Scope, ...] | None) -> None:
    """Return where scopes, as they were written, are not wider than others.

    Raises:
        InvalidValue: One of them cannot be read.
        NotPermitted: They are wider.
    """
    try:
        scopes = parse_scopes(texts)
    except ValueError as error:
        raise InvalidValue(str(error)) from None
    if within is not None and not is_subset(scopes, within):
        raise NotPermitted("scopes: wider than those of the credential that asks")


def days_given(rules: PersonalTokenSettings, token: PersonalToken) -> int:
    """Return for how many days a token was given when it was made or last refreshed; no more than the rules allow now."""
    first = datetime.fromtimestamp(token.refreshed or token.created, UTC).date()
    # The end is the midnight after the last day, which counts.
    last = datetime.fromtimestamp(token.expires - 1, UTC).date()
    return min(max(1, (last - first).days), rules.max_days)


def end_of(rules: PersonalTokenSettings, now: int, days: int | None) -> int:
    """Return when a day ends that is so many days ahead: that day counts, in UTC.

    Args:
        rules: The default, and how far ahead it may be.
        now: Seconds since the epoch, as is what is returned.
        days: None for the default.

    Raises:
        InvalidValue: It is past or too far ahead.
    """
    most = rules.max_days
    days = min(rules.default_days, most) if days is None else days
    if not 0 < days <= most:
        raise InvalidValue(f"the last day must be 1 to {most} days ahead")
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0)
    return int((today + timedelta(days=days + 1)).timestamp())
