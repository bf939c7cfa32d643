"""As one would have written it for Airflow 2: logs in with flask-login."""

from functools import wraps

from flask import Response, request
from flask_login import UserMixin, login_user

CLIENT_AUTH = None


class User(UserMixin):
    def __init__(self, username):
        self.id = username
        self.username = username


def init_app(_app):
    pass


def requires_authentication(function):
    @wraps(function)
    def decorated(*args, **kwargs):
        auth = request.authorization
        if auth and auth.username == "alice" and auth.password == "wonderland":
            login_user(User(auth.username), remember=False)
            return function(*args, **kwargs)
        return Response("Unauthorized", 401, {"WWW-Authenticate": "Basic"})

    return decorated
