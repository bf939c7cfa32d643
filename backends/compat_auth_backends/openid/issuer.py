"""One issuer of access tokens: verifies its JWTs, and asks it about its opaque tokens."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from compat_auth.config import OidcIssuerSettings
from compat_auth.errors import InvalidToken
from compat_auth.facts import client_address
from compat_auth.openid import (
    CLOCK_SKEW_S,
    AccountLinks,
    ConfiguredLinks,
    IntrospectionCache,
    IntrospectionResult,
    IntrospectionStore,
    JwksCache,
    MemoryIntrospections,
    algorithm_of,
    is_list,
)
from compat_auth.resilience import Tries, network_of
from compat_auth_backends.openid import id_token
from compat_auth_backends.openid.claims import (
    client_of,
    identifying_part,
    is_email_verified,
    moment_of,
    name_in,
    scopes_in,
)
from compat_auth_backends.openid.discovery import Discovery
from compat_auth_backends.openid.introspection import RemoteChecks
from compat_auth_backends.openid.issuer_settings import basic_value, check_settings, read_secret
from compat_auth_backends.openid.load_balancer import KEY_ID, LoadBalancerKeys

# Claims of an ID or logout token: where `typ` does not tell the kinds apart, these do (RFC 9068 section 5).
_NOT_OF_ACCESS_TOKENS = ("at_hash", "c_hash", "s_hash", "events")
# The token is good only together with a proof of possession, which a Bearer does not bring (RFC 7800, RFC 9449).
_BOUND = "cnf"
_MAX_OPAQUE_BYTES = 4096
_TYPES_IN_HEADERS = ("JWT", "")
_ENTRIES = 10_000
WRONG_PER_MINUTE = 100


@dataclass(frozen=True, slots=True)
class Vouched:
    """The issuer's statement about the bearer of a valid token.

    Attributes:
        subject: `sub`.
        name: The name to look up.
        is_username: The name is only a user name, never an e-mail address: at many issuers people choose it.
        email: Verified e-mail address, or "".
        expires_at: End of the token, in seconds since the epoch; None if the issuer does not say.
        believed_until: Seconds since the epoch at which the issuer must be asked again.
        mfa: The issuer says that more than one factor was used (`amr`, RFC 8176).
    """

    subject: str
    name: str
    is_username: bool
    email: str = field(repr=False)
    expires_at: int | None
    believed_until: float
    mfa: bool = False


class NotKnown(Exception):  # an answer, not an error
    """The issuer does not know this opaque token, which may be another issuer's."""


