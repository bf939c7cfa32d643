"""The upstream's token for an identity that the chain has accepted."""

from __future__ import annotations

from dataclasses import dataclass

from compat_auth.authn.users.lookup import UserLookup
from compat_auth.credentials import Credential
from compat_auth.facts import answers_without_flask
from compat_auth.identity import Identity, Token
from compat_auth.tokens.strategies import Exchange, Strategy


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """Completes an identity and gets its token from the strategy. Any thread may use it.

    Attributes:
        lookup: Completes identities for the strategy.
        strategy: Makes the tokens.
    """

    lookup: UserLookup
    strategy: Strategy

    def answers_without_flask(self) -> bool:
        """Return whether neither the strategy nor a directory reads Flask's request."""
        return answers_without_flask(self.lookup) and answers_without_flask(self.strategy)

    def obtain(
        self, identity: Identity, credential: Credential, yielded: Token | None = None, *, fresh: bool = False
    ) -> Token:
        """Return the token with which a request of this identity goes to the upstream.

        Args:
            identity: As vouched for by the chain.
            credential: What the caller presented for it.
            yielded: The token that the check of the credential returned, if any; strategy `exchange` uses it.
            fresh: The upstream has refused the earlier token; a cached one must not be used.

        Raises:
            CompatAuthError: See `UserLookup.complete` and `Strategy.obtain`.
        """
        if yielded is not None and not fresh and isinstance(self.strategy, Exchange):
            return yielded
        return self.strategy.obtain(self.lookup.complete(identity), credential, fresh=fresh)
