"""Personal tokens: made, listed, refreshed and revoked. What knows them by their text, and counts uses, hangs on them."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import replace

from flask import Flask

from compat_auth.authn.revocation_events import RevocationEvent, RevocationEvents, revocation_events_of
from compat_auth.authn.upstream_tokens import upstream_tokens_of
from compat_auth.config import Settings
from compat_auth.config.personal_tokens import PersonalTokenSettings
from compat_auth.crypto.personal_token_format import make_text
from compat_auth.errors import InvalidValue, NoSuchToken, NotPermitted
from compat_auth.personal_tokens.expiry_notices import TokenNotices
from compat_auth.personal_tokens.owners import TokenOwners
from compat_auth.personal_tokens.peppers import Peppers, load_peppers
from compat_auth.personal_tokens.request import NewToken, TokenWish, days_given, end_of, require_within
from compat_auth.personal_tokens.usage import TokenUsage
from compat_auth.personal_tokens.verification import TokenVerification
from compat_auth.personal_tokens.webhook import Webhook
from compat_auth.scopes import Scope
from compat_auth.store.migration import open_store
from compat_auth.store.tables.personal_tokens import CREDENTIAL_KIND, PersonalToken, PersonalTokenRows
from compat_auth.store.tables.token_uses import TokenUseRows

MAX_OVERLAP_S = 7 * 86400
_EXTENSION = "compat_auth_personal_tokens"


class PersonalTokens:
    """The tokens of all users. Any thread may use it; every method may raise BackendUnavailable.

    Args:
        rows: The store.
        peppers: Keys of the digests.
        owners: Who is active.
        revocations: Where a dead token is announced.
        revoke_upstream: Called with the `Identity.credential_id` of a token that has ended, so that the upstream, too, refuses
            what was made from it.
        rules: `[personal_tokens]`.
        webhook: Who is told of what happens to tokens, or None.
        workers: Processes that share the bounds on wrong tokens.
        now: Seconds since the epoch.

    Attributes:
        rows: The store.
        owners: Who is active.
        rules: `[personal_tokens]`.
        recognition: Knows tokens by their text.
        uses: Uses of this process, and those that are written down.
        notices: What is told in time.
        now: Seconds since the epoch.
        is_useless: No upstream would take what a token brings, so none is made.
    """

    def __init__(
        self,
        rows: PersonalTokenRows,
        peppers: Peppers,
        owners: TokenOwners,
        *,
        revocations: RevocationEvents,
        revoke_upstream: Callable[[str], None],
        rules: PersonalTokenSettings,
        webhook: Webhook | None = None,
        workers: int = 1,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.rows = rows
        self.owners = owners
        self.rules = rules
        self.recognition = TokenVerification(
            rows,
            peppers,
            owners,
            rules=rules,
            bury=functools.partial(self.revoke_all, reason="its owner was deleted"),
            workers=workers,
            now=now,
        )
        self.uses = TokenUsage(TokenUseRows(rows.database), now=now)
        self.notices = TokenNotices(rows, webhook, now=now)
        self._peppers = peppers
        self._revocations = revocations
        self._revoke_upstream = revoke_upstream
        self.now = now
        self.is_useless = False

    @classmethod
    def from_settings(
        cls, settings: Settings, revocations: RevocationEvents, *, revoke_upstream: Callable[[str], None]
    ) -> PersonalTokens:
        """Return the tokens of a configuration; the database is opened at first use.

        Args:
            settings: The configuration.
            revocations: Where a dead token is announced.
            revoke_upstream: As above.

        Raises:
            ConfigError: A pepper, a directory or the database's URL cannot work.
        """
        rows = PersonalTokenRows(open_store(settings.database_url.get_secret_value()))
        owners = TokenOwners.from_settings(settings)
        made = cls(
            rows,
            load_peppers(settings),
            owners,
            revocations=revocations,
            revoke_upstream=revoke_upstream,
            rules=settings.personal_tokens,
            webhook=Webhook.from_settings(settings),
            workers=settings.serve.workers,
        )
        # Without an upstream, as in a Flask app of somebody's, no JWT is wanted.
        made.is_useless = settings.token.strategy == "exchange" and bool(settings.upstream.url)
        return made

    def open(self) -> None:
        """Give notices in this process from now on, not only from a token's first use."""
        self.notices.ensure()

    def close(self) -> None:
        """Write down the uses that are still in memory."""
        self.uses.flush()

    def create(self, owner: str, wish: TokenWish, *, by: str, is_role: bool = False) -> NewToken:
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
        wish.check()
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
            end_of(self.rules, now, wish.days),
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
            days: Its last day, counted from today (UTC); None for as many days as it was given before.
            overlap_s: Seconds for which the old secret works on; 0: it dies at once.
            within: See `TokenWish`.

        Raises:
            NotPermitted: Tokens are switched off, or this one goes beyond what it must be within.
            InvalidValue: Days or overlap make no sense.
            NoSuchToken: It was revoked or refreshed in the meantime.
            NoSuchUser: The owner is unknown or disabled.
        """
        self._require_enabled()
        if not 0 <= overlap_s <= MAX_OVERLAP_S:
            raise InvalidValue(f"overlap: 0 to {MAX_OVERLAP_S} seconds")
        require_within(token.scopes, within)
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
            expires=end_of(self.rules, now, days_given(self.rules, token) if days is None else days),
            refreshed=now,
            owner_missing=None,
        )
        self.rows.refresh(token, after)
        self._announce(token)
        if not overlap_s:
            self._revoke_upstream(credential_id_of(token))
        return NewToken(text.value, after)

    def revoke(self, token: PersonalToken, *, reason: str = "revoked") -> None:
        """Kill a token for good: here at once, elsewhere within a second.

        Raises:
            NoSuchToken: It is dead already.
        """
        if not self.rows.revoke(token.id, now=int(self.now()), reason=reason):
            raise NoSuchToken("no such token")
        self._announce(token)
        self._revoke_upstream(credential_id_of(token))

    def revoke_all(self, username: str, *, reason: str = "revoked") -> int:
        """Kill all tokens of a user, and return how many were alive."""
        tokens = self.list(username)
        killed = self.rows.revoke_all(username, now=int(self.now()), reason=reason)
        self._revocations.announce(RevocationEvent(username))
        for token in tokens:
            self._revoke_upstream(credential_id_of(token))
        return killed

    def _require_enabled(self) -> None:
        if not self.rules.enabled:
            raise NotPermitted("personal tokens are switched off here")
        if self.is_useless:
            raise NotPermitted(
                "token.strategy exchange needs a password, so every request with a personal token would be 403; "
                "set token.strategy to shared_secret or key_pair"
            )

    def _announce(self, token: PersonalToken) -> None:
        self._revocations.announce(RevocationEvent(credential_id=credential_id_of(token)))


def no_upstream(_credential_id: str) -> None:
    """Revoke nothing: `revoke_upstream` where no upstream takes what is made from personal tokens."""


def credential_id_of(token: PersonalToken) -> str:
    """Return what a token is revoked by, and known by to what is made from it."""
    return CREDENTIAL_KIND + token.id


def personal_tokens_of(app: Flask, settings: Settings | None = None) -> PersonalTokens | None:
    """Return the personal tokens of a Flask app, so that what one page revokes is known to all of it at once.

    Args:
        app: The app.
        settings: Where the app has none yet, these make them; None makes none.

    Raises:
        ConfigError: See `PersonalTokens.from_settings`.
    """
    if settings is not None and _EXTENSION not in app.extensions:
        upstream = upstream_tokens_of(app)
        revoke_upstream = (
            no_upstream if upstream is None else lambda made_from: upstream.end(tokens=(), credential_id=made_from)
        )
        app.extensions[_EXTENSION] = PersonalTokens.from_settings(
            settings, revocation_events_of(app, settings), revoke_upstream=revoke_upstream
        )
    found: PersonalTokens | None = app.extensions.get(_EXTENSION)
    return found