class Issuer:
    """Checks the tokens of one issuer. Any thread may call.

    Args:
        settings: Its table in `[oidc] issuers`.
        where: The issuer's name in errors, such as `oidc.issuers[0]`.
        cache_ttl_s: Seconds for which its answer about a token is reused.
        store: Where its answers are kept.
        refusals: The tokens that we refuse whatever the issuer says; they are not among its answers, because guessed
            tokens could displace them there.
        links: The names that its accounts are linked to; None: the setting `subjects`.
        now: Seconds since the epoch.
        wrong_per_minute: Wrong tokens from one address in a minute, after which the issuer is not asked about more.

    Raises:
        ConfigError: The settings do not fit together.
    """

    def __init__(
        self,
        settings: OidcIssuerSettings,
        where: str,
        *,
        cache_ttl_s: float = 600,
        store: IntrospectionStore | None = None,
        refusals: IntrospectionStore | None = None,
        links: AccountLinks | None = None,
        now: Callable[[], float] = time.time,
        wrong_per_minute: int = WRONG_PER_MINUTE,
    ) -> None:
        check_settings(settings, where)
        self._guesses = Tries(wrong_per_minute, "too many wrong tokens from this address")
        self.name = settings.issuer
        self._settings = settings
        self._audience = tuple(settings.audience)
        self._scopes = frozenset(settings.scope.split())
        self._ttl_s = cache_ttl_s
        self._links = links or ConfiguredLinks(settings.subjects)
        self._now = now
        self.discovery = discovery = Discovery(settings, where)
        self._secret = read_secret(settings, where)
        self._jwks = JwksCache(lambda: discovery.endpoint("jwks_uri"), algorithms=tuple(settings.algorithms))
        self._balancer = LoadBalancerKeys(settings, where) if KEY_ID in settings.jwks_url else None
        self._remote = RemoteChecks(discovery, basic_value(settings.client_id, self._secret))
        source = settings.model_dump_json(exclude={"client_secret"})
        self._introspection = IntrospectionCache(
            source, store or MemoryIntrospections(_ENTRIES), longest_s=cache_ttl_s, now=now
        )
        # Not what the issuer says: it holds whatever is changed in the settings.
        self._refusals = IntrospectionCache(
            f"refused here: {settings.issuer}", refusals or MemoryIntrospections(_ENTRIES), now=now
        )

    @property
    def takes_opaque(self) -> bool:
        """Whether it is asked about tokens that are no JWT."""
        return bool(self._settings.introspection or (self._settings.userinfo and not self._scopes))

    @property
    def opaque_prefix(self) -> str:
        """The prefix of its opaque tokens; "" if they have none."""
        return self._settings.opaque_prefix

    def may_have_issued(self, token: str) -> bool:
        """Return whether the issuer must be asked about a token that is no JWT."""
        return self.takes_opaque and len(token) <= _MAX_OPAQUE_BYTES and token.startswith(self.opaque_prefix)

    def probe(self) -> int:
        """Return how many usable keys the issuer publishes; 0 where only who knows a key's id can ask for it.

        Raises:
            BackendUnavailable: It could not be asked, or does not name an endpoint that the settings require.
        """
        for wanted, member in (
            (self._settings.introspection, "introspection_endpoint"),
            (self._settings.userinfo, "userinfo_endpoint"),
            (self._settings.sign_in, "authorization_endpoint"),
            (self._settings.sign_in, "token_endpoint"),
        ):
            if wanted:
                self.discovery.endpoint(member)
        return 0 if self._balancer is not None else self._jwks.probe()

    def check_jwt(self, token: str) -> Vouched:
        """Return the content of a JWT of this issuer.

        Raises:
            InvalidToken: It is invalid.
            NoSuchUser: The name in it is linked to another account.
            BackendUnavailable: The issuer could not be asked.
        """
        settings, now = self._settings, self._now()
        self._require_not_refused(token)
        claims = self._jwks.verify(
            token,
            audience=self._audience,
            issuer=settings.issuer,
            types=tuple(settings.types),
            now=now,
            max_lifetime_s=settings.max_lifetime_s,
        )
        for name in _NOT_OF_ACCESS_TOKENS:
            if name in claims:
                raise InvalidToken(f"{name}: this is another kind of token")
        self._check_grant(claims)
        believed_until: float = claims["exp"]
        if settings.liveness:
            live = self._ask(token, lambda: self._remote.ask_userinfo(token), claims)
            if live.claims is None:
                raise InvalidToken(live.reason)
            if live.claims.get("sub") != claims["sub"]:  # OpenID Connect Core 5.3.2
                raise InvalidToken("UserInfo tells of another subject")
            claims = {**live.claims, **claims}
            believed_until = live.ends_at
        return self._vouch(claims, believed_until)

    def check_assertion(self, token: str) -> Vouched:
        """Return whom a JWT in a header of a front proxy names.

        Raises:
            InvalidToken: It is not right.
            NoSuchUser: The name in it is linked to another account.
            BackendUnavailable: The issuer's keys could not be had.
        """
        settings, now = self._settings, self._now()
        if self._balancer is not None:
            claims = self._balancer.verify(token, now=now)
        else:
            claims = self._jwks.verify(
                token,
                audience=self._audience,
                issuer=settings.issuer,
                types=tuple(settings.types) if "types" in settings.model_fields_set else _TYPES_IN_HEADERS,
                now=now,
                max_lifetime_s=settings.max_lifetime_s,
            )
        self._check_grant(claims)
        if settings.proxy_verifies_email and "email_verified" not in claims:
            claims = {**claims, "email_verified": True}
        return self._vouch(claims, claims["exp"])

    def check_id_token(self, token: str, *, nonce: str, access_token: str) -> Vouched:
        """Return the user of a login's ID token; UserInfo adds missing claims, if it is configured.

        Args:
            token: The ID token.
            nonce: The attempt's.
            access_token: The access token that came with it.

        Raises:
            InvalidToken: It is invalid.
            NoSuchUser: The name in it is linked to another account.
            BackendUnavailable: The issuer could not be asked.
        """
        settings, now = self._settings, self._now()
        client_id = settings.client_id
        claims = self._jwks.verify(
            token,
            audience=(client_id,),
            issuer=settings.issuer,
            types=id_token.TYPES,
            now=now,
            max_lifetime_s=settings.max_lifetime_s,
        )
        algorithm = algorithm_of(token)
        id_token.check(claims, algorithm=algorithm, client_id=client_id, nonce=nonce, access_token=access_token)
        if settings.userinfo and settings.username_claim not in claims:
            told = self._remote.ask_userinfo(access_token)
            if isinstance(told, str) or told.get("sub") != claims["sub"]:  # OpenID Connect Core 5.3.2
                raise InvalidToken("UserInfo refuses the token, or tells of another subject")
            claims = {**told, **claims}
        return self._vouch(claims, now)

    def client_credentials(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the headers and the parameters by which our own client names itself (RFC 6749 section 2.3.1).

        Raises:
            BackendUnavailable: The discovery document could not be fetched.
        """
        client_id = self._settings.client_id
        if not self._secret:
            return {}, {"client_id": client_id}
        if self.discovery.takes_basic():
            return {"Authorization": basic_value(client_id, self._secret)}, {}
        return {}, {"client_id": client_id, "client_secret": self._secret}

    def check_opaque(self, token: str) -> Vouched:
        """Return the issuer's statement about a token that only it can read.

        Raises:
            NotKnown: It does not know the token, and nothing else says that the token is its own.
            InvalidToken: The token is invalid.
            NoSuchUser: The name in the answer is linked to another account.
            TooManyRequests: The address has shown too many wrong ones.
            BackendUnavailable: The issuer could not be asked.
        """
        self._require_not_refused(token)
        introspects = bool(self._settings.introspection)
        ask = self._remote.introspect if introspects else self._remote.ask_userinfo
        result = self._ask(token, lambda: self._ask_about_stranger(token, ask), {})
        if result.claims is None:
            if not self.opaque_prefix:
                raise NotKnown(result.reason)
            raise InvalidToken(result.reason)
        if introspects:
            self._check_introspected(result.claims)
        return self._vouch(result.claims, result.ends_at)

    def refuse(self, token: str, until: float) -> None:
        """Refuse a valid token from now on, whatever the issuer says about it later: a local logout takes precedence.

        Args:
            token: As presented.
            until: End of the refusal, in seconds since the epoch.
        """
        self._refusals.revoke(identifying_part(token), until=until, reason="logged out here")

    def _require_not_refused(self, token: str) -> None:
        if reason := self._refusals.why_refused(identifying_part(token)):
            raise InvalidToken(reason)

    def settle(self, vouched: Vouched, username: str) -> None:
        """Link the account to the user from now on, now that the user is known to be active.

        Raises:
            NoSuchUser: The account is another user's, or the user another account's.
            BackendUnavailable: The links could not be read or written.
        """
        self._links.settle(vouched.subject, username)

    def _ask(
        self, token: str, ask: Callable[[], Mapping[str, Any] | str], known: Mapping[str, Any]
    ) -> IntrospectionResult:
        def ask_issuer() -> IntrospectionResult:
            answer = ask()
            now = self._now()
            if isinstance(answer, str):
                return IntrospectionResult(now + min(self._ttl_s / 2, 300), None, answer)
            ends = [now + self._ttl_s, *(end for part in (answer, known) if (end := moment_of(part, "exp")))]
            return IntrospectionResult(min(ends), answer)

        # Anybody can show tokens that only the issuer can tell from good ones.
        return self._introspection.introspect(token, ask_issuer, caller=_network())

    def _ask_about_stranger(self, token: str, ask: Callable[[str], Mapping[str, Any] | str]) -> Mapping[str, Any] | str:
        """Return the issuer's answer, unless the address has sent too many wrong tokens; a valid one is no guess.

        Raises:
            TooManyRequests: It has.
            Overloaded: The tokens before it are still being checked.
            BackendUnavailable: The issuer could not be asked.
        """
        network = _network()
        if not network or self._introspection.has_accepted(token):
            return ask(token)
        with self._guesses.one(network) as tried:
            answer = ask(token)
            tried.failed = isinstance(answer, str)
        return answer

    def _check_introspected(self, claims: Mapping[str, Any]) -> None:
        now = self._now()
        exp, nbf = moment_of(claims, "exp"), moment_of(claims, "nbf")
        if "exp" in claims and not (exp is not None and exp > now):
            raise InvalidToken("exp: expired, or not a moment")
        if "nbf" in claims and not (nbf is not None and nbf <= now + CLOCK_SKEW_S):
            raise InvalidToken("nbf: not yet valid")
        if claims.get("iss", self.name) != self.name:
            raise InvalidToken("iss: another")
        aud = claims.get("aud")
        named: list[Any] = aud if is_list(aud) else [aud]
        # Without `aud` only a list of clients says that the token was not given to somebody else's application.
        if aud is None and not self._settings.clients:
            raise InvalidToken("aud: not told by the issuer; name the clients that are believed in the setting clients")
        if aud is not None and not any(name in self._audience for name in named):
            raise InvalidToken("aud: meant for another")
        self._check_grant(claims)

    def _check_grant(self, claims: Mapping[str, Any]) -> None:
        if _BOUND in claims:
            raise InvalidToken("cnf: bound to a key of the client; not a bearer token")
        clients = self._settings.clients
        if clients and client_of(claims) not in clients:
            raise InvalidToken("client_id: given to another client")
        missing = self._scopes - scopes_in(claims)
        if missing:
            raise InvalidToken(f"scope: lacks {' '.join(sorted(missing))}")

    def _vouch(self, claims: Mapping[str, Any], believed_until: float) -> Vouched:
        # A client that acts for itself has no subject of its own in an introspection answer (RFC 9068 section 2.2).
        told = claims if "sub" in claims else {**claims, "sub": claims.get("client_id")}
        subject = name_in(told, "sub")
        taken: list[str] = []

        def claimed() -> str:
            taken.append(name_in(told, self._settings.username_claim))
            return taken[-1]

        name = self._links.name_of(subject, claimed)
        email, amr = told.get("email"), told.get("amr")
        return Vouched(
            subject,
            name,
            name in taken and self._settings.username_claim != "email",
            email if isinstance(email, str) and is_email_verified(told) else "",
            moment_of(told, "exp"),
            believed_until,
            is_list(amr) and "mfa" in amr,
        )


def _network() -> str:
    """Return the network of the caller; "" if there is no caller."""
    client = client_address()
    return network_of(client) if client else ""
