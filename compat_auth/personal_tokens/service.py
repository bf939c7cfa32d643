"""The service for personal tokens: create, list, refresh and revoke; verification, usage and notices belong to it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import replace
from typing import cast

from flask import Flask

from compat_auth.authn.revocation_events import RevocationEvent, RevocationEvents, revocation_events_of
from compat_auth.authn.shared import one_per_app
from compat_auth.authn.upstream_tokens import upstream_tokens_of
from compat_auth.config import Settings
from compat_auth.config.personal_tokens import PersonalTokenSettings
from compat_auth.crypto.personal_token_format import make_text
from compat_auth.errors import InvalidValue, NoSuchToken, NotPermitted
from compat_auth.personal_tokens.expiry_notices import TokenNotices
from compat_auth.personal_tokens.owners import TokenOwners
from compat_auth.personal_tokens.peppers import Peppers, load_peppers
from compat_auth.personal_tokens.request import NewToken, PersonalTokenRequest, end_of, granted_days, require_within
from compat_auth.personal_tokens.usage import TokenUsage
from compat_auth.personal_tokens.verification import TokenVerification
from compat_auth.personal_tokens.webhook import Webhook
from compat_auth.scopes import Scope
from compat_auth.store.migration import open_store
from compat_auth.store.tables.personal_tokens import CREDENTIAL_KIND, PersonalToken, PersonalTokenRows
from compat_auth.store.tables.token_uses import TokenUsageRows

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
        webhook: Receives events about tokens, or None.
        workers: Processes that share the limits on wrong tokens.
        now: Seconds since the epoch.

    Attributes:
        rows: The store.
        owners: Owners of tokens.
        rules: `[personal_tokens]`.
        verification: Verifies the text of a token.
        usage: Usage in this process, and what is stored.
        notices: Expiry notices.
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
        self.verification = TokenVerification(
            rows,
            peppers,
            owners,
            rules=rules,
            revoke_all=functools.partial(self.revoke_all, reason="its owner was deleted"),
            workers=workers,
            now=now,
        )
        self.usage = TokenUsage(TokenUsageRows(rows.database), now=now)
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
            ConfigError: A pepper, a directory or the URL of the database is unusable.
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
        # Without an upstream, as in a plain Flask app, no JWT is needed.
        made.is_useless = settings.token.strategy == "exchange" and bool(settings.upstream.url)
        return made

    def open(self) -> None:
        """Send notices in this process from now on, not only after the first use of a token."""
        self.notices.ensure()

    def close(self) -> None:
        """Store the usage that is still in memory."""
        self.usage.flush()

    def create(self, owner: str, request: PersonalTokenRequest, *, by: str, is_role: bool = False) -> NewToken:
        """Return a new token for an active user.

        Args:
            owner: User name, as the directory spells it.
            request: The token to create.
            by: The user who requests it, for the record.
            is_role: The owner is a role account.

        Raises:
            NotPermitted: Tokens are disabled, or the request exceeds its limit.
            InvalidValue: Name, scopes or days are not valid, or the user has too many tokens.
            NameTaken: An active token of the user has that name.
            NoSuchUser: The owner is unknown or disabled.
        """
        self._require_enabled()
        now = int(self.now())
        request.check()
        identity = self.owners.find(owner, is_role=is_role)
        text = make_text()
        token = PersonalToken(
            text.id,
            identity.username,
            identity.directory,
            identity.upstream_id,
            request.name,
            request.scopes,
            now,
            by,
            end_of(self.rules, now, request.days),
            self._peppers.digest(self._peppers.newest, text.value),
            self._peppers.newest,
            is_role=is_role,
            certificate=request.certificate,
        )
        self.rows.add(token, limit=self.rules.per_user_limit)
        return NewToken(text.value, token)

    def list(self, username: str | None = None) -> tuple[PersonalToken, ...]:
        """Return the tokens of a user, or of all users, that are not revoked; expired ones, too."""
        return tuple(token for token in self.rows.list(username) if token.revoked is None)

    def get(self, token_id: str) -> PersonalToken:
        """Return a token that is not revoked.

        Raises:
            NoSuchToken: There is none with that id.
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
        """Return the token with a new secret and a new expiry; everything else stays.

        Args:
            token: The token as stored.
            days: Its last day, in days from today (UTC); None for as many days as before.
            overlap_s: Seconds for which the old secret still works; 0: none.
            within: See `PersonalTokenRequest`.

        Raises:
            NotPermitted: Tokens are disabled, or this one exceeds `within`.
            InvalidValue: Days or overlap are not valid.
            NoSuchToken: The token was revoked or refreshed in the meantime.
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
            expires=end_of(self.rules, now, granted_days(self.rules, token) if days is None else days),
            refreshed=now,
            owner_missing=None,
        )
        self.rows.refresh(token, after)
        self._announce(token)
        if not overlap_s:
            self._revoke_upstream(credential_id_of(token))
        return NewToken(text.value, after)

    def revoke(self, token: PersonalToken, *, reason: str = "revoked") -> None:
        """Revoke a token: in this process at once, in every other within a second.

        Raises:
            NoSuchToken: It is revoked already.
        """
        if not self.rows.revoke(token.id, now=int(self.now()), reason=reason):
            raise NoSuchToken("no such token")
        self._announce(token)
        self._revoke_upstream(credential_id_of(token))

    def revoke_all(self, username: str, *, reason: str = "revoked") -> int:
        """Revoke all tokens of a user, and return how many were active."""
        tokens = self.list(username)
        revoked = self.rows.revoke_all(username, now=int(self.now()), reason=reason)
        self._revocations.announce(RevocationEvent(username))
        for token in tokens:
            self._revoke_upstream(credential_id_of(token))
        return revoked

    def _require_enabled(self) -> None:
        if not self.rules.enabled:
            raise NotPermitted("personal tokens are disabled here")
        if self.is_useless:
            raise NotPermitted(
                "token.strategy exchange needs a password, so every request with a personal token would get 403; "
                "set token.strategy to shared_secret or key_pair"
            )

    def _announce(self, token: PersonalToken) -> None:
        self._revocations.announce(RevocationEvent(credential_id=credential_id_of(token)))


def no_upstream(_credential_id: str) -> None:
    """Revoke nothing: `revoke_upstream` where no upstream takes what is made from personal tokens."""


def credential_id_of(token: PersonalToken) -> str:
    """Return the `Identity.credential_id` of a personal token."""
    return CREDENTIAL_KIND + token.id


def personal_tokens_of(app: Flask, settings: Settings | None = None) -> PersonalTokens | None:
    """Return the personal tokens of a Flask app: one object, so that a revocation on one page is known to all of it.

    Args:
        app: The app.
        settings: Used where the app has no personal tokens yet; None creates none.

    Raises:
        ConfigError: See `PersonalTokens.from_settings`.
    """
    if settings is None:
        return cast("PersonalTokens | None", app.extensions.get(_EXTENSION))

    def make() -> PersonalTokens:
        upstream = upstream_tokens_of(app)

        def revoke(credential_id: str) -> None:
            if upstream is not None:
                upstream.revoke_session(tokens=(), credential_id=credential_id)

        return PersonalTokens.from_settings(settings, revocation_events_of(app, settings), revoke_upstream=revoke)

    return one_per_app(app, _EXTENSION, make)
