"""Personal tokens: what a user has made for a script, as a Bearer or as the password of HTTP Basic.

A token is told by its prefix, so it is decided here, before any other backend is asked and with no way on to one. With
Basic, the user name is the token's owner, or `__token__` where a script does not know whose token it has.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar

import flask

from compat_auth.authn.airflow2.module import airflow2_contract
from compat_auth.authn.revocation_events import UNHEARD_S, RevocationEvents
from compat_auth.backend import Backend, CredentialKind
from compat_auth.config import Settings
from compat_auth.credentials import Basic, Bearer, Credential
from compat_auth.crypto.personal_token_format import looks_like_one
from compat_auth.errors import NoSuchToken, NotAuthenticated
from compat_auth.outcome import ONLY_ASKED_ABOUT, Accept, Outcome, Reject, Skip
from compat_auth.personal_tokens.expiry_notices import expiry_headers
from compat_auth.personal_tokens.service import PersonalTokens, no_upstream, personal_tokens_of

CLIENT_AUTH = None
ANY_USER = "__token__"


class PersonalTokenBackend(Backend):
    """Vouches for the owner of a personal token, limited as the token is.

    Args:
        settings: With `[personal_tokens]`, and where owners are looked up.

    Raises:
        ConfigError: No directory can tell whether an owner is active.
    """

    name = "personal_token"
    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Basic, Bearer})
    needs: ClassVar[tuple[str, ...]] = ("[lookup] directories, or a directory of [basic_auth] that knows users",)
    decides_alone: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._realm = settings.basic_auth.realm

    @classmethod
    def from_settings(cls, settings: Settings) -> PersonalTokenBackend:
        """Return the backend."""
        return cls(settings)

    def init_app(self, app: flask.Flask) -> None:
        """Give the app its personal tokens.

        Raises:
            ConfigError: A pepper, a directory or the database's URL cannot work, or owners cannot be looked up.
        """
        tokens = personal_tokens_of(app, self._settings)
        assert tokens is not None  # noqa: S101  # for the type checkers: there are settings
        tokens.owners.require_some()

    def authenticate(self, credential: Credential) -> Outcome:
        """Accept the owner of a token that works, reject any other token, skip what is none.

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
        if looks_like_one(username):
            # Nobody has such a name, and a directory that is asked about it may write it down.
            return Reject("a personal token stands where the user name belongs")
        if not looks_like_one(text):
            return Skip()
        tokens = personal_tokens_of(flask.current_app)
        assert tokens is not None  # noqa: S101  # for the type checkers: init_app has seen to it
        try:
            return self._accept(tokens, text, username)
        except NotAuthenticated as error:
            # RFC 6750 3.1
            refusal = f'Bearer realm="{self._realm}", error="invalid_token"'
            return Reject(f"personal token {error}", challenges=(refusal,))

    def refuse(self, credential: Credential, until: float) -> bool:
        """Revoke a token that works: who has it may say that it is to end.

        Raises:
            BackendUnavailable: The store could not be asked.
        """
        del until
        tokens = personal_tokens_of(flask.current_app)
        if tokens is None or not isinstance(credential, Bearer) or not looks_like_one(credential.token):
            return False
        try:
            tokens.revoke(tokens.recognition.find(credential.token), reason="revoked by its bearer")
        except (NotAuthenticated, NoSuchToken):
            return False
        return True

    def probe(self) -> str:
        """Return how many tokens are alive.

        Raises:
            BackendUnavailable: The store could not be asked.
            ConfigError: Owners cannot be looked up, or tokens that are alive need a pepper that is not set.
        """
        tokens = PersonalTokens.from_settings(self._settings, RevocationEvents(), revoke_upstream=no_upstream)
        tokens.owners.require_some()
        try:
            return tokens.recognition.probe()
        finally:
            tokens.rows.database.close()

    def challenges(self) -> tuple[str, ...]:
        """Return the invitation to a bearer token (RFC 6750 section 3)."""
        return (f'Bearer realm="{self._realm}"',)

    def _accept(self, tokens: PersonalTokens, text: str, username: str) -> Accept:
        token, owner = tokens.recognition.vouch(text, client=flask.request.remote_addr or "")
        if username not in (ANY_USER, owner.username):
            raise NotAuthenticated(f"{token.id}: belongs to another user than the one who is named")
        tokens.notices.ensure()
        request = flask.request
        # Else whoever asks about a token would be its last user, and its owner could not tell a thief from that.
        if ONLY_ASKED_ABOUT not in request.environ:
            agent = request.headers.get("User-Agent", "")
            tokens.uses.see(token.id, token.last_used, address=request.remote_addr or "", agent=agent)
        return Accept(
            dataclasses.replace(owner, backend=self.name),
            expiry_headers(token, tokens.now()),
            reusable_s=UNHEARD_S,
            used=functools.partial(tokens.uses.count, token.id),
        )


init_app, requires_authentication = airflow2_contract("personal_token", PersonalTokenBackend)
