"""Auth managers that we know only by their interface: Airflow verifies their tokens, and they sign for no name.

A manager of a site's own may have a method `find_user(username)` that returns one of its user objects, or None. Then
personal tokens, tickets and other credentials without a password work with it.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from typing import Any

from compat_auth.airflow.managers.base import AuthManager
from compat_auth.directory import DirectoryUser, PasswordAccepted
from compat_auth.errors import BackendUnavailable, NoSuchUser, NotPermitted
from compat_auth.identity import Identity, Token
from compat_auth.tokens.jose.unverified_claims import nested_ends, read_claimed, read_payload

logger = logging.getLogger(__name__)
_KEYCLOAK_TOKENS = "airflow.providers.keycloak.auth_manager.services.token"
_REFUSALS = (401, 403)
_LOGIN_S = 3600
_OWN_TOKENS = "bring a token of Airflow's own"
_WAYS = {
    "AwsAuthManager": "people log in by SAML and get a token at /auth/login/token",
    "KeycloakAuthManager": "bring a user name and password of Keycloak, or a token from Airflow's own /auth/token",
}


class OtherManager(AuthManager):
    """An auth manager of another kind."""

    profile = "airflow-simple"

    def __init__(self, manager: Any) -> None:
        super().__init__(manager)
        found = getattr(manager, "find_user", None)
        self._find_user: Callable[[str], Any] | None = found if callable(found) else None

    @property
    def knows_names(self) -> bool:  # type: ignore[override]  # the others know it before they are made
        """Whether the manager makes a user from a name."""
        return self._find_user is not None

    @property
    def way(self) -> str:
        """Another way in, for messages."""
        return next((way for kind in type(self._manager).__mro__ if (way := _WAYS.get(kind.__name__))), _OWN_TOKENS)

    def find(self, username: str) -> DirectoryUser | None:
        """Return the user of this name.

        Raises:
            NotPermitted: The manager makes no user from a name.
            BackendUnavailable: It failed.
        """
        return None if self._user(username) is None else DirectoryUser(username)

    def check(self, username: str, password: str) -> PasswordAccepted | None:
        """Raise: the interface of auth managers has no passwords.

        Raises:
            NotPermitted: Always.
        """
        del username, password
        raise NotPermitted(f"auth_manager: {self.kind} has no passwords that can be checked; {self.way}")

    def mint(self, identity: Identity, lifetime_s: int, *, for_cookie: bool = False) -> str:
        """Return a token for the user with this name; see `AuthManager.mint`."""
        user = self._user(identity.username)
        if user is None:
            raise NoSuchUser(f"{identity.username!r} (from {identity.backend}) is unknown to {self.kind}")
        return self._sign(user, lifetime_s, for_cookie=for_cookie)

    def _user(self, username: str) -> Any:
        if self._find_user is None:
            # The caller gets the reason: this credential cannot work here, another kind can.
            raise NotPermitted(
                f"auth_manager: {self.kind} makes no user from a name, so no token can be signed for one; {self.way}"
            )
        try:
            return self._find_user(username)
        except Exception as exc:
            raise BackendUnavailable(f"auth_manager: find_user raised {type(exc).__name__}") from exc


class KeycloakManager(OtherManager):
    """KeycloakAuthManager: Keycloak checks the password, and its tokens travel in Airflow's."""

    def check(self, username: str, password: str) -> PasswordAccepted | None:
        """Return the user if Keycloak accepts the password; None otherwise.

        Raises:
            BackendUnavailable: Keycloak could not be asked.
        """
        token = self.log_in(username, password, _LOGIN_S)
        name = (read_payload(token.value) or {}).get("name") if token is not None else None
        if token is None or not isinstance(name, str) or not name:
            return None
        return PasswordAccepted(DirectoryUser(name), token)

    def log_in(self, username: str, password: str, lifetime_s: int) -> Token | None:
        """Return Airflow's token for a user and password of Keycloak; see `AuthManager.log_in`."""
        if not username or not password:
            return None
        try:
            create = importlib.import_module(_KEYCLOAK_TOKENS).create_token_for
            value = str(create(username, password, expiration_time_in_seconds=lifetime_s))
        except Exception as exc:
            # FastAPI's, which the provider raises for a password that is wrong.
            if getattr(exc, "status_code", None) in _REFUSALS:
                return None
            raise BackendUnavailable(f"auth_manager: Keycloak cannot be asked ({type(exc).__name__})") from exc
        claimed = read_claimed(value)
        ends = (claimed.expires if claimed is not None else None, *nested_ends(value))
        known = [end for end in ends if end is not None]
        if not known:
            raise BackendUnavailable("auth_manager: KeycloakAuthManager has made a token without an end")
        return Token(value, min(known))
