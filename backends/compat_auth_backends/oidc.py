"""Access tokens of OpenID Connect and OAuth issuers: a signed JWT (RFC 9068), or an opaque one that its issuer knows.

A token is ours only if it names one of our issuers (`iss`, not yet believed) or begins like an opaque token of one;
the next backend, or finally the upstream, gets any other Bearer. Our token is then verified in full.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import ClassVar

from compat_auth.airflow2 import airflow2_contract
from compat_auth.backend import Backend, CredentialKind
from compat_auth.config import OidcIssuerSettings, Settings
from compat_auth.credentials import Absent, Bearer, Credential
from compat_auth.errors import ConfigError, InvalidToken, NoSuchUser
from compat_auth.facts import answers_without_flask
from compat_auth.identity import Identity
from compat_auth.openid import AccountLinks, ConfiguredLinks, FirstUseLinks, open_introspections, read_unverified
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth.peer import request_peer
from compat_auth.resilience import share_of
from compat_auth.sign_in import SignIn
from compat_auth.users import UserLookup
from compat_auth_backends.openid.claims import credential_id_of
from compat_auth_backends.openid.code_flow import CodeFlow
from compat_auth_backends.openid.issuer import Issuer, NotKnown, Vouched

CLIENT_AUTH = None
# How soon a user who was disabled in the directory is noticed.
MAX_REUSE_S = 60.0


class OidcBackend(Backend):
    """Checks Bearer tokens of the configured issuers.

    Args:
        issuers: Each has a unique name.
        lookup: Completes the user that an issuer names.
        realm: The challenge's realm.
        now: Seconds since the epoch.
        logins: Tables of the issuers at which one can log in, by the issuer's name.
    """

    name = "oidc"
    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Bearer})
    needs: ClassVar[tuple[str, ...]] = ("[oidc] issuers",)

    def __init__(
        self,
        issuers: tuple[Issuer, ...],
        lookup: UserLookup,
        *,
        realm: str = "Airflow",
        now: Callable[[], float] = time.time,
        logins: Mapping[str, OidcIssuerSettings] | None = None,
    ) -> None:
        self._by_name = {issuer.name: issuer for issuer in issuers}
        # The longest prefix first; "" takes what is left.
        self._opaque = sorted(
            (issuer for issuer in issuers if issuer.takes_opaque),
            key=lambda issuer: len(issuer.opaque_prefix),
            reverse=True,
        )
        self._lookup = lookup
        self._realm = realm
        self._now = now
        self._sign_ins = tuple(
            CodeFlow(table, self._by_name[name], partial(self._admit, self._by_name[name], credential_id=""))
            for name, table in (logins or {}).items()
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> OidcBackend:
        """Return the backend with the issuers of `[oidc] issuers`; nothing is fetched yet.

        Raises:
            ConfigError: No issuer, two that cannot be told apart, or one whose settings do not fit together.
        """
        tables = settings.oidc.issuers
        if not tables:
            raise ConfigError(
                '[oidc] issuers: empty; name one, such as issuers = [{issuer = "https://…", audience = "…"}]'
            )
        issuers: list[Issuer] = []
        behind: dict[str, Issuer] = {}
        refusals = open_introspections(settings, settings.oidc.cache_entries)
        for position, table in enumerate(tables):
            where = f"oidc.issuers[{position}]"
            issuer = Issuer(
                table,
                where,
                cache_ttl_s=settings.oidc.cache_ttl_s,
                store=open_introspections(settings, settings.oidc.cache_entries),
                refusals=refusals,
                links=_links(settings, table),
                wrong_per_minute=share_of(settings.oidc.failures_per_minute, settings.serve.workers),
            )
            if table.header:
                if table.header.lower() in behind:
                    raise ConfigError(f"{where}.header: {table.header} is another table's; join the two")
                behind[table.header.lower()] = issuer
                continue
            for earlier in issuers:
                if earlier.name == issuer.name:
                    raise ConfigError(f"{where}: {issuer.name!r} is there twice; join the two")
                if earlier.takes_opaque and issuer.takes_opaque and earlier.opaque_prefix == issuer.opaque_prefix:
                    raise ConfigError(f"{where}.opaque_prefix: the same as another issuer's; their tokens look alike")
            issuers.append(issuer)
        if behind and not settings.trusted_proxies:
            raise ConfigError(
                "oidc.issuers: a header is believed from trusted_proxies alone, and trusted_proxies is empty; name the "
                'front proxy there, such as trusted_proxies = ["10.0.0.5/32"]'
            )
        backend_class = OidcInHeadersBackend if behind else cls
        backend = backend_class(
            tuple(issuers),
            UserLookup.from_settings(settings),
            realm=settings.basic_auth.realm,
            logins={table.issuer: table for table in tables if table.sign_in},
        )
        if isinstance(backend, OidcInHeadersBackend):
            backend.proxies, backend.by_header = tuple(settings.trusted_proxies), behind
        return backend

    def authenticate(self, credential: Credential) -> Outcome:
        """Accept the bearer of a valid token; skip a token of an unknown issuer.

        Raises:
            TooManyRequests: Too many wrong tokens that only the issuer can read came from the address.
            BackendUnavailable: The issuer, the directory or the store could not be asked.
        """
        if not isinstance(credential, Bearer):
            return Skip()
        try:
            checked = self._check(credential.token)
        except NotKnown:
            return Skip()
        except InvalidToken as error:
            return Reject(f"oidc: {error}", challenges=self._refusal())
        except NoSuchUser as error:
            return Reject(str(error), status=error.status)
        return Skip() if checked is None else self._admit(*checked, credential_id_of(self.name, credential.token))

    def answers_without_flask(self) -> bool:
        """Return whether no directory of the look-up reads Flask's request."""
        return answers_without_flask(self._lookup)

    def may_claim(self, credential: Credential) -> bool:
        """Return whether a Bearer names one of the issuers, or looks like an opaque token of one."""
        return not isinstance(credential, Bearer) or self._issuer_of(credential.token)[0] is not None

    def refuse(self, credential: Credential, until: float) -> bool:
        """Refuse a valid token from now on, in every process if `redis_url` is set.

        Raises:
            BackendUnavailable: The issuer could not be asked whether the token is its own.
        """
        try:
            checked = self._check(credential.token) if isinstance(credential, Bearer) else None
        except (NotKnown, InvalidToken, NoSuchUser):
            return False
        if checked is None or not isinstance(credential, Bearer):
            return False
        checked[0].refuse(credential.token, until)
        return True

    def probe(self) -> str:
        """Return how many keys each issuer publishes.

        Raises:
            BackendUnavailable: An issuer could not be asked.
        """
        return "; ".join(_probed(issuer) for issuer in self._issuers())

    def _issuers(self) -> tuple[Issuer, ...]:
        return tuple(self._by_name.values())

    def sign_ins(self) -> tuple[SignIn, ...]:
        """Return the logins at the issuers that have `sign_in`."""
        return self._sign_ins

    def challenges(self) -> tuple[str, ...]:
        """Return the Bearer challenge (RFC 6750 section 3), unless every issuer's token comes in a header."""
        return () if not self._by_name else (f'Bearer realm="{self._realm}"',)

    def _refusal(self) -> tuple[str, ...]:
        return (f'Bearer realm="{self._realm}", error="invalid_token"',)

    def _admit(self, issuer: Issuer, vouched: Vouched, credential_id: str) -> Outcome:
        identity = Identity(
            vouched.name,
            self.name,
            subject=vouched.subject,
            email=vouched.email,
            mfa=vouched.mfa,
            expires_at=vouched.expires_at,
            credential_id=credential_id,
        )
        reusable_s = min(MAX_REUSE_S, vouched.believed_until - self._now())
        try:
            identity = self._lookup.complete(identity)
            # Who may choose a user name could choose another's e-mail address, which directories find, too.
            if vouched.is_username and identity.username.casefold() != vouched.name.casefold():
                return Reject(
                    f"oidc: {vouched.name!r} is {identity.username!r}'s e-mail address, not a user name; "
                    'set username_claim = "email", or pin the account in subjects',
                    status=403,
                )
            issuer.settle(vouched, identity.username)
        except NoSuchUser as error:
            return Reject(str(error), status=error.status, vouched=True)
        return Accept(identity, reusable_s=max(0, reusable_s))

    def _check(self, token: str) -> tuple[Issuer, Vouched] | None:
        issuer, is_jwt = self._issuer_of(token)
        if issuer is None:
            return None
        return issuer, issuer.check_jwt(token) if is_jwt else issuer.check_opaque(token)

    def _issuer_of(self, token: str) -> tuple[Issuer | None, bool]:
        """Return the issuer that a token claims or looks like, and whether the token is a JWT."""
        try:
            claimed = read_unverified(token).get("iss")
        except InvalidToken:
            issuer = next((issuer for issuer in self._opaque if issuer.may_have_issued(token)), None)
            # A broken JWT is nobody's opaque token.
            is_broken = issuer is not None and not issuer.opaque_prefix and token.count(".") == 2
            return (None if is_broken else issuer), False
        return (self._by_name.get(claimed) if isinstance(claimed, str) else None), True


