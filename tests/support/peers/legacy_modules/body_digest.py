"""An auth backend for Airflow 2 that checks a signature over the body."""

# pyright: basic
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN002, ANN003, ANN201, ANN202
# Kept as such modules are: this file runs unmodified in Airflow 2.11.
import hashlib
import hmac
from functools import wraps
from types import SimpleNamespace

from flask import Response, g, request

CLIENT_AUTH = None
KEY = b"key-of-admin"


def init_app(_app):
    """Need nothing."""


def requires_authentication(function):
    """Let in who has signed the body."""

    @wraps(function)
    def decorated(*args, **kwargs):
        signature = hmac.new(KEY, request.get_data(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(request.headers.get("X-Digest", ""), signature):
            return Response("wrong signature", 401)
        g.user = SimpleNamespace(
            id="admin",
            username="admin",
            is_authenticated=True,
            is_active=True,
            is_anonymous=False,
            roles=(),
            perms=frozenset({("can_create", "Variables")}),
        )
        return function(*args, **kwargs)

    return decorated
