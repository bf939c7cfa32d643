"""Adds users to Airflow with FabAuthManager, through its API and as one of its administrators."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from compat_auth import audit
from compat_auth.config import Settings
from compat_auth.credentials import Absent
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.identity import Identity
from compat_auth.tokens.strategies import Strategy, build_strategy
from compat_auth.tokens.upstream_login import UpstreamLogin

USERS_PATH = "/auth/fab/v1/users"
_ADDED = frozenset({200, 201})
_CONFLICT = 409
_PASSWORD_BYTES = 48


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user to add to the upstream.

    Attributes:
        username: Also the e-mail address.
        first_name: Not empty.
        last_name: Not empty.
        role: Name of a role in the upstream.
    """

    username: str
    first_name: str
    last_name: str
    role: str


class UpstreamUsers:
    """A client of the upstream's users. Any thread may call.

    Args:
        upstream: Client of the upstream.
        strategy: Where the administrator's token comes from.
    """

    def __init__(self, upstream: UpstreamLogin, strategy: Strategy) -> None:
        self._upstream = upstream
        self._strategy = strategy

    @classmethod
    def from_settings(cls, settings: Settings, *, where: str) -> UpstreamUsers:
        """Return the client for `[upstream] url`.

        Args:
            settings: With a strategy that can issue a token for an administrator who is not logged in.
            where: The setting that needs the client, for messages.

        Raises:
            ConfigError: The upstream has no such API, or no token can be issued for its administrator.
        """
        if settings.upstream.profile != "airflow-fab":
            raise ConfigError(f'{where}: only with [upstream] profile = "airflow-fab"; remove it')
        if settings.token.strategy not in ("shared_secret", "key_pair"):
            raise ConfigError(f"{where}: needs [token] strategy shared_secret or key_pair; set one, or remove it")
        return cls(UpstreamLogin.from_settings(settings), build_strategy(settings))

    def add(self, user: NewUser, administrator: Identity) -> bool:
        """Add a user with a random password that nobody knows; False where the name or address is taken.

        Raises:
            NoSuchUser: The administrator has no id in the upstream.
            BackendUnavailable: The upstream did not add the user; the name may still be free.
        """
        token = self._strategy.obtain(administrator, Absent(), fresh=False)
        status = self._upstream.add(
            USERS_PATH,
            {
                "username": user.username,
                "email": user.username,
                "first_name": user.first_name,
                "last_name": user.last_name,
                "roles": [{"name": user.role}],
                "password": secrets.token_urlsafe(_PASSWORD_BYTES),
            },
            token.value,
        )
        if status == _CONFLICT:
            return False
        if status not in _ADDED:
            raise BackendUnavailable(
                f"upstream: answered {status} when {administrator.username!r} added user with role {user.role!r}"
            )
        reason = f"added with role {user.role!r} in the name of {administrator.username!r}"
        audit.record(audit.AuditEvent("create", administrator.backend, user.username, reason, "POST", USERS_PATH, ""))
        return True
