"""FAB's login page and Airflow's own auth modules, as far as other modules ask them who the caller is.

A module of a site often handles its own tokens, and gives every other request to Airflow's `basic_auth` or to the login
page. These functions check the same passwords as the backend `basic_auth`, in the same places and with the same limits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

import flask
from flask import Response
from flask_login import (
    current_user,
    login_user,  # pyright: ignore[reportUnknownVariableType]  # flask-login has no types
)

_AUTH_LDAP = 2
_AUTH_REMOTE_USER = 3
_VIEWS = {0: "AuthOIDView", 1: "AuthDBView", 2: "AuthLDAPView", 3: "AuthRemoteUserView", 4: "AuthOAuthView"}


class AuthView:
    """`sm.auth_view`: FAB's login page, without the page.

    Args:
        manager: The security manager.
    """

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    @property
    def endpoint(self) -> str:
        """FAB's name of the page."""
        return _VIEWS.get(self._manager.auth_type, "AuthDBView")

    @property
    def appbuilder(self) -> Any:
        """That of the current app."""
        return cast("Any", flask.current_app).appbuilder

    def auth_current_user(self) -> Any:
        """Return whom the request names by AUTH_TYPE: a proxy's remote user, else name and password; None for nobody."""
        if self._manager.auth_type != _AUTH_REMOTE_USER:
            return auth_current_user()
        user = self._manager.auth_user_remote_user(flask.request.remote_user) if flask.request.remote_user else None
        if user is not None:
            login_user(user, remember=False)
        return user


def init_app(_app: Any) -> None:
    """Do nothing, as Airflow's own."""


def auth_current_user() -> Any:
    """Log in the user of the request's name and password, for this request; return the user, or None for nobody.

    Raises:
        BackendUnavailable: A directory could not be asked.
    """
    auth = flask.request.authorization
    if auth is None or auth.type != "basic" or not auth.username or not auth.password:
        return None
    manager = cast("Any", flask.current_app).appbuilder.sm
    user = manager.auth_user_ldap(auth.username, auth.password) if manager.auth_type == _AUTH_LDAP else None
    if user is None:
        user = manager.auth_user_db(auth.username, auth.password)
    if user is not None:
        login_user(user, remember=False)
    return user


def basic_requires_authentication(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with name and password in front (`airflow.api.auth.backend.basic_auth`)."""

    @wraps(function)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        if auth_current_user() is not None:
            return function(*args, **kwargs)
        return Response("Unauthorized", 401, {"WWW-Authenticate": "Basic"})

    return decorated


def session_requires_authentication(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function for callers whom the app's login cookie names (`airflow.api.auth.backend.session`)."""

    @wraps(function)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        if getattr(current_user, "is_authenticated", False):
            return function(*args, **kwargs)
        return Response("Unauthorized", 401, {})

    return decorated


def deny_requires_authentication(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that refuses everybody (`airflow.api.auth.backend.deny_all`)."""

    @wraps(function)
    def decorated(*_args: Any, **_kwargs: Any) -> Any:
        return Response("Forbidden", 403)

    return decorated
