"""The base of Airflow's auth managers: each verifies and revokes tokens, and some sign tokens for a name."""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from jwt import InvalidTokenError
from sqlalchemy.exc import SQLAlchemyError

from compat_auth.directory import DirectoryUser, PasswordAccepted
from compat_auth.errors import BackendUnavailable, InvalidToken, NotPermitted
from compat_auth.identity import Identity, Token
from compat_auth.store.tables.denylist import IssuedToken
from compat_auth.tokens.jose.unverified_claims import read_payload

# Airflow reads its database, and fetches trusted_jwks_url if it is set.
ANSWER_S = 10.0
_REVOKED_TOKENS = "airflow.models.revoked_token"


class AuthManager(ABC):
    """Airflow's own auth manager, in Airflow's process. Any thread may call it.

    Attributes:
        name: Name of the directory.
        profile: The upstream profile that matches its tokens.
    """

    name = "auth_manager"
    needs: tuple[str, ...] = ("the plugin inside Airflow 3",)
    profile: Literal["airflow-fab", "airflow-simple"]
    knows_names = True
    """It finds a user by name, and signs a token for one."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self._loop: asyncio.AbstractEventLoop | None = None

    @abstractmethod
    def find(self, username: str) -> DirectoryUser | None:
        """Return the user of this name; see `UserDirectory.find`."""

    @abstractmethod
    def check(self, username: str, password: str) -> PasswordAccepted | None:
        """Return the user if the password is right; see `PasswordDirectory.check`."""

    @abstractmethod
    def mint(self, identity: Identity, lifetime_s: int, *, for_cookie: bool = False) -> str:
        """Return one of Airflow's own tokens for the identity.

        Args:
            identity: The subject of the token.
            lifetime_s: In seconds.
            for_cookie: The token becomes the login cookie of Airflow's pages, not a Bearer token.

        Raises:
            NoSuchUser: The manager has no such user.
        """

    def log_in(self, username: str, password: str, lifetime_s: int) -> Token | None:
        """Return a token for whom the password is right, where the manager signs for no name; None otherwise.

        Raises:
            NotPermitted: The manager has no passwords.
            BackendUnavailable: The manager could not be asked.
        """
        del username, password, lifetime_s
        raise NotPermitted(f"auth_manager: {self.kind} has no login for passwords")

    @property
    def kind(self) -> str:
        """The name of the manager's class."""
        return type(self._manager).__name__

    def open(self) -> None:
        """Remember Airflow's event loop; call this on that loop."""
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """Use the loop no more."""
        self._loop = None

    def read(self, token: str) -> Mapping[str, Any]:
        """Return the claims of a JWT that Airflow accepts now; do not call this on Airflow's event loop.

        Raises:
            InvalidToken: Airflow rejects the token.
            BackendUnavailable: Airflow gave no answer.
        """
        try:
            self._ask_on_loop(token)
        except InvalidTokenError as exc:
            raise InvalidToken(f"Airflow rejects the token: {exc}") from None
        return read_payload(token) or {}

    def log_out(self, token: str) -> None:
        """Revoke one of Airflow's tokens in its table `revoked_token`; Airflow before 3.2 has none."""
        revoke = getattr(self._manager, "revoke_token", None)
        if revoke is not None:
            revoke(token)

    def accepts(self, token: str) -> bool:
        """Return whether Airflow accepts a token; see `Logout`."""
        try:
            self.read(token)
        except InvalidToken:
            return False
        return True

    def revoke_issued(self, issued: IssuedToken) -> None:
        """Revoke a token by its `jti`, without its text; see `log_out`.

        Raises:
            BackendUnavailable: Airflow's database is not available.
        """
        try:
            revoked = importlib.import_module(_REVOKED_TOKENS).RevokedToken
        except ImportError:
            return
        try:
            revoked.revoke(issued.jti, datetime.fromtimestamp(issued.expires, tz=UTC))
        except SQLAlchemyError as exc:
            raise BackendUnavailable(
                f"auth_manager: Airflow's database cannot be asked ({type(exc).__name__})"
            ) from exc

    def _ask_on_loop(self, token: str) -> None:
        if self._loop is None:
            raise BackendUnavailable("auth_manager: the API server is starting or stopping")
        # On Airflow's own loop: its JWKS client belongs to that loop.
        answer = asyncio.run_coroutine_threadsafe(self._manager.get_user_from_token(token), self._loop)
        try:
            answer.result(ANSWER_S)
        except (SQLAlchemyError, concurrent.futures.TimeoutError) as exc:
            answer.cancel()
            raise BackendUnavailable(f"auth_manager: no answer about a token ({type(exc).__name__})") from exc

    def _sign(self, user: Any, lifetime_s: int, *, for_cookie: bool) -> str:
        # Since 3.4 a Bearer token may have to carry what browsers have in other cookies.
        for_api = None if for_cookie else getattr(self._manager, "generate_api_jwt", None)
        return str((for_api or self._manager.generate_jwt)(user, expiration_time_in_seconds=lifetime_s))

    def token(self, identity: Identity, lifetime_s: int, *, for_cookie: bool = False) -> Token:
        """Return a minted token with its expiry."""
        # Before it is minted: our expiry may be earlier than the real one, never later.
        expires_at = int(time.time()) + lifetime_s
        return Token(self.mint(identity, lifetime_s, for_cookie=for_cookie), expires_at)
