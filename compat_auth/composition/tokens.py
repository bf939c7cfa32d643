"""Builds the objects that make tokens for an identity, read them, and publish the keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from compat_auth.authn.users.lookup import UserLookup
from compat_auth.concurrency.clock import unix_now
from compat_auth.config import Settings
from compat_auth.errors import ConfigError, InvalidToken
from compat_auth.identity import Identity
from compat_auth.tokens.denylist import Denylist
from compat_auth.tokens.issued import MAX_LIFETIME_S, IssuedTokens, Logout, ReadToken, UpstreamLogout
from compat_auth.tokens.issuer import TokenIssuer
from compat_auth.tokens.jose.jwk import VerifyingKey, verifying_key
from compat_auth.tokens.jose.jwt import SHARED_SECRET_KID, shared_secret_verifier, verify
from compat_auth.tokens.jose.signed_text import is_signed_by_one_of
from compat_auth.tokens.keys.jwks_merge import merge_jwks
from compat_auth.tokens.strategies import Strategy, open_key_ring
from compat_auth.tokens.upstream_login import UpstreamLogin


def build_issued_tokens(settings: Settings, strategy: Strategy, denylist: Denylist) -> IssuedTokens:
    """Return the object that issues tokens to callers and revokes them, for a gateway.

    Args:
        settings: What to build.
        strategy: Makes them.
        denylist: The revoked tokens.

    Raises:
        ConfigError: A key, a secret, the upstream's URL or a directory cannot work.
    """
    return issued_tokens(
        settings,
        strategy,
        build_user_lookup(settings),
        denylist,
        read=build_reader(settings),
        logout=build_logout(settings, strategy),
    )


def issued_tokens(
    settings: Settings,
    strategy: Strategy,
    lookup: UserLookup,
    denylist: Denylist,
    *,
    read: ReadToken,
    logout: Logout | None,
) -> IssuedTokens:
    """Return the object that issues tokens to callers and revokes them.

    Args:
        settings: What to build.
        strategy: Makes them.
        lookup: Completes identities for the strategy.
        denylist: The revoked tokens.
        read: Reads the upstream's tokens.
        logout: The upstream's own list of revoked tokens; None: it has none.

    Raises:
        ConfigError: A secret or a key file is missing or cannot be trusted.
    """
    profile = settings.upstream.profile
    sub_is_username = profile == "airflow-simple" or (profile == "generic" and "sub" not in settings.token.claims)
    keys, is_blind = upstream_keys(settings), settings.token.strategy == "exchange"
    return IssuedTokens(
        strategy,
        lookup,
        denylist,
        read,
        sub_is_username,
        logout,
        is_signed=None if is_blind else lambda token: is_signed_by_one_of(keys().values(), token),
    )


def build_logout(settings: Settings, strategy: Strategy) -> Logout | None:
    """Return the upstream's own list of revoked tokens; None: it has none.

    Raises:
        ConfigError: The upstream's URL cannot work.
    """
    if settings.upstream.profile == "generic":
        return None
    return UpstreamLogout(UpstreamLogin.from_settings(settings), strategy)


def build_reader(settings: Settings) -> ReadToken:
    """Return the reader of the upstream's tokens, whether we or the upstream have signed them.

    Raises:
        ConfigError: A secret or a key file is missing or cannot be trusted.
    """
    keys, audience, issuer = upstream_keys(settings), settings.token.audience, settings.token.issuer or None

    def read(token: str) -> Mapping[str, Any] | None:
        try:
            return verify(
                token, keys(), audience=audience, issuer=issuer, now=unix_now(), max_lifetime_s=MAX_LIFETIME_S
            )
        except InvalidToken:
            # It may have been signed with a key that is not there any more, and still be one that we have given.
            return None

    return read


def upstream_keys(settings: Settings) -> Callable[[], Mapping[str, VerifyingKey]]:
    """Return a function that returns the keys for the upstream's tokens; none if only the upstream can verify them.

    Raises:
        ConfigError: A secret or a key file is missing or cannot be trusted.
    """
    match settings.token.strategy:
        case "shared_secret":
            secret = {SHARED_SECRET_KID: shared_secret_verifier(settings.token.secret.get_secret_value())}
            return lambda: secret
        case "key_pair":
            ring = open_key_ring(settings)
            trusted = {jwk["kid"]: verifying_key(jwk) for jwk in merge_jwks([], settings.token.trusted_jwks)}
            return lambda: {**trusted, **ring.verifying_keys()}
        case "exchange" | "in_process":
            return dict


def build_user_lookup(settings: Settings, *, reserves: Callable[[Identity], bool] | None = None) -> UserLookup:
    """Return the look-up that completes an identity for the strategy.

    Args:
        settings: What to build.
        reserves: See `UserLookup`.

    Raises:
        ConfigError: The profile needs a setting that is missing.
    """
    if settings.token.strategy == "exchange":
        return UserLookup(())
    lookup = UserLookup.from_settings(settings, reserves=reserves)
    if settings.upstream.profile == "airflow-fab" and not lookup.finds_keys:
        raise ConfigError(
            "token.strategy: it mints tokens for airflow-fab, which names users by their number in its database; "
            'set [airflow_db] url, add "mapping" to [lookup] directories, or set token.strategy = "exchange"'
        )
    return lookup


def build_issuer(
    settings: Settings, strategy: Strategy, *, reserves: Callable[[Identity], bool] | None = None
) -> TokenIssuer:
    """Return the issuer of the token for an accepted identity.

    Args:
        settings: What to build.
        strategy: Makes it.
        reserves: See `UserLookup`.

    Raises:
        ConfigError: The profile needs a setting that is missing.
    """
    return TokenIssuer(build_user_lookup(settings, reserves=reserves), strategy)
