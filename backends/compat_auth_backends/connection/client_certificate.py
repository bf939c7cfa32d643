"""A client's certificate: shown in TLS to `serve` itself, or to a front proxy that forwards it.

A certificate is public: a proxy that forwards one vouches that its client has the key. So what is forwarded is believed
from the proxies that are named for it alone, and the certificate is verified again here, down to the revocation list.
"""

from __future__ import annotations

from typing import ClassVar

from compat_auth.airflow2 import airflow2_contract
from compat_auth.backend import Backend, CredentialKind
from compat_auth.client_certificates import Forwarded, Names, shown_certificate
from compat_auth.config import ClientCertificateSettings, Settings
from compat_auth.credentials import Absent, Credential
from compat_auth.errors import ConfigError, InvalidToken, NoSuchUser
from compat_auth.facts import answers_without_flask
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth.peer import request_peer
from compat_auth.users import UserLookup
from compat_auth_backends.connection.accounts import Accounts
from compat_auth_backends.connection.authority import Authority
from compat_auth_backends.connection.names import names_of
from compat_auth_backends.connection.remote_user import require_trusted

CLIENT_AUTH = None


class ClientCertificateBackend(Backend):
    """Vouches for the account that the rules give to a certificate.

    Args:
        settings: Of the backend.
        lookup: Completes the account.
        authority: Verifies certificates; None: what a proxy says of them is believed.
    """

    name = "client_certificate"
    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Absent})
    needs: ClassVar[tuple[str, ...]] = ("[client_certificate] ca_file", "[[client_certificate.accounts]]")
    depends_on_credential_only: ClassVar[bool] = False
    reads_peer: ClassVar[bool] = True
    skips_silent_peers: ClassVar[bool] = True

    def __init__(self, settings: ClientCertificateSettings, lookup: UserLookup, authority: Authority | None) -> None:
        self._settings = settings
        self._lookup = lookup
        self._authority = authority
        self._accounts = Accounts(settings.accounts)

    @classmethod
    def from_settings(cls, settings: Settings) -> ClientCertificateBackend:
        """Return the backend of `[client_certificate]`.

        Raises:
            ConfigError: The settings do not fit together, or a file cannot be read.
        """
        section = settings.client_certificate
        _check(section, settings)
        needs_authority = bool(section.ca_file) or not section.believe_proxies or bool(settings.serve.tls_cert)
        authority = Authority(section.ca_file, section.crl_file) if needs_authority else None
        return cls(section, UserLookup.from_settings(settings), authority)

    def authenticate(self, credential: Credential) -> Outcome:
        """Accept the account of a good certificate, reject any other certificate, skip a request without one.

        Raises:
            BackendUnavailable: The revocation list has ended, or the directory could not be asked.
        """
        if not isinstance(credential, Absent):
            return Skip()
        try:
            shown = shown_certificate(self._settings, request_peer())
            if shown is None:
                return Skip()
            return self._admit(shown)
        except InvalidToken as error:
            return Reject(f"client_certificate: {error}")

    def answers_without_flask(self) -> bool:
        """Return whether no directory of the look-up reads Flask's request."""
        return answers_without_flask(self._lookup)

    def probe(self) -> str:
        """Return a summary of the authorities.

        Raises:
            ConfigError: An authority's certificate has ended.
            BackendUnavailable: The revocation list has ended, or is another authority's.
        """
        return "what the proxies say of certificates" if self._authority is None else self._authority.probe()

    def _admit(self, shown: Forwarded) -> Outcome:
        names, ends_at = self._verified(shown)
        user, scopes = self._accounts.find(names)
        subject = names.uri[0] if len(names.uri) == 1 else names.subject
        identity = Identity(user, self.name, subject=subject or user, scopes=scopes, expires_at=ends_at)
        try:
            return Accept(self._lookup.complete(identity))
        except NoSuchUser as error:
            return Reject(str(error), status=error.status, vouched=True)

    def _verified(self, shown: Forwarded) -> tuple[Names, int | None]:
        if shown.certificates and self._authority is not None:
            certificate = self._authority.verify(shown.certificates)
            return names_of(certificate), int(certificate.not_valid_after_utc.timestamp())
        if shown.names is None or not self._settings.believe_proxies:
            raise InvalidToken(
                "the proxy sends no certificate, only what it says; let it send the certificate, or set believe_proxies"
            )
        return shown.names, None


def _check(section: ClientCertificateSettings, settings: Settings) -> None:
    if bool(section.proxies) != bool(section.forwarded):
        missing = "forwarded" if section.proxies else "proxies"
        raise ConfigError(f"client_certificate.{missing}: missing; proxies and forwarded belong together")
    if not section.proxies and not settings.serve.tls_cert:
        raise ConfigError(
            "client_certificate: nobody could show a certificate; set [serve] tls_cert and tls_key, or proxies and "
            "forwarded for a front proxy that forwards it"
        )
    if section.forwarded == "subject" and not section.believe_proxies:
        raise ConfigError(
            "client_certificate.forwarded: subject believes the proxy's word alone; set believe_proxies = true, or let "
            "the proxy forward the certificate"
        )
    if section.crl_file and not section.ca_file:
        raise ConfigError("client_certificate.crl_file: needs ca_file, which says whose lists are believed; set it")
    require_trusted(section.proxies, "client_certificate.proxies", settings)


init_app, requires_authentication = airflow2_contract("client_certificate", ClientCertificateBackend)
