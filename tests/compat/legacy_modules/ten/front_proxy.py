"""The remote user of a front proxy."""

from functools import wraps

from airflow.configuration import conf
from flask import Response, current_app, request
from flask_login import login_user

CLIENT_AUTH = None


def init_app(_):
    """Nothing to prepare."""


def requires_authentication(function):
    @wraps(function)
    def decorated(*args, **kwargs):
        variable = conf.get("site", "remote_user_variable", fallback="REMOTE_USER")
        name = request.remote_user if variable == "REMOTE_USER" else request.environ.get(variable)
        user = current_app.appbuilder.sm.auth_user_remote_user(name) if name else None
        if user is None:
            return Response("Unauthorized", 401)
        login_user(user, remember=False)
        return function(*args, **kwargs)

    return decorated
