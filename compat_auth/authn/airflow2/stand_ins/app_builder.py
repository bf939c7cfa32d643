"""`current_app.appbuilder` and `get_auth_manager()` for a module: both lead to the security manager."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import flask
from flask_login import current_user

from compat_auth.authn.airflow2.stand_ins.security_manager import SecurityManager


def current_app_itself() -> flask.Flask:
    """Return the current app, not flask's proxy for it."""
    return cast("flask.Flask", cast("Any", flask.current_app)._get_current_object())  # noqa: SLF001  # Flask's documented way


class AppBuilder:
    """`current_app.appbuilder`: the security manager, and nothing of FAB's pages.

    Args:
        make: Makes the security manager, at first use: a module that never asks needs no directory.
    """

    def __init__(self, make: Callable[[], SecurityManager]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._manager: SecurityManager | None = None

    @property
    def sm(self) -> SecurityManager:
        """The security manager.

        Raises:
            ConfigError: A directory is missing or misconfigured.
        """
        with self._lock:
            if self._manager is None:
                self._manager = self._make()
            return self._manager

    @property
    def app(self) -> flask.Flask:
        """The current app."""
        return current_app_itself()

    @property
    def get_app(self) -> flask.Flask:
        """The same, by its older name."""
        return self.app


class AuthManager:
    """`get_auth_manager()` of Airflow 2.8 and later: asks the security manager and flask-login."""

    def __init__(self, manager: SecurityManager) -> None:
        self.security_manager = manager

    def __getattr__(self, name: str) -> Any:
        # A 2.x module may treat FAB's auth manager as the security manager itself.
        return getattr(self.security_manager, name)

    def is_logged_in(self) -> bool:
        """Return whether flask-login knows an active user for the request."""
        user = self.get_user()
        return not user.is_anonymous and bool(user.is_active)

    def get_user(self) -> Any:
        """Return flask-login's user of the request, else that of `g.user`."""
        if getattr(current_user, "is_anonymous", True) and (named := flask.g.get("user")) is not None:
            return named
        return current_user
