"""An auth backend for Airflow 2 that keeps its caller in a variable: right where a worker handles one request at a time."""

# pyright: basic
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN002, ANN003, ANN201, ANN202
# Kept as such modules are: this file runs unmodified in Airflow 2.11.
import time
from functools import wraps
from types import SimpleNamespace

from flask import Response, g, request

CLIENT_AUTH = None


class Call:
    """The request at hand."""

    name = None


def init_app(_app):
    """Need nothing."""


def requires_authentication(function):
    """Let the owner of a ticket in."""

    @wraps(function)
    def decorated(*args, **kwargs):
        Call.name = request.headers.get("X-Ticket")
        time.sleep(0.02)  # asks its service
        if not Call.name:
            return Response("no ticket", 401)
        perms = {("can_read", "Pools"), ("can_read", "Variables")} if Call.name == "admin" else {("can_read", "Pools")}
        g.user = SimpleNamespace(
            id=Call.name,
            username=Call.name,
            is_authenticated=True,
            is_active=True,
            is_anonymous=False,
            roles=(),
            perms=frozenset(perms),
        )
        return function(*args, **kwargs)

    return decorated
