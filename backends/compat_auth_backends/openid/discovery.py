"""The endpoints that an issuer publishes (OpenID Connect Discovery 1.0)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from compat_auth.config import OidcIssuerSettings
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.openid import Endpoint, Fetched, FetchedDocument, is_list, parse_object, ttl_of

WELL_KNOWN = "/.well-known/openid-configuration"
# Member of the document, and the setting that takes its place.
_SETTINGS = {
    "jwks_uri": "jwks_url",
    "introspection_endpoint": "introspection",
    "userinfo_endpoint": "userinfo",
    "authorization_endpoint": "authorization_url",
    "token_endpoint": "token_url",
}


@dataclass(frozen=True, slots=True)
class _Description:
    """The used members of a discovery document: endpoints on the issuer's own host, and announced features."""

    endpoints: Mapping[str, Endpoint] = field(default_factory=dict[str, Endpoint])
    promises: frozenset[str] = frozenset()
    client_authentication: tuple[str, ...] = ()


class Discovery:
    """The endpoints of one issuer: configured, else discovered at first use. Any thread may call.

    Args:
        settings: The issuer's.
        where: The issuer's name in errors, such as `oidc.issuers[0]`.

    Raises:
        ConfigError: A URL is not allowed.
    """

    def __init__(self, settings: OidcIssuerSettings, where: str) -> None:
        self._issuer = settings.issuer
        self._where = where
        self._ca_file = settings.ca_file
        configured = {
            "jwks_uri": settings.jwks_url,
            "introspection_endpoint": settings.introspection,
            "userinfo_endpoint": settings.userinfo,
            "authorization_endpoint": settings.authorization_url or bool(settings.sign_in),
            "token_endpoint": settings.token_url or bool(settings.sign_in),
        }
        self._configured = {
            member: Endpoint.parse(url, where=f"{where}.{_SETTINGS[member]}", ca_file=settings.ca_file)
            for member, url in configured.items()
            # With a key id in it, it is one address for each key.
            if isinstance(url, str) and url and not (member == "jwks_uri" and "{kid}" in url)
        }
        wanted = {"jwks_uri", *(member for member, value in configured.items() if value)}
        # An issuer need not be a URL that we can ask, where all of its endpoints are configured.
        self._well_known: Endpoint | None = None
        if not wanted <= self._configured.keys() and "{kid}" not in settings.jwks_url:
            self._well_known = Endpoint.parse(
                settings.issuer.rstrip("/") + WELL_KNOWN, where=f"{where}.issuer", ca_file=settings.ca_file
            )
        self._document: FetchedDocument[_Description] = FetchedDocument(f"discovery of {settings.issuer}", self._fetch)

    def endpoint(self, member: str) -> Endpoint:
        """Return the endpoint that a member of the discovery document names.

        Raises:
            BackendUnavailable: The document could not be fetched, is another issuer's, or does not name it.
        """
        configured = self._configured.get(member)
        if configured is not None:
            return configured
        found = self._document.current().endpoints.get(member)
        if found is None:
            raise BackendUnavailable(
                f"{self._where}: the discovery document names no {member} on the issuer's own host; "
                f"set {_SETTINGS[member]} to its URL"
            )
        return found

    def promises(self, member: str) -> bool:
        """Return whether the issuer announces a feature; false if all its endpoints are configured.

        Raises:
            BackendUnavailable: The document could not be fetched, or is another issuer's.
        """
        return member in self._document.current().promises

    def takes_basic(self) -> bool:
        """Return whether our client may send its secret by HTTP Basic, which is the default (Discovery 1.0 section 3).

        Raises:
            BackendUnavailable: The document could not be fetched, or is another issuer's.
        """
        ways = self._document.current().client_authentication
        return not ways or "client_secret_basic" in ways or "client_secret_post" not in ways

    def _fetch(self) -> Fetched[_Description]:
        if self._well_known is None:
            return Fetched(_Description())
        answer = self._well_known.get()
        if answer.status != 200:
            raise BackendUnavailable(f"{self._well_known.url}: answered {answer.status}")
        try:
            document = parse_object(answer.body)
        except ValueError as exc:
            raise BackendUnavailable(f"{self._well_known.url}: not JSON that has one reading: {exc}") from None
        # Discovery 4.3: exactly, or somebody else's keys would vouch for this issuer's tokens.
        if document.get("issuer") != self._issuer:
            raise BackendUnavailable(f"{self._well_known.url}: describes an issuer that is not {self._issuer!r}")
        found = {member: self._own(document.get(member), member) for member in _SETTINGS}
        ways = document.get("token_endpoint_auth_methods_supported")
        description = _Description(
            {member: own for member, own in found.items() if own is not None},
            frozenset(member for member, value in document.items() if value is True),
            tuple(way for way in ways if isinstance(way, str)) if is_list(ways) else (),
        )
        return Fetched(description, ttl_of(answer.headers))

    def _own(self, url: object, member: str) -> Endpoint | None:
        if not isinstance(url, str) or self._well_known is None:
            return None
        try:
            endpoint = Endpoint.parse(url, where=member, ca_file=self._ca_file)
        except ConfigError:
            return None
        # A document that was tampered with must not send our client's secret, or a user's token, elsewhere.
        return endpoint if endpoint.origin == self._well_known.origin else None
