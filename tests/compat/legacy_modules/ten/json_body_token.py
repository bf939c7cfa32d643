"""A JWT in the JSON body; its key is an Airflow Variable."""

from functools import wraps

import jwt
from airflow.models import Variable
from flask import Response, current_app, request
from flask_login import login_user

CLIENT_AUTH = None


def init_app(_):
    """Nothing to prepare."""


def _claims():
    body = request.get_json(silent=True) or {}
    token = body.get("description", "")
    try:
        return jwt.decode(token, Variable.get("site_jwt_key"), algorithms=["HS256"])
    except jwt.PyJWTError:
        return None


def requires_authentication(function):
    @wraps(function)
    def decorated(*args, **kwargs):
        claims = _claims()
        user = current_app.appbuilder.sm.find_user(username=claims["sub"]) if claims else None
        if user is None or not user.is_active:
            return Response("Unauthorized", 401)
        login_user(user, remember=False)
        return function(*args, **kwargs)

    return decorated
