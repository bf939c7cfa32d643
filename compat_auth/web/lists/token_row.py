"""A personal token as a row of a list."""

from __future__ import annotations

from dataclasses import dataclass

from compat_auth.personal_tokens.expiry_notices import notice_stage
from compat_auth.store.tables.personal_tokens import PersonalToken
from compat_auth.web.lists.clients import client_name, network_range

_DAY_S = 86400


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A row of the list of tokens.

    Attributes:
        token: The token.
        state: "ok", "soon" (expires soon) or "expired".
        days_left: Whole days until it expires; 0 on its last day.
        version: Changes with each refresh.
        network: Network of the last use, with its family, or "".
        client: Name of the client of the last use, or "".
    """

    token: PersonalToken
    state: str
    days_left: int
    version: int
    network: str
    client: str


def row_of(token: PersonalToken, now: float) -> TokenRow:
    """Return the row of a token at a time, in seconds since the epoch."""
    ending = "ok" if notice_stage(token, now) is None else "soon"
    state = "expired" if now >= token.expires else ending
    return TokenRow(
        token,
        state,
        max(0, int(token.expires - now) // _DAY_S),
        version_of(token),
        network_range(token.last_address),
        client_name(token.last_agent),
    )


def version_of(token: PersonalToken) -> int:
    """Return a number that changes with each refresh."""
    return token.refreshed or token.created
