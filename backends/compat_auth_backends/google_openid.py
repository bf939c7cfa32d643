"""ID tokens of Google accounts, of people and of services, as Airflow 2's Google provider accepted them.

A Bearer is ours only if it is a JWT that names Google as its issuer; the next backend gets any other, such as
Airflow's. Google signs ID tokens for anybody and, for a service account, with any audience: the audience says which
service a token is meant for, and only the look-up or `hosted_domains` says who may log in.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from compat_auth.airflow2 import airflow2_contract
from compat_auth.backend import Backend, CredentialKind
from compat_auth.config import GoogleOpenIdSettings, Settings, load_settings
from compat_auth.credentials import Bearer, Credential
from compat_auth.errors import ConfigError, InvalidToken, NoSuchUser, NotPermitted, UnknownUser
from compat_auth.facts import answers_without_flask
from compat_auth.identity import Identity
from compat_auth.openid import AccountLinks, ConfiguredLinks, Endpoint, FirstUseLinks, JwksCache, read_unverified
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth.users import UserLookup
from compat_auth_backends.openid.claims import credential_id_of, verified_email
from compat_auth_backends.openid.google_access_tokens import PREFIX, GoogleAccessTokens
from compat_auth_backends.openid.provisioning import NewcomersInAirflow, UserCreator

CLIENT_AUTH = None
ISSUER = "https://accounts.google.com"
ISSUERS = frozenset({"accounts.google.com", ISSUER})
TYPES = ("JWT", "")  # OpenID Connect gives ID tokens no type of their own; Google says JWT
MAX_REUSE_S = 300.0
_SERVICE_ACCOUNT = ".gserviceaccount.com"


class GoogleOpenIdBackend(Backend):
    """Checks Google's ID tokens.

    Args:
        settings: `[google_openid]`.
        jwks: Google's keys.
        lookup: Completes the user of a Google account, by e-mail address.
        creator: Creates the user of an account in `hosted_domains` that the look-up does not know; None: nobody does.
        links: Which names Google's accounts are linked to; None: the setting `subjects`.
        access_tokens: Checks opaque access tokens; None: they are for the next backend.
        realm: The challenge's realm.
        now: Seconds since the epoch.
    """

    name = "google_openid"
    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Bearer})
    needs: ClassVar[tuple[str, ...]] = ("[google_openid] audience",)

    def __init__(
        self,
        settings: GoogleOpenIdSettings,
        jwks: JwksCache,
        lookup: UserLookup,
        *,
        links: AccountLinks | None = None,
        creator: UserCreator | None = None,
        access_tokens: GoogleAccessTokens | None = None,
        realm: str = "Airflow",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._audience = tuple(settings.audience)
        self._parties = frozenset((*settings.audience, *settings.authorized_parties))
        self._domains = frozenset(domain.lower() for domain in settings.hosted_domains)
        self._service_accounts = frozenset(settings.service_accounts)
        self._jwks = jwks
        self._lookup = lookup
        self._links = links or ConfiguredLinks(settings.subjects)
        self._creator = creator
        self._access_tokens = access_tokens
        self._realm = realm
        self._now = now

    @classmethod
    def from_settings(cls, settings: Settings) -> GoogleOpenIdBackend:
        """Return the backend of `[google_openid]`; nothing is fetched yet.

        Raises:
            ConfigError: No audience, nothing that says who may log in, or users to be created where that cannot be.
        """
        google = settings.google_openid
        access_tokens = GoogleAccessTokens.from_settings(settings)
        if "" in google.audience or not (google.audience or access_tokens):
            raise ConfigError(
                "[google_openid] audience: missing or empty; set it to your OAuth client id, "
                "such as 1234-abc.apps.googleusercontent.com"
            )
        if "" in google.hosted_domains:
            raise ConfigError("[google_openid] hosted_domains: an empty name; remove it")
        looks_up = bool(settings.lookup.directories or settings.airflow_db.url.get_secret_value())
        if not (google.hosted_domains or looks_up):
            raise ConfigError(
                "[google_openid] hosted_domains: empty, and there is no look-up either, so that anybody with a Google "
                "account would come in; set it to your domain, or [lookup] directories"
            )
        endpoint = Endpoint.parse(google.jwks_url, where="[google_openid] jwks_url", ca_file=google.ca_file)
        # Google signs with RS256 alone.
        jwks = JwksCache(lambda: endpoint, algorithms=("RS256",))
        links = FirstUseLinks.from_settings(settings, ISSUER, google.subjects)
        return cls(
            google,
            jwks,
            UserLookup.from_settings(settings),
            links=links,
            access_tokens=access_tokens,
            creator=NewcomersInAirflow.of_google(settings, links, backend=cls.name),
            realm=settings.basic_auth.realm,
        )

    def authenticate(self, credential: Credential) -> Outcome:
        """Accept the bearer of a valid ID or access token; skip a token that does not say that it is Google's.

        Raises:
            BackendUnavailable: Google, the directory or the store could not be asked.
        """
        if not isinstance(credential, Bearer):
            return Skip()
        if self._access_tokens is not None and credential.token.startswith(PREFIX):
            return self._judge_access_token(self._access_tokens, credential.token)
        issuer = _google_in(credential.token) if self._audience else ""
        return self._judge_id_token(credential, issuer) if issuer else Skip()

    def answers_without_flask(self) -> bool:
        """Return whether no directory of the look-up reads Flask's request."""
        return answers_without_flask(self._lookup)

    def may_claim(self, credential: Credential) -> bool:
        """Return whether a Bearer says that it is Google's."""
        if not isinstance(credential, Bearer):
            return True
        if self._access_tokens is not None and credential.token.startswith(PREFIX):
            return True
        return bool(self._audience) and bool(_google_in(credential.token))

    def _judge_id_token(self, credential: Bearer, issuer: str) -> Outcome:
        now = self._now()
        try:
            claims = self._jwks.verify(credential.token, audience=self._audience, issuer=issuer, types=TYPES, now=now)
            identity = self._complete(self._identify(claims, credential_id_of(self.name, credential.token)), claims)
            self._links.settle(identity.subject, identity.username)
        except InvalidToken as error:
            return Reject(f"google_openid: {error}", challenges=self._refusal())
        except (NoSuchUser, NotPermitted) as error:
            # Not `vouched`: Airflow 2's chain forgot the 403 of this backend, and answered 401.
            return Reject(f"google_openid: {error}", status=error.status)
        return Accept(identity, reusable_s=max(0, min(MAX_REUSE_S, claims["exp"] - now)))

    def _judge_access_token(self, access_tokens: GoogleAccessTokens, token: str) -> Outcome:
        try:
            told = access_tokens.check(token)
            if not told.is_named and told.subject not in self._settings.subjects:
                self._check_domain(told.hosted_domain, told.email, told.is_service)
            name = self._links.name_of(told.subject, lambda: told.email)
            credential_id = credential_id_of(self.name, token)
            identity = self._lookup.complete(
                Identity(
                    name,
                    self.name,
                    subject=told.subject,
                    email=told.email,
                    expires_at=told.expires_at,
                    credential_id=credential_id,
                )
            )
            self._links.settle(identity.subject, identity.username)
        except InvalidToken as error:
            return Reject(f"google_openid: access token: {error}", challenges=self._refusal())
        except (NoSuchUser, NotPermitted) as error:
            return Reject(f"google_openid: {error}", status=error.status)
        return Accept(identity, reusable_s=max(0, min(MAX_REUSE_S, told.expires_at - self._now())))

    def refuse(self, credential: Credential, until: float) -> bool:
        """Refuse a good access token from now on, in every process where `redis_url` is set.

        Raises:
            BackendUnavailable: Google could not be asked whether it is good.
        """
        if self._access_tokens is None or not isinstance(credential, Bearer) or not credential.token.startswith(PREFIX):
            return super().refuse(credential, until)
        try:
            self._access_tokens.check(credential.token)
        except InvalidToken:
            return False
        self._access_tokens.refuse(credential.token, until)
        return True

    def probe(self) -> str:
        """Return how many keys Google publishes.

        Raises:
            BackendUnavailable: Google could not be asked.
        """
        return f"Google publishes {self._jwks.probe()} keys"

    def challenges(self) -> tuple[str, ...]:
        """Return the Bearer challenge (RFC 6750 section 3)."""
        return (f'Bearer realm="{self._realm}"',)

    def _refusal(self) -> tuple[str, ...]:
        return (f'Bearer realm="{self._realm}", error="invalid_token"',)

    def _identify(self, claims: Mapping[str, Any], credential_id: str) -> Identity:
        if "iat" not in claims:  # OpenID Connect Core 2: required
            raise InvalidToken("iat: missing")
        subject: str = claims["sub"]
        email = verified_email(claims)
        # Google writes a boolean; a text is not its own.
        if claims["email_verified"] is not True:
            raise InvalidToken("email_verified: not true")
        is_service = _is_service(email)
        azp = claims.get("azp", self._audience[0])
        # A service account asks for its tokens itself, under its own number.
        if not isinstance(azp, str) or (azp not in self._parties and not (is_service and azp == subject)):
            raise InvalidToken("azp: asked for by another application")
        self._check_domain(claims.get("hd"), email, is_service)
        name = self._links.name_of(subject, lambda: email)
        return Identity(
            name, self.name, subject=subject, email=email, expires_at=claims["exp"], credential_id=credential_id
        )

    def _complete(self, identity: Identity, claims: Mapping[str, Any]) -> Identity:
        try:
            return self._lookup.complete(identity)
        except UnknownUser:
            # A service account may be let in without a domain, but its project can make as many as it likes.
            if self._creator is None or _is_service(identity.email) or not self._is_at_home(claims.get("hd")):
                raise
        self._creator.create(identity, claims)
        return self._lookup.complete(identity)

    def _is_at_home(self, hosted_domain: object) -> bool:
        # `hd`, never the domain of the address: anybody can own a Google account with somebody's address.
        return isinstance(hosted_domain, str) and hosted_domain.lower() in self._domains

    def _check_domain(self, hosted_domain: object, email: str, is_service: bool) -> None:
        if not self._domains or (is_service and email in self._service_accounts):
            return
        if not self._is_at_home(hosted_domain):
            raise NotPermitted("hd: missing, or none of [google_openid] hosted_domains")


