"""The sources of the upstream's JWT: its own login, a shared secret, or our own key."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from compat_auth.backend import Backend
from compat_auth.concurrency.clock import unix_now
from compat_auth.config import Settings
from compat_auth.credentials import Absent, Basic, Credential, Unrecognised
from compat_auth.crypto.personal_token_format import looks_like_one
from compat_auth.errors import ConfigError, NotAuthenticated, NotPermitted
from compat_auth.identity import Identity, Token
from compat_auth.tokens.cache import TokenCache
from compat_auth.tokens.claims import ClaimProfile
from compat_auth.tokens.jose.jwk import SigningKey
from compat_auth.tokens.jose.jwt import shared_secret, sign
from compat_auth.tokens.keys.jwks_merge import merge_jwks
from compat_auth.tokens.keys.keys import KeyRing
from compat_auth.tokens.upstream_login import UpstreamLogin

Kind = Literal["token", "cli", "session"]
"""The use of a token: `/auth/token`, `/auth/token/cli`, or the login cookie of the upstream's own pages."""


class Strategy(Protocol):
    """Turns an identity into a token for the upstream. Any thread may call."""

    def obtain(self, identity: Identity, credential: Credential, *, fresh: bool) -> Token:
        """Return a token that speaks for the identity.

        Args:
            identity: As vouched for by the chain.
            credential: What the caller presented for it.
            fresh: The earlier token was refused; a cached one must not be used.

        Raises:
            NoSuchUser, NotPermitted, NotAuthenticated: The upstream would have none for this caller.
            BackendUnavailable, NoActiveKey: There is none at present.
        """
        ...

    def issue(self, identity: Identity, credential: Credential, kind: Kind) -> Token:
        """Return a token that the caller keeps: one of its own, that nobody else has and no cache.

        Args:
            identity: As vouched for by the chain; the token ends with its credential at the latest.
            credential: What the caller presented for it.
            kind: How long it is to live.

        Raises:
            NoSuchUser, NotPermitted, NotAuthenticated: As `obtain`.
            BackendUnavailable, NoActiveKey: As `obtain`.
        """
        ...

    def copy(self, subject: str, jti: str, expires_at: int) -> str | None:
        """Return a token that has the name of one that was issued, to revoke that one by; None where none can be made.

        Args:
            subject: Its `sub`.
            jti: Its name.
            expires_at: Its end, in seconds since the epoch.
        """
        ...


@dataclass(frozen=True, slots=True)
class Exchange:
    """Logs in at the upstream with the caller's own password."""

    login: UpstreamLogin
    cache: TokenCache
    digest_key: bytes = field(repr=False)

    def answers_without_flask(self) -> bool:
        """Return True: it reads nothing of the request."""
        return True

    def obtain(self, identity: Identity, credential: Credential, *, fresh: bool) -> Token:
        """Return the upstream's token for the pair; see `Strategy.obtain`."""
        basic = _password_of(identity, credential)
        return self.cache.obtain(
            (identity, self._digest(basic)), lambda: _log_in(self.login, identity, basic), fresh=fresh
        )

    def issue(self, identity: Identity, credential: Credential, kind: Kind) -> Token:
        """Return a token of the upstream's own from a login of its own; see `Strategy.issue`."""
        login = self.login if kind != "cli" else replace(self.login, path=f"{self.login.path}/cli")
        token = _log_in(login, identity, _password_of(identity, credential))
        if identity.expires_at is not None and token.expires_at > identity.expires_at:
            raise NotPermitted(
                f"{identity.username!r}: the upstream's token would outlive the credential; "
                "set [token] strategy to shared_secret or key_pair"
            )
        return token

    def copy(self, subject: str, jti: str, expires_at: int) -> None:
        """Return None: only the upstream can sign."""

    def _digest(self, credential: Basic) -> bytes:
        # Length first: ("ab", "c") and ("a", "bc") are two pairs.
        name = credential.username.encode("utf-8", "surrogatepass")
        password = credential.password.encode("utf-8", "surrogatepass")
        return hmac.digest(self.digest_key, len(name).to_bytes(8, "big") + name + password, hashlib.sha256)


@dataclass(frozen=True, slots=True)
class Minted:
    """Signs a token itself, with the key that is current."""

    signing_key: Callable[[], SigningKey]
    profile: ClaimProfile
    cache: TokenCache
    now: Callable[[], int] = unix_now
    ttls_s: Mapping[Kind, int] = field(default_factory=dict[Kind, int])

    def answers_without_flask(self) -> bool:
        """Return True: it reads nothing of the request."""
        return True

    def obtain(self, identity: Identity, credential: Credential, *, fresh: bool) -> Token:
        """Return a token that we have signed; see `Strategy.obtain`."""
        del credential
        key = self.signing_key()
        # The kid is part of the key: once another key signs, what the old one signed is not used again.
        return self.cache.obtain((key.kid, identity), lambda: self._mint(identity, key, self.profile), fresh=fresh)

    def issue(self, identity: Identity, credential: Credential, kind: Kind) -> Token:
        """Return a token that we have signed for this caller alone; see `Strategy.issue`."""
        del credential
        profile = replace(self.profile, ttl_s=self.ttls_s.get(kind, self.profile.ttl_s))
        return self._mint(identity, self.signing_key(), profile)

    def copy(self, subject: str, jti: str, expires_at: int) -> str:
        """Return a token of that name; see `Strategy.copy`."""
        now = self.now()
        claims: dict[str, object] = {"sub": subject, "jti": jti, "exp": expires_at, "iat": now, "nbf": now}
        claims["aud"] = self.profile.audience
        if self.profile.issuer:
            claims["iss"] = self.profile.issuer
        return sign(claims, self.signing_key())

    def _mint(self, identity: Identity, key: SigningKey, profile: ClaimProfile) -> Token:
        claims = profile.claims_for(identity, now=self.now())
        expires_at = claims["exp"]
        assert isinstance(expires_at, int)  # noqa: S101  # for the type checkers: the profile has just put it there
        return Token(sign(claims, key), expires_at)


