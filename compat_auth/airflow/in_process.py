"""Strategy in_process: Airflow's own auth manager makes the token, so no key leaves Airflow and none is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compat_auth.airflow.auth_managers import AuthManager
from compat_auth.credentials import Credential
from compat_auth.errors import NotAuthenticated
from compat_auth.identity import Identity, Token
from compat_auth.keys import unix_now
from compat_auth.token_cache import TokenCache


@dataclass(frozen=True, slots=True)
class InProcess:
    """Asks the active auth manager for tokens, and keeps them until shortly before they end.

    Attributes:
        manager: Makes them.
        cache: Keeps them.
        ttl_s: Lifetime in seconds, unless the credential ends sooner.
        now: Clock, in seconds since the epoch.
    """

    manager: AuthManager
    cache: TokenCache
    ttl_s: int
    now: Callable[[], int] = unix_now

    def obtain(self, identity: Identity, credential: Credential, *, fresh: bool) -> Token:
        """Return a token of Airflow's own; see `Strategy.obtain`."""
        del credential

        def mint() -> Token:
            # A token never outlives the credential that it was made for.
            left_s = self.ttl_s if identity.expires_at is None else min(self.ttl_s, identity.expires_at - self.now())
            if left_s <= 0:
                raise NotAuthenticated("the credential has expired")
            return self.manager.token(identity, left_s)

        return self.cache.obtain(identity, mint, fresh=fresh)
