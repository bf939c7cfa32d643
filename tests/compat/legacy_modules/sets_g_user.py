"""As one would have written it for Airflow 2: sets g.user."""

from functools import wraps
from types import SimpleNamespace

from flask import Response, g, request

CLIENT_AUTH = None


def init_app(_app):
    pass


def requires_authentication(function):
    @wraps(function)
    def decorated(*args, **kwargs):
        auth = request.authorization
        if auth and auth.username:
            g.user = SimpleNamespace(username=auth.username, is_active=True)
            if auth.password == "wonderland":
                return function(*args, **kwargs)
        return Response("Unauthorized", 401, {"WWW-Authenticate": "Basic", "Set-Cookie": "evil=1"})

    return decorated