def require_unbound(identity: Identity) -> None:
    """Raise if a token of the upstream's own would lose what the identity's credential is bound to.

    Raises:
        NotPermitted: It would: the upstream writes no `cnf` (RFC 8705 section 3.1).
    """
    if identity.certificate:
        raise NotPermitted(
            f"{identity.username!r}: the token is bound to a client certificate, and the upstream's would not be; use the "
            "token itself"
        )


def _password_of(identity: Identity, credential: Credential) -> Basic:
    if not isinstance(credential, Basic) or looks_like_one(credential.password):
        raise NotPermitted(
            f"{identity.username!r} came by {identity.backend!r}, but strategy exchange needs a password; "
            "set [token] strategy to shared_secret or key_pair"
        )
    return credential


def brings_no_password(backend: Backend) -> bool:
    """Return whether nothing that a backend accepts is a password, which strategy exchange needs."""
    takes_others = {Basic, Absent, Unrecognised} & backend.kinds
    return backend.decides_alone or backend.reads_peer or not takes_others


def _log_in(login: UpstreamLogin, identity: Identity, basic: Basic) -> Token:
    token = login.log_in(basic.username, basic.password)
    if token is None:
        # Also what happens when a password is changed while it is still remembered here: 401, ask again.
        raise NotAuthenticated(
            f"{identity.username!r}: the upstream refuses the password that {identity.backend!r} accepts; "
            'with strategy exchange use [basic_auth] directories = ["upstream"]'
        )
    return token


def build_strategy(settings: Settings, *, now: Callable[[], int] = unix_now) -> Strategy:
    """Return the strategy as the configuration wants it.

    Raises:
        ConfigError: A secret, key file or URL is missing or does not fit; names the setting and the next step.
    """
    token = settings.token
    cache = TokenCache(settings.serve.cache_entries, now)
    profile = ClaimProfile.from_settings(settings)
    ttls_s: dict[Kind, int] = {"token": settings.token_endpoint.ttl_s, "cli": settings.token_endpoint.cli_ttl_s}
    match token.strategy:
        case "exchange":
            return Exchange(UpstreamLogin.from_settings(settings), cache, secrets.token_bytes(32))
        case "shared_secret":
            if token.algorithm not in ("", "HS512"):
                raise ConfigError(f'[token] algorithm: {token.algorithm} needs strategy = "key_pair"; or set "HS512"')
            secret = shared_secret(token.secret.get_secret_value())
            return Minted(lambda: secret, profile, cache, now, ttls_s)
        case "key_pair":
            return Minted(open_key_ring(settings, now=now).signing_key, profile, cache, now, ttls_s)
        case "in_process":
            raise ConfigError("[token] strategy: in_process works inside Airflow only, as its plugin; use another here")


def open_key_ring(settings: Settings, *, now: Callable[[], int] = unix_now) -> KeyRing:
    """Return the keys of `[token] key_file`.

    Raises:
        ConfigError: It is missing, cannot be trusted, or its current key is not for `[token] algorithm`.
    """
    token = settings.token
    if token.algorithm == "HS512":
        raise ConfigError('[token] algorithm: HS512 needs strategy = "shared_secret"; or leave it empty')
    if not token.key_file:
        raise ConfigError(
            "[token] key_file: missing; make one with: compat-auth keys create --file KEYS.json, and name it here"
        )
    ring = KeyRing(token.key_file, now=now)
    algorithm = ring.signing_key().algorithm
    if token.algorithm not in ("", algorithm):
        raise ConfigError(
            f"[token] algorithm: {token.algorithm}, but the key in {token.key_file} is for {algorithm}; leave it empty"
        )
    return ring


def public_keys(settings: Settings) -> Callable[[], bytes]:
    """Return a function that publishes the keys that the upstream may trust: ours, and those of `token.trusted_jwks`.

    Raises:
        ConfigError: A key file is missing or cannot be trusted.
    """
    trusted = settings.token.trusted_jwks
    ring = open_key_ring(settings) if settings.token.strategy == "key_pair" else None

    def publish() -> bytes:
        own = ring.public_jwks() if ring is not None else []
        return json.dumps({"keys": merge_jwks(own, trusted)}).encode()

    publish()
    return publish
