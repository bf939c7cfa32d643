"""Telling an upstream over HTTP that tokens are revoked: Airflow keeps a list of its own."""

from __future__ import annotations

from dataclasses import dataclass

from compat_auth.store.tables.denylist import IssuedToken
from compat_auth.tokens.strategies import Strategy
from compat_auth.tokens.upstream_login import UpstreamLogin


@dataclass(frozen=True, slots=True)
class UpstreamLogout:
    """Any thread may call.

    Attributes:
        login: Where the upstream is.
        strategy: Made the tokens.
    """

    login: UpstreamLogin
    strategy: Strategy

    def log_out(self, token: str) -> None:
        """Have a token revoked; see `given_tokens.Logout`."""
        self.login.log_out(token)

    def log_out_given(self, given: IssuedToken) -> None:
        """Have a token revoked that we have given and not kept; see `given_tokens.Logout`."""
        copy = self.strategy.copy(given.subject, given.jti, given.expires)
        if copy is not None:
            self.login.log_out(copy)
