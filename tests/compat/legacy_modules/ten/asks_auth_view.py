"""Like Composer's: the login page of the security manager says who it is, else Airflow's basic_auth."""

from functools import wraps

from airflow.api.auth.backend import basic_auth
from flask import Response, current_app

CLIENT_AUTH = None


def init_app(app):
    basic_auth.init_app(app)


def requires_authentication(function):
    @wraps(function)
    def decorated(*args, **kwargs):
        view = current_app.appbuilder.sm.auth_view
        ask = getattr(view, "auth_current_user", None) or basic_auth.auth_current_user
        if ask() is None:
            return Response("Unauthorized", 401, {"WWW-Authenticate": "Basic"})
        return function(*args, **kwargs)

    return decorated
