"""Models of the requests and answers of the personal tokens' endpoints: the OpenAPI document is made from them."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compat_auth.crypto.strict_json import parse_object
from compat_auth.errors import BadRequest, InvalidValue
from compat_auth.scopes import ALL
from compat_auth.store.tables.personal_tokens import PersonalToken

_DAY_S = 86400


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


_B = TypeVar("_B", bound=_Body)


class NewTokenBody(_Body):
    """A request for a new token."""

    name: str = Field(description="What to call it: 1 to 64 characters, unique among your tokens that are alive.")
    scopes: list[str] = Field(
        default=[ALL], description="What it may do: `METHOD /path`, `read`, `trigger`, `dags:ID`."
    )
    days: int | None = Field(default=None, description="Its last day, counted from today (UTC).")
    until: date | None = Field(default=None, description="Instead of days: its last day (UTC).")
    username: str | None = Field(default=None, description="A role account of one of your groups, instead of yourself.")
    certificate: str | None = Field(
        default=None,
        description="The token works beside this client certificate alone: its `x5t#S256` (RFC 8705), or `shown` for that"
        " of this request.",
    )


class RefreshBody(_Body):
    """A request for a new secret of a token."""

    days: int | None = Field(
        default=None, description="Its new last day, counted from today (UTC); without it, as many days as it had."
    )
    until: date | None = Field(default=None, description="Instead of days: its new last day (UTC).")
    overlap_s: int = Field(default=0, description="Seconds for which the old secret works on.")


class TokenView(_Body):
    """A token, as its owner sees it."""

    id: str
    username: str
    name: str
    scopes: list[str]
    created_at: str
    created_by: str
    refreshed_at: str | None
    expires_at: str
    is_expired: bool
    days_left: int = Field(description="Whole days until it ends, 0 on its last day.")
    last_used_at: str | None = Field(description="Exact to five minutes.")
    last_used_address: str
    last_used_agent: str
    role_account: bool
    certificate: str = Field(description="`x5t#S256` of the client certificate beside which alone it works, or empty.")


class CountedTokenView(TokenView):
    """A token and its use."""

    uses: dict[str, int] = Field(description="How often, by day (UTC).")


class MadeTokenView(TokenView):
    """A token that was just made or refreshed."""

    token: str = Field(description="The token itself: shown this once.")


def view(token: PersonalToken, now: float) -> TokenView:
    """Return the view of a token."""
    return TokenView(
        id=token.id,
        username=token.username,
        name=token.name,
        scopes=list(token.scopes),
        created_at=utc(token.created),
        created_by=token.created_by,
        refreshed_at=None if token.refreshed is None else utc(token.refreshed),
        expires_at=utc(token.expires),
        is_expired=now >= token.expires,
        days_left=max(0, int(token.expires - now) // _DAY_S),
        last_used_at=None if token.last_used is None else utc(token.last_used),
        last_used_address=token.last_address,
        last_used_agent=token.last_agent,
        role_account=token.is_role,
        certificate=token.certificate,
    )


def read_new(raw: bytes) -> NewTokenBody:
    """Return the token that a request's body wants; see `_read`."""
    return _read(NewTokenBody, raw)


def read_refresh(raw: bytes) -> RefreshBody:
    """Return the refresh that a request's body wants; see `_read`."""
    return _read(RefreshBody, raw or b"{}")


def days_of(body: NewTokenBody | RefreshBody, now: float) -> int | None:
    """Return the last day, counted from today; None if the body does not say.

    Raises:
        InvalidValue: It says so twice.
    """
    if body.until is None:
        return body.days
    if body.days is not None:
        raise InvalidValue("days, until: only one of them")
    return (body.until - datetime.fromtimestamp(now, UTC).date()).days


def utc(moment: int) -> str:
    """Return a time in the format of RFC 3339."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def _read(model: type[_B], raw: bytes) -> _B:
    """Return the body.

    Raises:
        BadRequest: It is no JSON object, or could be read in two ways.
        InvalidValue: A field is unknown, missing or of the wrong type; says which, not what it says.
    """
    try:
        parse_object(raw)
    except ValueError as error:
        raise BadRequest(f"body: {error}") from None
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidValue(f"{where}: {first['msg']}") from None
