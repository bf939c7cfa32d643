"""Personal tokens, which users make for scripts, as a Bearer or as the password of HTTP Basic.

The prefix identifies a token, so this backend decides about it before any other backend is asked; none is asked later.
With Basic, the user name is the token's owner, or `__token__` if a script does not know its owner.
"""

from __future__ import annotations

from typing import ClassVar

import flask

from compat_auth.airflow2 import airflow2_contract
from compat_auth.backend import (
    Backend,
    Basic,
    Bearer,
    Credential,
    CredentialKind,
    Outcome,
    Reject,
    Skip,
)
from compat_auth.client_certificates import can_see_certificates, shown_certificate
from compat_auth.config import Settings
from compat_auth.credentials import looks_like_personal_token
from compat_auth.errors import InvalidToken, NotAuthenticated
from compat_auth.facts import answers_without_flask, request_facts
from compat_auth.issued import ANY_USER, PersonalTokenVerifier
from compat_auth.outcome import ONLY_ASKED_ABOUT, Accept
from compat_auth.peer import request_peer
from compat_auth_backends.connection.authority import Authority

CLIENT_AUTH = None


class PersonalTokenBackend(Backend):
    """Authenticates the owner of a personal token, with the token's limits.

    Args:
        settings: With `[personal_tokens]`, and the look-up of owners.

    Raises:
        ConfigError: No directory can tell whether an owner is active, or a file of `[client_certificate]` cannot be read.
    """

    name = "personal_token"
    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Basic, Bearer})
    needs: ClassVar[tuple[str, ...]] = ("[lookup] directories, or a directory of [basic_auth] that knows users",)
    decides_alone: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        self._verifier = PersonalTokenVerifier(settings)
        self._realm = settings.basic_auth.realm
        self._certificates = settings.client_certificate
        ca_file, crl_file = self._certificates.ca_file, self._certificates.crl_file
        self._authority = Authority(ca_file, crl_file) if ca_file and can_see_certificates(settings) else None

    @classmethod
    def from_settings(cls, settings: Settings) -> PersonalTokenBackend:
        """Return the backend."""
        return cls(settings)

    def init_app(self, app: flask.Flask) -> None:
        """Give the app its personal tokens.

        Raises:
            ConfigError: A pepper, a directory or the database's URL cannot work, or owners cannot be looked up.
        """
        self._verifier.init_app(app)

    def authenticate(self, credential: Credential) -> Outcome:
        """Accept the owner of a valid token, reject any other token, skip other credentials.

        Raises:
            BackendUnavailable: The store or a directory could not be asked.
            TooManyRequests: Too many wrong tokens have come from this address.
        """
        match credential:
            case Bearer(text):
                username = ANY_USER
            case Basic(username, text):
                pass
            case _:
                return Skip()
        if looks_like_personal_token(username):
            # Nobody has such a name, and a directory that is asked about it may write it down.
            return Reject("a personal token stands where the user name belongs")
        if not looks_like_personal_token(text):
            return Skip()
        try:
            accepted = self._verifier.verify(text, username, backend=self.name)
            self._require_good_certificate(accepted)
        except (NotAuthenticated, InvalidToken) as error:
            # RFC 6750 3.1
            refusal = f'Bearer realm="{self._realm}", error="invalid_token"'
            return Reject(f"personal token {error}", challenges=(refusal,))
        return accepted

    def _require_good_certificate(self, accepted: Accept) -> None:
        """Raise unless the certificate to which a token is bound is good: chain, validity, purpose and revocation.

        Raises:
            InvalidToken: It is not.
            BackendUnavailable: The list of revoked certificates has ended, or cannot be read.
        """
        if self._authority is None or not accepted.identity.certificate or ONLY_ASKED_ABOUT in request_facts().environ:
            return
        shown = shown_certificate(self._certificates, request_peer())
        self._authority.verify(shown.certificates if shown is not None else ())

    def answers_without_flask(self) -> bool:
        """Return whether no directory of owners reads Flask's request."""
        return answers_without_flask(self._verifier)

    def may_claim(self, credential: Credential) -> bool:
        """Return whether the credential begins like a personal token."""
        match credential:
            case Bearer(text):
                return looks_like_personal_token(text)
            case Basic(username, text):
                return looks_like_personal_token(username) or looks_like_personal_token(text)
            case _:
                return True

    def refuse(self, credential: Credential, until: float) -> bool:
        """Revoke a valid token: its bearer may end it.

        Raises:
            BackendUnavailable: The store could not be asked.
        """
        del until
        return isinstance(credential, Bearer) and self._verifier.revoke(credential.token)

    def probe(self) -> str:
        """Return how many tokens are active.

        Raises:
            BackendUnavailable: The store could not be asked.
            ConfigError: Owners cannot be looked up, or active tokens need a pepper that is not set.
        """
        return self._verifier.probe()

    def challenges(self) -> tuple[str, ...]:
        """Return the Bearer challenge (RFC 6750 section 3)."""
        return (f'Bearer realm="{self._realm}"',)


init_app, requires_authentication = airflow2_contract("personal_token", PersonalTokenBackend)
