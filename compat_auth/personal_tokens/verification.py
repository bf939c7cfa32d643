"""Verification of a personal token: from its text to its owner.

A token works until it is revoked or expires, and only while its owner is active and is the one who created it. A later
user with the same name is another person: the upstream's id shows it, or that the name was unknown for an hour.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import replace

from compat_auth.concurrency.rate_limit import share_of
from compat_auth.config.personal_tokens import PersonalTokenSettings
from compat_auth.crypto.personal_token_format import TokenText, parse_text
from compat_auth.errors import ConfigError, NoSuchUser, NotAuthenticated
from compat_auth.identity import Identity
from compat_auth.personal_tokens.owners import TokenOwners, UnknownOwner
from compat_auth.personal_tokens.peppers import Peppers
from compat_auth.personal_tokens.throttling import TokenThrottle
from compat_auth.scopes import parse_scopes
from compat_auth.store.tables.personal_tokens import CREDENTIAL_KIND, PersonalToken, PersonalTokenRows

# A user who is unknown for longer was deleted; a directory that is misconfigured for a while revokes no token.
MISSING_GRACE_S = 3600
_NO_DIGEST = bytes(32)


class TokenVerification:
    """Verifies tokens. Any thread may use it; every method may raise BackendUnavailable.

    Args:
        rows: The store.
        peppers: Keys of the HMACs.
        owners: Owners of tokens.
        rules: `[personal_tokens]`.
        revoke_all: Revokes all tokens of a deleted user.
        workers: Processes that share the limits on wrong tokens.
        now: Seconds since the epoch.
    """

    def __init__(
        self,
        rows: PersonalTokenRows,
        peppers: Peppers,
        owners: TokenOwners,
        *,
        rules: PersonalTokenSettings,
        revoke_all: Callable[[str], object],
        workers: int = 1,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._rows = rows
        self._peppers = peppers
        self._owners = owners
        self._rules = rules
        self._revoke_all = revoke_all
        self._now = now
        self._throttle = TokenThrottle(share_of(rules.failures_per_minute, workers))

    def find(self, text: str) -> PersonalToken:
        """Return the stored token for a text, active or not, of any owner.

        Raises:
            NotAuthenticated: There is none; the message says why, for logs only.
        """
        return self._find(_parsed(text))

    def _find(self, parsed: TokenText) -> PersonalToken:
        token = self._rows.find(parsed.id)
        if not self._is_text_of(token, parsed):
            raise NotAuthenticated(f"{parsed.id}: no such token, or a wrong secret")
        assert token is not None  # noqa: S101  # for the type checkers: no text matches without a token
        return token

    def verify(self, text: str, *, client: str = "") -> tuple[PersonalToken, Identity]:
        """Return the token for a text, and its owner as an identity with the token's limits.

        Args:
            text: As presented.
            client: Address of the client.

        Raises:
            NotAuthenticated: The token does not work; the message says why, for logs only.
            TooManyRequests: The client has sent too many wrong tokens; this one was not checked.
        """
        if not self._rules.enabled:
            raise NotAuthenticated("personal tokens are disabled")
        parsed = _parsed(text)
        with self._throttle.check(parsed, client) as result:
            try:
                token = self._find(parsed)
            except NotAuthenticated:
                result.is_guess = True
                raise
            try:
                identity = self._identity(token)
            except NotAuthenticated:
                result.is_inactive = True
                raise
        self._throttle.remember(parsed)
        return token, identity

    def _identity(self, token: PersonalToken) -> Identity:
        now = int(self._now())
        if token.revoked is not None:
            raise NotAuthenticated(f"{token.id}: {token.reason}")
        if now >= token.expires:
            raise NotAuthenticated(f"{token.id}: expired")
        try:
            scopes = parse_scopes(token.scopes)
        except ValueError:
            raise NotAuthenticated(f"{token.id}: its scopes cannot be read") from None
        owner = self.owner_of(token, now)
        return replace(
            owner,
            scopes=scopes,
            expires_at=token.expires,
            credential_id=CREDENTIAL_KIND + token.id,
            certificate=token.certificate,
        )

    def owner_of(self, token: PersonalToken, now: int) -> Identity:
        """Return the owner of a token, if active and the one who created it.

        Raises:
            NotAuthenticated: There is none; after an hour of that, all tokens of that name are revoked.
        """
        missing = token.owner_missing
        if missing is not None and now - missing >= MISSING_GRACE_S:
            self._revoke_all(token.username)
            raise NotAuthenticated(f"{token.id}: its owner was deleted")
        try:
            owner = self._owners.find(token.username, is_role=token.is_role)
        except UnknownOwner as error:
            if missing is None:
                self._rows.mark_owner(token, now)
            raise NotAuthenticated(f"{token.id}: {error}") from None
        except NoSuchUser as error:
            raise NotAuthenticated(f"{token.id}: {error}") from None
        if (owner.directory, owner.upstream_id) != (token.directory, token.upstream_id):
            raise NotAuthenticated(f"{token.id}: {token.username!r} is another user now; refresh it")
        if missing is not None:
            self._rows.mark_owner(token, None)
        return owner

    def probe(self) -> str:
        """Return how many tokens are active, and whether they may be used.

        Raises:
            ConfigError: Some of them need a pepper that is missing.
        """
        now = int(self._now())
        alive = self._rows.list(alive_at=now)
        lost = sum(token.pepper_id not in self._peppers.ids for token in alive)
        if lost:
            raise ConfigError(
                f"personal_tokens.peppers: {lost} tokens need a pepper that is not set; add the previous one, or "
                "have them refreshed"
            )
        return f"{len(alive)} active" + ("" if self._rules.enabled else "; disabled")

    def _is_text_of(self, token: PersonalToken | None, text: TokenText) -> bool:
        # Same work for an unknown id, and for either of the two secrets.
        pepper, old_pepper = (token.pepper_id, token.old_pepper_id) if token is not None else ("", "")
        expected, old = (token.digest, token.old_digest) if token is not None else (_NO_DIGEST, _NO_DIGEST)
        is_new = hmac.compare_digest(self._peppers.digest(pepper, text.value), expected)
        is_old = hmac.compare_digest(self._peppers.digest(old_pepper, text.value), old)
        if token is None:
            return False
        if is_new and token.pepper_id != self._peppers.newest and token.revoked is None:
            digest = self._peppers.digest(self._peppers.newest, text.value)
            self._rows.rekey(token, digest=digest, pepper_id=self._peppers.newest)
        return is_new or (is_old and self._now() < token.old_until)


def _parsed(text: str) -> TokenText:
    parsed = parse_text(text)
    if parsed is None:
        # The form alone refuses it, without the store, so it does not count as a guess.
        raise NotAuthenticated("wrong form or checksum")
    return parsed
