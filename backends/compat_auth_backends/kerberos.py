"""Kerberos tickets by SPNEGO (RFC 4559): browsers and programs that have a ticket of the realm need no password.

A token is accepted once: the workers of a host share MIT Kerberos' replay cache, and no decision about a token is
reused. The exchange has one leg: a client that wants another (NTLM first, for example) is refused and may start again.
Channel bindings are not required, because TLS ends in front of us; a token that has some is accepted anyway.
"""

from __future__ import annotations

import base64
import importlib
from typing import Any, ClassVar

from compat_auth.airflow2 import airflow2_contract
from compat_auth.backend import Backend, CredentialKind
from compat_auth.config import Settings
from compat_auth.credentials import Credential, Negotiate
from compat_auth.errors import ConfigError
from compat_auth.facts import answers_without_flask
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth.sessions import request_forgery
from compat_auth.sign_in import CredentialSignIn, SignIn
from compat_auth.users import UserLookup
from compat_auth_backends.kerberos_acceptor import Acceptor, TokenRefused
from compat_auth_backends.kerberos_names import Principals

_NTLM = b"NTLMSSP\x00"  # MS-NLMP section 2.2.1


class KerberosBackend(Backend):
    """Accepts the user that a ticket of the realm names, if that user is known and active."""

    name = "kerberos"
    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Negotiate})
    needs: ClassVar[tuple[str, ...]] = ("[kerberos] keytab", "the extra kerberos")
    # A second request with the same token is a replay, not the same question: it must be asked on its own.
    depends_on_credential_only: ClassVar[bool] = False

    def __init__(
        self, acceptor: Acceptor, principals: Principals, lookup: UserLookup, *, sign_in: bool = False
    ) -> None:
        self._acceptor = acceptor
        self._sign_in = sign_in
        self._principals = principals
        self._lookup = lookup

    @classmethod
    def from_settings(cls, settings: Settings) -> KerberosBackend:
        """Return the backend of `[kerberos]`.

        Raises:
            ConfigError: The keytab, the mapping or a directory of the look-up cannot be used.
        """
        return cls(
            Acceptor.from_settings(settings),
            Principals.from_settings(settings),
            UserLookup.from_settings(settings),
            sign_in=settings.kerberos.sign_in,
        )

    def authenticate(self, credential: Credential) -> Outcome:
        """Accept the user that a fresh ticket names; see `Backend.authenticate`."""
        if not isinstance(credential, Negotiate):
            return Skip()
        if refusal := _unacceptable(credential):
            return refusal
        try:
            ticket = self._acceptor.accept(credential.token)
        except TokenRefused as refused:
            return Reject(f"kerberos: {refused}")
        if not self._principals.admit(ticket.principal, own_realm=ticket.service_realm):
            return Reject(f"kerberos: {ticket.principal!r} is not of an allowed realm")
        username = self._principals.username(ticket.principal)
        if username is None:
            return Reject(f"kerberos: name_mapping has no user name for {ticket.principal!r}", 403, vouched=True)
        identity = Identity(username, self.name, subject=ticket.principal, expires_at=ticket.ends_at)
        reply = base64.b64encode(ticket.reply).decode("ascii")
        headers = (("WWW-Authenticate", f"Negotiate {reply}"),) if reply else ()
        return self._lookup.accept(Accept(identity, headers))

    def answers_without_flask(self) -> bool:
        """Return whether no directory of the look-up reads Flask's request."""
        return answers_without_flask(self._lookup)

    def challenges(self) -> tuple[str, ...]:
        """Return the Negotiate challenge (RFC 4559 section 4.1)."""
        return ("Negotiate",)

    def sign_ins(self) -> tuple[SignIn, ...]:
        """Return the way to begin a session with a ticket, if `sign_in` is set."""
        return (CredentialSignIn(self.name, "Log in with Kerberos", "Negotiate"),) if self._sign_in else ()


def _unacceptable(credential: Negotiate) -> Reject | None:
    # A browser sends a ticket for any site's page, as it sends cookies; programs send no origin.
    if forgery := request_forgery(None):
        return Reject(f"kerberos: {forgery}", status=403)
    if credential.token.startswith(_NTLM):
        return Reject("kerberos: an NTLM token; the client has no ticket, or does not trust this host with one")
    return None


init_app, requires_authentication = airflow2_contract("kerberos", KerberosBackend)


def create_client_session() -> Any:
    """Return a `requests.Session` that sends the caller's ticket and authenticates the server (mutual authentication).

    Raises:
        ConfigError: requests-kerberos is not installed.
    """
    session = importlib.import_module("requests").Session()
    session.auth = _client_auth()
    return session


def _client_auth() -> Any:
    # Only a client needs it, and it takes a compiler to install.
    try:
        kerberos = importlib.import_module("requests_kerberos")
    except ImportError as exc:
        raise ConfigError(
            "kerberos: a client needs requests-kerberos; install compat_auth with its extra 'kerberos-client' (README: Install)"
        ) from exc
    return kerberos.HTTPKerberosAuth(mutual_authentication=kerberos.REQUIRED)


def __getattr__(name: str) -> Any:
    if name == "CLIENT_AUTH":
        return _client_auth()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
