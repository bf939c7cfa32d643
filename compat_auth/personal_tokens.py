"""Personal tokens: made, listed, refreshed, revoked, and recognised.

A token works while it is not revoked and has not expired, and while its owner is active and is the one who made it. A
later user of the same name is somebody else: told by the upstream's key, or by having been unknown for an hour.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, timezone

from flask import Flask

from compat_auth.config import Settings
from compat_auth.config.personal_tokens import PersonalTokenSettings
from compat_auth.errors import ConfigError, InvalidValue, NoSuchToken, NoSuchUser, NotAuthenticated, NotPermitted
from compat_auth.identity import Identity
from compat_auth.peppers import Peppers, load_peppers
from compat_auth.revocation import Revocation, Revocations, revocations_of
from compat_auth.scope_bundles import parse_scopes
from compat_auth.scopes import ALL, Scope, is_subset
from compat_auth.store.migration import open_store
from compat_auth.store.personal_token_rows import CREDENTIAL_KIND, PersonalToken, PersonalTokenRows
from compat_auth.store.schema import TOKEN_NAME_LENGTH
from compat_auth.store.token_use_rows import TokenUseRows
from compat_auth.token_format import TokenText, make_text, parse_text
from compat_auth.token_notices import TokenNotices
from compat_auth.token_owners import TokenOwners, UnknownOwner
from compat_auth.token_uses import DAY_S, TokenUses
from compat_auth.webhook import Webhook

MAX_OVERLAP_S = 7 * 86400
# Whoever is unknown for longer was deleted; a directory that is misconfigured for a while kills no tokens.
MISSING_GRACE_S = 3600
_EPOCH = date(1970, 1, 1).toordinal()
_NO_DIGEST = bytes(32)
_EXTENSION = "compat_auth_personal_tokens"


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
class Wish:
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


class PersonalTokens:
    """The tokens of all users. Any thread may use it; every method may raise BackendUnavailable.

    Args:
        rows: The store.
        peppers: Keys of the digests.
        owners: Who is active.
        revocations: Where a dead token is announced.
        rules: `[personal_tokens]`.
        webhook: Who is told of what happens to tokens, or None.
        now: Seconds since the epoch.

    Attributes:
        rows: The store.
        owners: Who is active.
        rules: `[personal_tokens]`.
        uses: Uses of this process, and those that are written down.
        notices: What is told in time.
        now: Seconds since the epoch.
    """

    def __init__(
        self,
        rows: PersonalTokenRows,
        peppers: Peppers,
        owners: TokenOwners,
        *,
        revocations: Revocations,
        rules: PersonalTokenSettings,
        webhook: Webhook | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.rows = rows
        self.owners = owners
        self.rules = rules
        self.uses = TokenUses(TokenUseRows(rows.database), now=now)
        self.notices = TokenNotices(rows, webhook, now=now)
        self._peppers = peppers
        self._revocations = revocations
        self.now = now

    @classmethod
    def from_settings(cls, settings: Settings, revocations: Revocations) -> PersonalTokens:
        """Return the tokens of a configuration; the database is opened at first use.

        Raises:
            ConfigError: A pepper, a directory or the database's URL cannot work.
        """
        rows = PersonalTokenRows(open_store(settings.database_url.get_secret_value()))
        owners = TokenOwners.from_settings(settings)
        return cls(
            rows,
            load_peppers(settings),
            owners,
            revocations=revocations,
            rules=settings.personal_tokens,
            webhook=Webhook.from_settings(settings),
        )

    def open(self) -> None:
        """Give notices in this process from now on, not only from a token's first use."""
        self.notices.ensure()

    def close(self) -> None:
        """Write down the uses that are still in memory."""
        self.uses.flush()

    def create(self, owner: str, wish: Wish, *, by: str, is_role: bool = False) -> NewToken:
        """Return a new token of an active user.

        Args:
            owner: User name, as the directory spells it.
            wish: What it is to be.
            by: Who asks, for the record.
            is_role: The owner is a role account.

        Raises:
            NotPermitted: Tokens are switched off, or the wish goes beyond what it must be within.
            InvalidValue: Name, scopes or days make no sense, or the user has too many tokens.
            NameTaken: The user has a token of that name that is alive.
            NoSuchUser: The owner is unknown or disabled.
        """
        self._require_enabled()
        now = int(self.now())
        self._check(wish)
        identity = self.owners.find(owner, is_role=is_role)
        text = make_text()
        token = PersonalToken(
            text.id,
            identity.username,
            identity.directory,
            identity.upstream_id,
            wish.name,
            wish.scopes,
            now,
            by,
            self._end(now, wish.days),
            self._peppers.digest(self._peppers.newest, text.value),
            self._peppers.newest,
            is_role=is_role,
        )
        self.rows.add(token, limit=self.rules.per_user_limit)
        return NewToken(text.value, token)

    def list(self, username: str | None = None) -> tuple[PersonalToken, ...]:
        """Return the tokens of a user, or everybody's, that are not revoked; expired ones, too."""
        return tuple(token for token in self.rows.list(username) if token.revoked is None)

    def get(self, token_id: str) -> PersonalToken:
        """Return a token that is not revoked.

        Raises:
            NoSuchToken: There is none of that id.
        """
        found = self.rows.find(token_id)
        if found is None or found.revoked is not None:
            raise NoSuchToken("no such token")
        return found

    def refresh(
        self,
        token: PersonalToken,
        *,
        days: int | None = None,
        overlap_s: int = 0,
        within: tuple[Scope, ...] | None = None,
    ) -> NewToken:
        """Return the token with a new secret and a new end; everything else stays.

        Args:
            token: As it is now.
            days: Its last day, counted from today (UTC); None for the default.
            overlap_s: Seconds for which the old secret works on; 0: it dies at once.
            within: See `Wish`.

        Raises:
            NotPermitted: Tokens are switched off, or this one goes beyond what it must be within.
            InvalidValue: Days or overlap make no sense.
            NoSuchToken: It was revoked or refreshed in the meantime.
            NoSuchUser: The owner is unknown or disabled.
        """
        self._require_enabled()
        if not 0 <= overlap_s <= MAX_OVERLAP_S:
            raise InvalidValue(f"overlap: 0 to {MAX_OVERLAP_S} seconds")
        self._require_within(token.scopes, within)
        now = int(self.now())
        identity = self.owners.find(token.username, is_role=token.is_role)
        text = make_text(token.id)
        after = replace(
            token,
            directory=identity.directory,
            upstream_id=identity.upstream_id,
            digest=self._peppers.digest(self._peppers.newest, text.value),
            pepper_id=self._peppers.newest,
            old_digest=token.digest if overlap_s else b"",
            old_pepper_id=token.pepper_id if overlap_s else "",
            old_until=min(now + overlap_s, token.expires) if overlap_s else 0,
            expires=self._end(now, days),
            refreshed=now,
            owner_missing=None,
        )
        self.rows.refresh(token, after)
        self._announce(token)
        return NewToken(text.value, after)

    def revoke(self, token: PersonalToken, *, reason: str = "revoked") -> None:
        """Kill a token for good: here at once, elsewhere within a second.

        Raises:
            NoSuchToken: It is dead already.
        """
        if not self.rows.revoke(token.id, now=int(self.now()), reason=reason):
            raise NoSuchToken("no such token")
        self._announce(token)

    def revoke_all(self, username: str, *, reason: str = "revoked") -> int:
        """Kill all tokens of a user, and return how many were alive."""
        killed = self.rows.revoke_all(username, now=int(self.now()), reason=reason)
        self._revocations.announce(Revocation(username))
        return killed

    def uses_by_day(self, token: PersonalToken) -> dict[str, int]:
        """Return how often a token was used on each of the last 30 days (UTC) on which it was, oldest first."""
        today = int(self.now()) // DAY_S
        found = self.uses.rows.of(token.id, since_day=today - 29)
        return {date.fromordinal(_EPOCH + day).isoformat(): uses for day, uses in found.items()}

    def probe(self) -> str:
        """Return how many tokens are alive, and whether they may be used.

        Raises:
            ConfigError: Some of them need a pepper that is not set.
        """
        now = int(self.now())
        alive = self.rows.list(alive_at=now)
        lost = sum(token.pepper_id not in self._peppers.ids for token in alive)
        if lost:
            raise ConfigError(
                f"personal_tokens.peppers: {lost} tokens need a pepper that is not set; add the one from before, or "
                "have them refreshed"
            )
        return f"{len(alive)} alive" + ("" if self.rules.enabled else "; switched off")

    def find(self, text: str) -> PersonalToken:
        """Return the stored token that a text is, dead or alive, whoever its owner is.

        Raises:
            NotAuthenticated: It is none; the message says why, for logs only.
        """
        parsed = parse_text(text)
        if parsed is None:
            raise NotAuthenticated("form or checksum are wrong")
        token = self.rows.find(parsed.id)
        if not self._is_text_of(token, parsed):
            raise NotAuthenticated(f"{parsed.id}: no such token, or not its secret")
        assert token is not None  # noqa: S101  # for the type checkers: nothing is the text of none
        return token

    def vouch(self, text: str) -> tuple[PersonalToken, Identity]:
        """Return the token that a text is, with its owner as an identity that is limited as the token is.

        Raises:
            NotAuthenticated: It does not work; the message says why, for logs only.
        """
        if not self.rules.enabled:
            raise NotAuthenticated("personal tokens are switched off")
        token = self.find(text)
        now = int(self.now())
        if token.revoked is not None:
            raise NotAuthenticated(f"{token.id}: {token.reason}")
        if now >= token.expires:
            raise NotAuthenticated(f"{token.id}: expired")
        try:
            scopes = parse_scopes(token.scopes)
        except ValueError:
            raise NotAuthenticated(f"{token.id}: its scopes cannot be read") from None
        owner = self.owner_of(token, now)
        return token, replace(owner, scopes=scopes, expires_at=token.expires, credential_id=CREDENTIAL_KIND + token.id)

    def owner_of(self, token: PersonalToken, now: int) -> Identity:
        """Return the owner of a token, who is active and is the one who made it.

        Raises:
            NotAuthenticated: There is none; where that has been so for an hour, all tokens of that name are dead now.
        """
        missing = token.owner_missing
        if missing is not None and now - missing >= MISSING_GRACE_S:
            self.revoke_all(token.username, reason="its owner was deleted")
            raise NotAuthenticated(f"{token.id}: its owner was deleted")
        try:
            owner = self.owners.find(token.username, is_role=token.is_role)
        except UnknownOwner as error:
            if missing is None:
                self.rows.mark_owner(token, now)
            raise NotAuthenticated(f"{token.id}: {error}") from None
        except NoSuchUser as error:
            raise NotAuthenticated(f"{token.id}: {error}") from None
        if (owner.directory, owner.upstream_id) != (token.directory, token.upstream_id):
            raise NotAuthenticated(f"{token.id}: {token.username!r} is no longer who made it; refresh it")
        if missing is not None:
            self.rows.mark_owner(token, None)
        return owner

    def _is_text_of(self, token: PersonalToken | None, text: TokenText) -> bool:
        # As much work for an id that nobody has, and whichever of the two secrets it is.
        pepper, old_pepper = (token.pepper_id, token.old_pepper_id) if token is not None else ("", "")
        expected, old = (token.digest, token.old_digest) if token is not None else (_NO_DIGEST, _NO_DIGEST)
        is_new = hmac.compare_digest(self._peppers.digest(pepper, text.value), expected)
        is_old = hmac.compare_digest(self._peppers.digest(old_pepper, text.value), old)
        if token is None:
            return False
        if is_new and token.pepper_id != self._peppers.newest and token.revoked is None:
            digest = self._peppers.digest(self._peppers.newest, text.value)
            self.rows.rekey(token, digest=digest, pepper_id=self._peppers.newest)
        return is_new or (is_old and self.now() < token.old_until)

    def _check(self, wish: Wish) -> None:
        name = wish.name
        if not 0 < len(name) <= TOKEN_NAME_LENGTH or not name.isprintable() or name != name.strip():
            raise InvalidValue(f"name: 1 to {TOKEN_NAME_LENGTH} printable characters, none blank at either end")
        self._require_within(wish.scopes, wish.within)

    def _require_within(self, texts: tuple[str, ...], within: tuple[Scope, ...] | None) -> None:
        try:
            scopes = parse_scopes(texts)
        except ValueError as error:
            raise InvalidValue(str(error)) from None
        if within is not None and not is_subset(scopes, within):
            raise NotPermitted("scopes: wider than those of the credential that asks")

    def _end(self, now: int, days: int | None) -> int:
        """Return when a day ends that is so many days ahead: that day counts, in UTC."""
        most = self.rules.max_days
        days = min(self.rules.default_days, most) if days is None else days
        if not 0 < days <= most:
            raise InvalidValue(f"the last day must be 1 to {most} days ahead")
        today = datetime.fromtimestamp(now, timezone.utc).replace(hour=0, minute=0, second=0)
        return int((today + timedelta(days=days + 1)).timestamp())

    def _require_enabled(self) -> None:
        if not self.rules.enabled:
            raise NotPermitted("personal tokens are switched off here")

    def _announce(self, token: PersonalToken) -> None:
        self._revocations.announce(Revocation(credential_id=CREDENTIAL_KIND + token.id))


def personal_tokens_of(app: Flask, settings: Settings | None = None) -> PersonalTokens | None:
    """Return the personal tokens of a Flask app, so that what one page revokes is known to all of it at once.

    Args:
        app: The app.
        settings: Where the app has none yet, these make them; None makes none.

    Raises:
        ConfigError: See `PersonalTokens.from_settings`.
    """
    if settings is not None and _EXTENSION not in app.extensions:
        app.extensions[_EXTENSION] = PersonalTokens.from_settings(settings, revocations_of(app, settings))
    found: PersonalTokens | None = app.extensions.get(_EXTENSION)
    return found
