"""An auth backend for Airflow 2, as sites wrote them: a scheme of its own, the user in flask's `g`."""

# pyright: basic
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN002, ANN003, ANN201, ANN202, PTH123
# Kept as such modules are: this file runs unmodified in Airflow 2.11.
import json
import os
from functools import wraps
from types import SimpleNamespace

from flask import Response, current_app, g, request

CLIENT_AUTH = None
SCHEME = "apikey "


def init_app(app):
    """Read the keys once."""
    with open(os.environ["SITE_API_KEYS"], encoding="utf-8") as keys:
        app.config["SITE_GLOBAL_KEYS"] = json.load(keys)


def requires_authentication(function):
    """Let the owner of a key in."""

    @wraps(function)
    def decorated(*args, **kwargs):
        header = request.headers.get("Authorization", "")
        key = header[len(SCHEME) :].strip() if header.lower().startswith(SCHEME) else ""
        known = current_app.config["SITE_GLOBAL_KEYS"].get(key)
        if known is None or not known["active"]:
            return Response("Unauthorized", 401, {"WWW-Authenticate": "ApiKey"})
        g.user = SimpleNamespace(
            id=known["username"],
            username=known["username"],
            is_authenticated=True,
            is_active=True,
            is_anonymous=False,
            roles=(),
            perms=frozenset({("can_read", "Pools"), ("can_read", "DAGs")}),
        )
        return function(*args, **kwargs)

    return decorated
