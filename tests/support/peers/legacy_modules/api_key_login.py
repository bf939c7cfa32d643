"""An auth backend for Airflow 2, as sites wrote them: an API key in a header of its own, flask-login for the user."""

# pyright: basic
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN002, ANN003, ANN201, ANN202, ANN204, PTH123, PLC0415
# Kept as such modules are: this file runs unmodified in Airflow 2.11.
import json
import os
from functools import wraps

from flask import Response, request
from flask_login import UserMixin, login_user

CLIENT_AUTH = None


class KeyUser(UserMixin):
    """The owner of a key, with what Airflow 2 asks of a user."""

    roles = ()
    perms = frozenset({("can_read", "Pools"), ("can_read", "DAGs")})

    def __init__(self, username, active):
        self.id = username
        self.username = username
        self.active = active

    @property
    def is_active(self):
        return self.active

    def get_id(self):
        return self.id


def init_app(app):
    """Read the keys once."""
    with open(os.environ["SITE_API_KEYS"], encoding="utf-8") as keys:
        app.config["SITE_API_KEYS"] = json.load(keys)


def requires_authentication(function):
    """Let the owner of a key in."""

    @wraps(function)
    def decorated(*args, **kwargs):
        from flask import current_app

        known = current_app.config["SITE_API_KEYS"].get(request.headers.get("X-Api-Key", ""))
        if known is not None and login_user(KeyUser(known["username"], known["active"]), remember=False):
            return function(*args, **kwargs)
        return Response("Unauthorized", 401, {"WWW-Authenticate": "X-Api-Key"})

    return decorated
