"""Airflow's active auth manager: a directory of its users and their passwords, and the maker of its tokens.

Everything goes through the manager itself, so its own settings hold: LDAP, a security manager of the site's, any database.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import hmac
import importlib
import inspect
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, Literal, cast

import flask
from flask import Flask
from jwt import InvalidTokenError
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from compat_auth.config import Settings
from compat_auth.directory import DirectoryUser, PasswordAccepted
from compat_auth.errors import BackendUnavailable, ConfigError, InvalidToken, NoSuchUser
from compat_auth.identity import Identity, Token
from compat_auth.store.tables.denylist import IssuedToken
from compat_auth.tokens.jose.unverified_claims import read_payload

# Airflow asks its database, and where trusted_jwks_url is set, whoever is there.
_ANSWER_S = 10.0
_GATEWAY = 'put the gateway in front of Airflow, with [token] strategy = "exchange"'
_WITHOUT_PASSWORDS = "nothing can take passwords for it, the gateway neither"
_CREDENTIALS = frozenset(("authorization", "cookie"))
_REVOKED_TOKENS = "airflow.models.revoked_token"
_SIMPLE_USER = "airflow.api_fastapi.auth.managers.simple.user"
_FAB_SESSIONS = "airflow.providers.fab.www.extensions.init_session"


class AuthManager(ABC):
    """Users of Airflow's own auth manager, asked in its own process. Any thread may call.

    Attributes:
        name: As a directory.
        profile: What its tokens say.
    """

    name = "auth_manager"
    needs: tuple[str, ...] = ("the plugin inside Airflow 3",)
    profile: Literal["airflow-fab", "airflow-simple"]

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> AuthManager:
        """Return the manager that is active in this process.

        Raises:
            ConfigError: This process is not Airflow's API server, or its manager is of another kind.
        """
        del settings
        return active_auth_manager()

    @abstractmethod
    def find(self, username: str) -> DirectoryUser | None:
        """Return the user of that name; see `UserDirectory.find`."""

    @abstractmethod
    def check(self, username: str, password: str) -> PasswordAccepted | None:
        """Return the user when the password is right; see `PasswordDirectory.check`."""

    @abstractmethod
    def mint(self, identity: Identity, lifetime_s: int, *, for_cookie: bool = False) -> str:
        """Return a token of Airflow's own that speaks for the identity.

        Args:
            identity: Whom it is to speak for.
            lifetime_s: In seconds.
            for_cookie: It becomes the login cookie of Airflow's pages, and no Bearer.

        Raises:
            NoSuchUser: The manager has no such user.
        """

    def open(self) -> None:
        """Learn which event loop Airflow runs on; called on it."""
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """Ask nothing more on the loop."""
        self._loop = None

    def read(self, token: str) -> Mapping[str, Any]:
        """Return the claims of a JWT that is good for Airflow now; not to be called on its event loop.

        Raises:
            InvalidToken: Airflow would refuse it.
            BackendUnavailable: Airflow gave no answer.
        """
        try:
            self._ask_on_loop(token)
        except InvalidTokenError as exc:
            raise InvalidToken(f"Airflow refuses it: {exc}") from None
        return read_payload(token) or {}

    def log_out(self, token: str) -> None:
        """Have Airflow write down that a token of its is revoked, in `revoked_token`; before 3.2 there is none."""
        revoke = getattr(self._manager, "revoke_token", None)
        if revoke is not None:
            revoke(token)

    def revoke_issued(self, given: IssuedToken) -> None:
        """Have Airflow write it down of a token that is not at hand, by its name; see `log_out`.

        Raises:
            BackendUnavailable: Airflow's database could not be asked.
        """
        try:
            revoked = importlib.import_module(_REVOKED_TOKENS).RevokedToken
        except ImportError:
            return
        try:
            revoked.revoke(given.jti, datetime.fromtimestamp(given.expires, tz=timezone.utc))
        except SQLAlchemyError as exc:
            raise BackendUnavailable(
                f"auth_manager: Airflow's database cannot be asked ({type(exc).__name__})"
            ) from exc

    def _ask_on_loop(self, token: str) -> None:
        if self._loop is None:
            raise BackendUnavailable("auth_manager: the API server is starting or ending")
        # On the loop on which Airflow itself asks: its client of a JWKS URL belongs there.
        asked = asyncio.run_coroutine_threadsafe(self._manager.get_user_from_token(token), self._loop)
        try:
            asked.result(_ANSWER_S)
        except (SQLAlchemyError, concurrent.futures.TimeoutError) as exc:
            asked.cancel()
            raise BackendUnavailable(f"auth_manager: no answer about a token ({type(exc).__name__})") from exc

    def _sign(self, user: Any, lifetime_s: int, *, for_cookie: bool) -> str:
        # Since 3.4 a Bearer may have to carry what a browser keeps in other cookies.
        for_api = None if for_cookie else getattr(self._manager, "generate_api_jwt", None)
        return str((for_api or self._manager.generate_jwt)(user, expiration_time_in_seconds=lifetime_s))

    def token(self, identity: Identity, lifetime_s: int, *, for_cookie: bool = False) -> Token:
        """Return what `mint` makes, with its end."""
        # Before it is made: by our reckoning it may end sooner, never later.
        expires_at = int(time.time()) + lifetime_s
        return Token(self.mint(identity, lifetime_s, for_cookie=for_cookie), expires_at)


class FabManager(AuthManager):
    """FabAuthManager: users in Airflow's database, passwords there or in LDAP.

    Attributes:
        flask_app: The manager's own Flask app.
    """

    profile = "airflow-fab"

    def __init__(self, manager: Any) -> None:
        super().__init__(manager)
        self.flask_app: Flask = manager.flask_app

    def find(self, username: str) -> DirectoryUser | None:
        """Return the user of that name, else of that e-mail address, active or not; None if unknown.

        Raises:
            BackendUnavailable: Airflow's database could not be asked.
        """
        with self._asking() as security:
            model = security.user_model
            for matches in (func.lower(model.username) == func.lower(username), model.email == username):
                found = security.session.scalars(select(model).where(matches)).all()
                if len(found) > 1:
                    # Nobody can say which of them it is, so it is nobody.
                    return DirectoryUser(username, active=False)
                if found:
                    return _describe(found[0])
        return None

    def check(self, username: str, password: str) -> PasswordAccepted | None:
        """Return the user when FAB itself accepts the password; None when it does not.

        Raises:
            BackendUnavailable: Airflow's database could not be asked.
        """
        if not username or not password:
            return None
        # Before the context of FAB's own app hides the request's.
        headers = _headers()
        with self._asking() as security:
            user = self._manager.create_token(headers=headers, body={"username": username, "password": password})
            if user:
                return PasswordAccepted(_describe(user))
            # FAB says no, too, where it could not ask.
            security.session.scalar(select(1))
        return None

    def mint(self, identity: Identity, lifetime_s: int, *, for_cookie: bool = False) -> str:
        """Return a token for the user of that number; see `AuthManager.mint`."""
        with self._asking() as security:
            user = security.session.get(security.user_model, int(identity.upstream_id or 0))
            if user is None or not user.is_active:
                raise NoSuchUser(f"{identity.username!r} (from {identity.backend}) is no active user of Airflow")
            return self._sign(user, lifetime_s, for_cookie=for_cookie)

    def end_old_sessions(self) -> None:
        """Hold sessions to `[fab] session_max_lifetime_minutes`, which FAB looks at before its own pages only."""
        try:
            left_s = importlib.import_module(_FAB_SESSIONS).get_remaining_session_lifetime
        except (ImportError, AttributeError):
            return  # an older FAB has no such limit
        logins = cast("Any", self.flask_app).login_manager
        load = logins._user_callback  # noqa: SLF001  # flask-login gives no other way to ask the loader in charge

        def load_unless_over(key: str) -> Any:
            left = left_s()
            return None if left is not None and left < 0 else load(key)

        logins.user_loader(load_unless_over)

    @contextmanager
    def _asking(self) -> Generator[Any]:
        """Yield FAB's security manager; the block's end gives the database connection back."""
        try:
            with self.flask_app.app_context():
                yield self._manager.security_manager
        except SQLAlchemyError as exc:
            raise BackendUnavailable(
                f"auth_manager: Airflow's database cannot be asked ({type(exc).__name__})"
            ) from exc


class SimpleManager(AuthManager):
    """SimpleAuthManager: users in `[core] simple_auth_manager_users`, passwords in a file."""

    profile = "airflow-simple"

    def find(self, username: str) -> DirectoryUser | None:
        """Return the user of exactly that name; None if unknown."""
        user = self._user(username)
        return None if user is None else DirectoryUser(username, roles=(str(user.role),) if user.role else ())

    def check(self, username: str, password: str) -> PasswordAccepted | None:
        """Return the user when this is the password in Airflow's file; None when it is not.

        Raises:
            BackendUnavailable: The file could not be read.
        """
        try:
            expected = self._passwords().get(username) or ""
        except (OSError, ValueError) as exc:
            raise BackendUnavailable(f"auth_manager: the file of passwords cannot be read ({exc})") from exc
        same = hmac.compare_digest(expected.encode(), password.encode("utf-8", "surrogatepass"))
        user = self.find(username)
        return PasswordAccepted(user) if same and expected and user is not None else None

    def mint(self, identity: Identity, lifetime_s: int, *, for_cookie: bool = False) -> str:
        """Return a token for the user of that name; see `AuthManager.mint`."""
        user = self._user(identity.username)
        if user is None:
            raise NoSuchUser(f"{identity.username!r} (from {identity.backend}) is not in simple_auth_manager_users")
        return self._sign(user, lifetime_s, for_cookie=for_cookie)

    def _passwords(self) -> dict[str, str]:
        read = self._manager.get_passwords
        # 3.0 and 3.1 want to be told the users.
        wants_users = bool(inspect.signature(read).parameters)
        return cast("dict[str, str]", read(self._manager.get_users()) if wants_users else read())

    def _user(self, username: str) -> Any:
        return next((user for user in map(_as_object, self._manager.get_users()) if user.username == username), None)


def active_auth_manager() -> AuthManager:
    """Return the manager that Airflow's API server has made in this process.

    Raises:
        ConfigError: There is none, or it is of another kind.
    """
    try:
        manager = importlib.import_module("airflow.api_fastapi.app").get_auth_manager()
    except (ImportError, RuntimeError) as exc:
        raise ConfigError('directory "auth_manager": only inside the API server of Airflow 3') from exc
    kinds = {kind.__name__ for kind in type(manager).__mro__}
    if "FabAuthManager" in kinds:
        return FabManager(manager)
    if "SimpleAuthManager" in kinds:
        return SimpleManager(manager)
    raise ConfigError(
        f"[core] auth_manager: {type(manager).__name__}: only FabAuthManager and SimpleAuthManager are known; "
        f"{_WITHOUT_PASSWORDS if 'AwsAuthManager' in kinds else _GATEWAY}; set [compat_auth] enabled = False"
    )


def _headers() -> dict[str, str]:
    """Return the request's headers as FAB's own view gives them to `create_token`, which a site may override.

    Without Authorization and Cookie: the password that is checked is in the body, and nothing else may speak for it.
    """
    if not flask.has_request_context():
        return {}
    return {name.lower(): value for name, value in flask.request.headers if name.lower() not in _CREDENTIALS}


def _as_object(user: Any) -> Any:
    """Return a user as the manager signs for it: 3.0 and 3.1 list users of SimpleAuthManager as dictionaries."""
    if not isinstance(user, dict):
        return user
    return importlib.import_module(_SIMPLE_USER).SimpleAuthManagerUser(**user)


def _describe(user: Any) -> DirectoryUser:
    return DirectoryUser(
        user.username,
        active=user.active is True,
        email=user.email or "",
        roles=tuple(sorted(role.name for role in user.roles)),
        upstream_id=str(user.id),
    )