def _google_in(token: str) -> str:
    """Return the name of Google that a JWT claims as its issuer; "" for any other token."""
    try:
        issuer = read_unverified(token).get("iss")
    except InvalidToken:
        return ""
    return issuer if isinstance(issuer, str) and issuer in ISSUERS else ""


def _is_service(email: str) -> bool:
    return email.lower().endswith(_SERVICE_ACCOUNT)


init_app, requires_authentication = airflow2_contract("google_openid", GoogleOpenIdBackend)


def create_client_session() -> Any:
    """Return a `requests.Session` that shows an ID token of the client's own service account, and renews it.

    The token is for the first `[google_openid] audience`. The account is that of Google's application default
    credentials: the key file that `GOOGLE_APPLICATION_CREDENTIALS` names, or the machine's own account at Google.

    Raises:
        ConfigError: google-auth is not installed, no audience is set, or there are no such credentials.
    """
    try:
        # Only a client needs them.
        id_token = importlib.import_module("google.oauth2.id_token")
        transport = importlib.import_module("google.auth.transport.requests")
        errors = importlib.import_module("google.auth.exceptions")
    except ImportError as exc:
        raise ConfigError(
            "google_openid: a client needs google-auth and requests; install compat_auth with its extra 'google-client'"
        ) from exc
    audience = load_settings().google_openid.audience
    if not audience:
        raise ConfigError("[google_openid] audience: missing; a client asks for a token for it")
    try:
        return transport.AuthorizedSession(id_token.fetch_id_token_credentials(audience[0]))
    except errors.DefaultCredentialsError as exc:
        raise ConfigError(
            "google_openid: a client needs Google's application default credentials; set GOOGLE_APPLICATION_CREDENTIALS to "
            "a service account's key file"
        ) from exc