class OidcInHeadersBackend(OidcBackend):
    """Checks Bearer tokens, and the JWT that a front proxy signs and sends in a header of its own.

    Attributes:
        proxies: Networks of the proxies whose header is looked at.
        by_header: The issuers of such JWTs, by the name of the header in lower case.
    """

    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Absent, Bearer})
    reads_peer: ClassVar[bool] = True
    skips_silent_peers: ClassVar[bool] = True
    depends_on_credential_only: ClassVar[bool] = True
    proxies: tuple[str, ...] = ()
    by_header: Mapping[str, Issuer] = MappingProxyType({})

    def authenticate(self, credential: Credential) -> Outcome:
        """Accept the bearer of a good token, or whom every header of a front proxy names.

        Raises:
            TooManyRequests: See `OidcBackend.authenticate`.
            BackendUnavailable: The same.
        """
        if not isinstance(credential, Absent):
            return super().authenticate(credential)
        peer = request_peer()
        if not peer.is_in(self.proxies):
            return Skip()
        outcome: Outcome = Skip()
        for header, issuer in self.by_header.items():
            values = peer.values(header)
            if not values:
                continue
            said = self._judge(header, issuer, values)
            if not isinstance(said, Accept):
                return said
            if isinstance(outcome, Accept) and outcome.identity.username != said.identity.username:
                return Reject("oidc: two headers name two people; one request is for one of them")
            outcome = said
        return outcome

    def answers_without_flask(self) -> bool:
        """Return whether no directory of the look-up reads Flask's request."""
        return super().answers_without_flask()

    def may_claim(self, credential: Credential) -> bool:
        """Return whether a Bearer could be an issuer's; a request without one may have the header."""
        return super().may_claim(credential)

    def _judge(self, header: str, issuer: Issuer, values: list[str]) -> Outcome:
        if len(values) > 1:
            return Reject(f"oidc: {header}: it came {len(values)} times; let the proxy overwrite it")
        try:
            vouched = issuer.check_assertion(values[0])
        except InvalidToken as error:
            return Reject(f"oidc: {header}: {error}")
        except NoSuchUser as error:
            return Reject(str(error), status=error.status)
        return self._admit(issuer, vouched, "")

    def _issuers(self) -> tuple[Issuer, ...]:
        return (*super()._issuers(), *self.by_header.values())


def _probed(issuer: Issuer) -> str:
    keys = issuer.probe()
    return f"{issuer.name} publishes {keys} keys" if keys else f"{issuer.name}: each key is asked for by its id"


def _links(settings: Settings, table: OidcIssuerSettings) -> AccountLinks:
    if table.username_claim == "sub":
        # The name is the account's own, and never another's.
        return ConfiguredLinks(table.subjects)
    return FirstUseLinks.from_settings(settings, table.issuer, table.subjects)


init_app, requires_authentication = airflow2_contract("oidc", OidcBackend)
