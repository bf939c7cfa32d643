"""Strategy in_process: Airflow's own auth manager mints the token, so that we need no key."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from compat_auth.airflow.managers.base import AuthManager
from compat_auth.concurrency.clock import unix_now
from compat_auth.credentials import Basic, Credential
from compat_auth.errors import NotAuthenticated, NotPermitted
from compat_auth.identity import Identity, Token
from compat_auth.tokens.cache import TokenCache
from compat_auth.tokens.strategies import Kind, require_unbound


@dataclass(frozen=True, slots=True)
class InProcess:
    """Gets tokens from the active auth manager, and caches them until shortly before they expire.

    Attributes:
        manager: Mints the tokens.
        cache: Caches the tokens.
        ttl_s: Lifetime in seconds, unless the credential expires sooner.
        now: Clock, in seconds since the epoch.
        ttls_s: Lifetimes of the tokens that callers get, by kind, in seconds; also limited by the credential.
        digest_key: Keys the digests of passwords, by which the tokens of logins are cached.
    """

    manager: AuthManager
    cache: TokenCache
    ttl_s: int
    now: Callable[[], int] = unix_now
    ttls_s: Mapping[Kind, int] = field(default_factory=dict[Kind, int])
    digest_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def obtain(self, identity: Identity, credential: Credential, *, fresh: bool) -> Token:
        """Return one of Airflow's own tokens; see `Strategy.obtain`."""
        if not self.manager.knows_names:
            return self._log_in(identity, credential, self.ttl_s, fresh=fresh)
        return self.cache.obtain(identity, lambda: self._make(identity, self.ttl_s), fresh=fresh)

    def issue(self, identity: Identity, credential: Credential, kind: Kind) -> Token:
        """Return one of Airflow's own tokens for this caller only; see `Strategy.issue`."""
        require_unbound(identity)
        lifetime_s = self.ttls_s.get(kind, self.ttl_s)
        if not self.manager.knows_names:
            if kind == "session":
                raise NotPermitted(f"{self.manager.kind} has a login page of its own; log in there")
            return self._log_in(identity, credential, lifetime_s, fresh=True, kept=False)
        return self._make(identity, lifetime_s, for_cookie=kind == "session")

    def copy(self, subject: str, jti: str, expires_at: int) -> None:
        """Return None: Airflow chooses the `jti` of its tokens itself, and revokes them by it."""

    def _log_in(
        self, identity: Identity, credential: Credential, lifetime_s: int, *, fresh: bool, kept: bool = True
    ) -> Token:
        """Return a token from a login at the manager with the caller's own password, which the manager has checked."""
        if not isinstance(credential, Basic) or identity.directory != self.manager.name or identity.scopes is not None:
            # Says why.
            return self._make(identity, lifetime_s)

        def log_in() -> Token:
            token = self.manager.log_in(credential.username, credential.password, lifetime_s)
            if token is None:
                raise NotAuthenticated(f"{identity.username!r}: {self.manager.kind} refuses the password")
            return token

        if not kept:
            return log_in()
        digest = hmac.digest(self.digest_key, credential_key_of(credential), hashlib.sha256)
        return self.cache.obtain((identity, digest), log_in, fresh=fresh)

    def _make(self, identity: Identity, ttl_s: int, *, for_cookie: bool = False) -> Token:
        # A token never outlives the credential that it was issued for.
        left_s = ttl_s if identity.expires_at is None else min(ttl_s, identity.expires_at - self.now())
        if left_s <= 0:
            raise NotAuthenticated("the credential has expired")
        return self.manager.token(identity, left_s, for_cookie=for_cookie)


def credential_key_of(credential: Basic) -> bytes:
    """Return bytes that only this pair has: the length of the name comes first."""
    name = credential.username.encode("utf-8", "surrogatepass")
    return len(name).to_bytes(8, "big") + name + credential.password.encode("utf-8", "surrogatepass")
