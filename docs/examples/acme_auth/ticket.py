"""An auth backend module as it was written for Airflow 2; nothing of it knows compat_auth."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Flask, Response, g, request

CLIENT_AUTH = None
TICKETS = {"ticket-of-alice": "alice"}


def init_app(app: Flask) -> None:
    app.config.setdefault("ACME_REALM", "Acme")


def requires_authentication(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        username = TICKETS.get(request.headers.get("Acme-Ticket", ""))
        if username is None:
            return Response("Unauthorized", 401)
        g.user = username
        return function(*args, **kwargs)

    return decorated
