"""Whether a Flask app has logins of its own, by flask-login."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from flask import Flask
from flask_login import AnonymousUserMixin, LoginManager  # pyright: ignore[reportMissingTypeStubs]  # flask-login has no stubs


class NoLogins(LoginManager):  # type: ignore[misc]  # flask-login has no stubs
    """The login manager of an app without logins: nobody is logged in, unless somebody gives it a loader.

    Views ask flask-login's `current_user`, which needs a manager.

    Args:
        app: The app.
    """

    def __init__(self, app: Flask) -> None:
        cast("Any", super()).__init__(app)
        cast("Any", super()).user_loader(_no_user)
        self._has_loader = False

    def user_loader(self, callback: Callable[..., Any]) -> Any:
        """Load users by this function from now on."""
        self._has_loader = True
        return cast("Any", super()).user_loader(callback)

    def request_loader(self, callback: Callable[..., Any]) -> Any:
        """Load users of requests by this function from now on."""
        self._has_loader = True
        return cast("Any", super()).request_loader(callback)

    @property
    def is_unused(self) -> bool:
        """Whether nobody can be logged in."""
        return not self._has_loader and cast("object", self.anonymous_user) is AnonymousUserMixin


def has_logins(app: Flask) -> bool:
    """Return whether flask-login may know a user of the app."""
    manager: object = getattr(app, "login_manager", None)
    return manager is not None and not (type(manager) is NoLogins and manager.is_unused)


def _no_user(_user_id: str) -> None:
    return None
