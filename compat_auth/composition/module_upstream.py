"""Modules of Airflow 2 read and write objects of Airflow: through its API, in the names of accounts that the operator chose."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from flask import Flask

from compat_auth import audit
from compat_auth.authn.airflow2.stand_ins.security_manager import USER_WRITER
from compat_auth.authn.airflow2.stand_ins.upstream_objects import UPSTREAM_READER
from compat_auth.authn.airflow2.stand_ins.users import User, role_names
from compat_auth.composition.tokens import build_user_lookup
from compat_auth.config import Settings
from compat_auth.credentials import Absent
from compat_auth.crypto.strict_json import parse_object
from compat_auth.directory import DirectoryUser
from compat_auth.errors import BackendUnavailable, ConfigError, NoSuchUser
from compat_auth.identity import Identity
from compat_auth.tokens.strategies import build_strategy
from compat_auth.tokens.upstream_login import UpstreamLogin

_SECTION = "airflow2_modules"
_USERS_PATH = "/auth/fab/v1/users"
_ROLES_PATH = "/auth/fab/v1/roles"
_API_PATH = "/api/v2"
_PASSWORD_BYTES = 48
_NOT_FOUND = 404
_NOT_AUTHENTICATED = 401


class _Account:
    """Asks the upstream in the name of one account. Any thread may call.

    Args:
        settings: With a strategy that needs no password.
        name: The account.
        where: The setting that names it.

    Raises:
        ConfigError: No token can be made for it.
    """

    def __init__(self, settings: Settings, name: str, where: str) -> None:
        if settings.token.strategy not in ("shared_secret", "key_pair"):
            raise ConfigError(f"{where}: needs [token] strategy shared_secret or key_pair; set one, or remove it")
        self.name = name
        self._where = where
        self._upstream = UpstreamLogin.from_settings(settings)
        self._strategy = build_strategy(settings)
        self._lookup = build_user_lookup(settings)

    def ask(self, method: str, path: str, content: Mapping[str, object] | None = None) -> tuple[int, bytes]:
        """Return status and body of the answer.

        Raises:
            BackendUnavailable: There is none, or the account is unknown.
        """
        status, body = 0, b""
        for fresh in (False, True):
            try:
                identity = self._lookup.complete(Identity(self.name, _SECTION, subject=self.name))
                token = self._strategy.obtain(identity, Absent(), fresh=fresh)
            except NoSuchUser as exc:
                raise BackendUnavailable(f"{self._where}: {exc}") from exc
            status, body = self._upstream.call(method, path, content, token.value)
            if status != _NOT_AUTHENTICATED:
                break
        return status, body

    def unavailable(self, status: int, wish: str) -> BackendUnavailable:
        """Return the error for an answer that is neither what was asked for nor its absence."""
        return BackendUnavailable(
            f"upstream: answered {status} when {self.name!r} ({self._where}) {wish}; give that user the permission"
        )


class AccountReader:
    """`UpstreamReader`: reads objects of Airflow's API in the name of `[airflow2_modules] read_as`."""

    def __init__(self, account: _Account) -> None:
        self._account = account

    def read(self, path: str) -> Mapping[str, Any] | None:
        """Return the JSON object at a path below `/api/v2`; None where there is none. See `UpstreamReader.read`."""
        status, body = self._account.ask("GET", _API_PATH + path)
        if status == _NOT_FOUND:
            return None
        if status != 200:
            raise self._account.unavailable(status, f"read {path}")
        try:
            return parse_object(body)
        except ValueError:
            raise self._account.unavailable(status, f"read {path}, which is no JSON object") from None


class AccountWriter:
    """`UserWriter`: changes users of Airflow with FabAuthManager in the name of `[airflow2_modules] write_users_as`."""

    def __init__(self, account: _Account) -> None:
        self._account = account

    def add(self, user: User) -> None:
        """Create the user, with a random password that nobody knows; see `UserWriter.add`."""
        content = {**_content(user), "password": secrets.token_urlsafe(_PASSWORD_BYTES)}
        status, _ = self._account.ask("POST", _USERS_PATH, content)
        if status not in (200, 201):
            raise self._account.unavailable(status, f"added {user.username!r}")
        self._record("create", user, "POST")

    def update(self, user: User, before: DirectoryUser) -> None:
        """Give the user the roles and the e-mail address that a module has set; see `UserWriter.update`."""
        if user.active != before.active:
            raise BackendUnavailable(f"{user.username!r}: Airflow's API switches no user on or off; do it in Airflow")
        content = _content(user)
        if not user.email:
            content["email"] = before.email
        changed = [name for name in ("first_name", "last_name") if getattr(user, name)]
        mask = ",".join(["roles", *(["email"] if user.email else []), *changed])
        path = f"{_USERS_PATH}/{quote(before.username, safe='')}?update_mask={mask}"
        status, _ = self._account.ask("PATCH", path, content)
        if status != 200:
            raise self._account.unavailable(status, f"changed {user.username!r}")
        self._record("change", user, "PATCH")

    def add_role(self, name: str) -> None:
        """Create a role without permissions; see `UserWriter.add_role`."""
        status, _ = self._account.ask("POST", _ROLES_PATH, {"name": name, "actions": []})
        if status not in (200, 201):
            raise self._account.unavailable(status, f"added role {name!r}")

    def _record(self, result: str, user: User, method: str) -> None:
        reason = f"{result}d with roles {', '.join(role_names(user)) or '(none)'} in the name of {self._account.name!r}"
        audit.record(audit.AuditEvent(result, _SECTION, user.username, reason, method, _USERS_PATH, ""))


def serve_modules(app: Flask, settings: Settings) -> None:
    """Let the modules in an app read and write in Airflow, as far as `[airflow2_modules]` says; inside Airflow, itself.

    Raises:
        ConfigError: A setting cannot work.
    """
    modules = settings.airflow2_modules
    if settings.token.strategy == "in_process":
        return
    if modules.read_as:
        where = f"{_SECTION}.read_as"
        if settings.upstream.profile == "generic":
            raise ConfigError(f"{where}: the upstream is no Airflow; remove it")
        app.extensions[UPSTREAM_READER] = AccountReader(_Account(settings, modules.read_as, where))
    if modules.write_users_as:
        where = f"{_SECTION}.write_users_as"
        if settings.upstream.profile != "airflow-fab":
            raise ConfigError(f'{where}: only with [upstream] profile = "airflow-fab"; remove it')
        app.extensions[USER_WRITER] = AccountWriter(_Account(settings, modules.write_users_as, where))


def _content(user: User) -> dict[str, object]:
    return {
        "username": user.username,
        "email": user.email or f"{user.username}@email.notfound",
        "first_name": user.first_name or user.username,
        "last_name": user.last_name or "-",
        "roles": [{"name": name} for name in role_names(user)],
    }
