"""Strategy in_process: Airflow's own auth manager mints the token, so that we need no key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from compat_auth.airflow.auth_managers import AuthManager
from compat_auth.concurrency.clock import unix_now
from compat_auth.credentials import Credential
from compat_auth.errors import NotAuthenticated
from compat_auth.identity import Identity, Token
from compat_auth.tokens.cache import TokenCache
from compat_auth.tokens.strategies import Kind


@dataclass(frozen=True, slots=True)
class InProcess:
    """Gets tokens from the active auth manager, and caches them until shortly before they expire.

    Attributes:
        manager: Mints the tokens.
        cache: Caches the tokens.
        ttl_s: Lifetime in seconds, unless the credential expires sooner.
        now: Clock, in seconds since the epoch.
        ttls_s: Lifetimes of the tokens that callers get, by kind, in seconds; also limited by the credential.
    """

    manager: AuthManager
    cache: TokenCache
    ttl_s: int
    now: Callable[[], int] = unix_now
    ttls_s: Mapping[Kind, int] = field(default_factory=dict[Kind, int])

    def obtain(self, identity: Identity, credential: Credential, *, fresh: bool) -> Token:
        """Return one of Airflow's own tokens; see `Strategy.obtain`."""
        del credential
        return self.cache.obtain(identity, lambda: self._make(identity, self.ttl_s), fresh=fresh)

    def issue(self, identity: Identity, credential: Credential, kind: Kind) -> Token:
        """Return one of Airflow's own tokens for this caller only; see `Strategy.issue`."""
        del credential
        return self._make(identity, self.ttls_s.get(kind, self.ttl_s), for_cookie=kind == "session")

    def copy(self, subject: str, jti: str, expires_at: int) -> None:
        """Return None: Airflow chooses the `jti` of its tokens itself, and revokes them by it."""

    def _make(self, identity: Identity, ttl_s: int, *, for_cookie: bool = False) -> Token:
        # A token never outlives the credential that it was issued for.
        left_s = ttl_s if identity.expires_at is None else min(ttl_s, identity.expires_at - self.now())
        if left_s <= 0:
            raise NotAuthenticated("the credential has expired")
        return self.manager.token(identity, left_s, for_cookie=for_cookie)
