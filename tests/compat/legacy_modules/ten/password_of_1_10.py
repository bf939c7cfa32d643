"""Passwords as a module of 1.10 checks them: by hand, with the user on top of Flask's stack."""

import base64
from functools import wraps

from airflow.utils.db import provide_session
from flask import Response, current_app, make_response, request
from flask_login import login_user
from sqlalchemy import text

try:
    from flask import _request_ctx_stack as stack
except ImportError:
    # Flask 2.3 dropped it.
    stack = None

client_auth = None
CLIENT_AUTH = None


def init_app(_):
    """Nothing to prepare."""


@provide_session
def _exists(username, session=None):
    return (
        session.execute(text("SELECT id FROM ab_user WHERE username = :name"), {"name": username}).first() is not None
    )


def authenticate(username, password):
    if not username or not password or not _exists(username):
        return None
    return current_app.appbuilder.sm.auth_user_db(username, password)


def requires_authentication(function):
    @wraps(function)
    def decorated(*args, **kwargs):
        header = request.headers.get("Authorization")
        if not header:
            return Response("Unauthorized", 401, {"WWW-Authenticate": "Basic"})
        pair = "".join(header.split()[1:])
        username, password = base64.b64decode(pair).decode("utf-8").split(":", 1)
        user = authenticate(username, password)
        if user is None:
            return Response("Forbidden", 403)
        if stack is not None:
            stack.top.user = user
        # flask-login no longer looks there.
        login_user(user, remember=False)
        return make_response(function(*args, **kwargs))

    return decorated
