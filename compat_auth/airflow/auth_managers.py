"""Airflow's active auth manager: a directory of its users and their passwords, and the issuer of its tokens.

Everything goes through the manager itself, so its own settings apply: LDAP, a site's own security manager, any database.
"""

from __future__ import annotations

import contextlib
import functools
import hmac
import importlib
import inspect
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import flask
from flask import Flask
from sqlalchemy import ColumnElement, Select, String, bindparam, func, select
from sqlalchemy.exc import SQLAlchemyError

from compat_auth.airflow.managers.base import AuthManager
from compat_auth.airflow.managers.other import KeycloakManager, OtherManager
from compat_auth.config import Settings
from compat_auth.directory import DirectoryUser, PasswordAccepted
from compat_auth.errors import BackendUnavailable, ConfigError, NoSuchUser
from compat_auth.identity import Identity

_CREDENTIALS = frozenset(("authorization", "cookie"))
_SIMPLE_USER = "airflow.api_fastapi.auth.managers.simple.user"
_FAB_SESSIONS = "airflow.providers.fab.www.extensions.init_session"


class ActiveManager(AuthManager):
    """The directory `auth_manager`: the active manager of this process, whatever its kind."""

    @classmethod
    def from_settings(cls, settings: Settings) -> AuthManager:
        """Return the active manager.

        Raises:
            ConfigError: This process is not Airflow's API server.
        """
        del settings
        return active_auth_manager()


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
        """Return the user with this name, else with this e-mail address, active or not; None if unknown.

        Raises:
            BackendUnavailable: Airflow's database is not available.
        """
        with self._security_manager() as security:
            for query in _queries(security.user_model):
                found = security.session.scalars(query, {"typed": username}).all()
                if len(found) > 1:
                    # Several users share the address: it identifies none of them.
                    return DirectoryUser(username, active=False)
                if found:
                    return _describe(found[0])
        return None

    def check(self, username: str, password: str) -> PasswordAccepted | None:
        """Return the user if FAB itself accepts the password; None otherwise.

        Raises:
            BackendUnavailable: Airflow's database is not available.
        """
        if not username or not password:
            return None
        # Read them before the context of FAB's own app hides the request's context.
        headers = _headers()
        with self._security_manager() as security:
            user = self._manager.create_token(headers=headers, body={"username": username, "password": password})
            if user:
                return PasswordAccepted(_describe(user))
            # FAB also says no when its source was not available.
            security.session.scalar(select(1))
        return None

    def mint(self, identity: Identity, lifetime_s: int, *, for_cookie: bool = False) -> str:
        """Return a token for the user with this id; see `AuthManager.mint`."""
        with self._security_manager() as security:
            user = security.session.get(security.user_model, int(identity.upstream_id or 0))
            if user is None or not user.is_active:
                raise NoSuchUser(f"{identity.username!r} (from {identity.backend}) is not an active user of Airflow")
            self._read_anew(user.id)
            return self._sign(user, lifetime_s, for_cookie=for_cookie)

    def _read_anew(self, user_id: int) -> None:
        """Have FAB read the user again, which it otherwise does every 30 s: a module may have given the user other roles."""
        cache = getattr(self._manager, "cache", None)
        if cache is not None:
            # It is FAB's, and has no lock; its own requests may take the entry away at the same moment.
            with contextlib.suppress(KeyError, RuntimeError):
                cache.pop(user_id, None)

    def end_old_sessions(self) -> None:
        """Enforce `[fab] session_max_lifetime_minutes`, which FAB checks only before its own pages."""
        try:
            left_s = importlib.import_module(_FAB_SESSIONS).get_remaining_session_lifetime
        except (ImportError, AttributeError):
            return  # an older FAB has no such limit
        logins = cast("Any", self.flask_app).login_manager
        load = logins._user_callback  # noqa: SLF001  # flask-login has no public way to get the current loader

        def load_unless_over(key: str) -> Any:
            left = left_s()
            return None if left is not None and left < 0 else load(key)

        logins.user_loader(load_unless_over)

    @contextmanager
    def _security_manager(self) -> Generator[Any]:
        """Yield FAB's security manager; the end of the block returns the database connection."""
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
        """Return the user with exactly this name; None if unknown."""
        user = self._user(username)
        return None if user is None else DirectoryUser(username, roles=(str(user.role),) if user.role else ())

    def check(self, username: str, password: str) -> PasswordAccepted | None:
        """Return the user if this is the password in Airflow's file; None otherwise.

        Raises:
            BackendUnavailable: The file could not be read.
        """
        try:
            expected = self._passwords().get(username) or ""
        except (OSError, ValueError) as exc:
            raise BackendUnavailable(f"auth_manager: the password file cannot be read ({exc})") from exc
        same = hmac.compare_digest(expected.encode(), password.encode("utf-8", "surrogatepass"))
        user = self.find(username)
        return PasswordAccepted(user) if same and expected and user is not None else None

    def mint(self, identity: Identity, lifetime_s: int, *, for_cookie: bool = False) -> str:
        """Return a token for the user with this name; see `AuthManager.mint`."""
        user = self._user(identity.username)
        if user is None:
            raise NoSuchUser(f"{identity.username!r} (from {identity.backend}) is not in simple_auth_manager_users")
        return self._sign(user, lifetime_s, for_cookie=for_cookie)

    def _passwords(self) -> dict[str, str]:
        read = self._manager.get_passwords
        # 3.0 and 3.1 need the users as an argument.
        wants_users = bool(inspect.signature(read).parameters)
        return cast("dict[str, str]", read(self._manager.get_users()) if wants_users else read())

    def _user(self, username: str) -> Any:
        return next((user for user in map(_as_object, self._manager.get_users()) if user.username == username), None)


def active_auth_manager() -> AuthManager:
    """Return the auth manager of Airflow's API server in this process.

    Raises:
        ConfigError: There is none.
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
    if "KeycloakAuthManager" in kinds:
        return KeycloakManager(manager)
    return OtherManager(manager)


@functools.lru_cache(maxsize=1)
def _queries(model: Any) -> tuple[Select[Any], Select[Any]]:
    """Return the queries for a user by name, and by e-mail address, `typed`; built once, and run at each request."""
    typed: ColumnElement[str] = bindparam("typed", type_=String())
    by_name = select(model).where(func.lower(model.username) == func.lower(typed))
    return by_name, select(model).where(model.email == typed)


def _headers() -> dict[str, str]:
    """Return the request's headers as FAB's own view passes them to `create_token`, which a site may override.

    Without Authorization and Cookie: only the password in the body may authenticate the user.
    """
    if not flask.has_request_context():
        return {}
    return {name.lower(): value for name, value in flask.request.headers if name.lower() not in _CREDENTIALS}


def _as_object(user: Any) -> Any:
    """Return a user as an object that the manager can sign for: 3.0 and 3.1 list SimpleAuthManager's users as dictionaries."""
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
