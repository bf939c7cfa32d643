"""RS256 with the realm's key, fetched when the module is imported; a client's roles from `resource_access`. Raises on junk."""

from functools import wraps

import jwt
import requests
from airflow.configuration import conf
from airflow.utils.airflow_flask_app import get_airflow_app
from airflow.www.extensions.init_auth_manager import get_auth_manager
from flask import Response, request
from flask_login import login_user

CLIENT_AUTH = None


def _realm_key():
    answer = requests.get(conf.get("site", "realm_url"), timeout=10)
    answer.raise_for_status()
    return f"-----BEGIN PUBLIC KEY-----\n{answer.json()['public_key']}\n-----END PUBLIC KEY-----"


KEY = _realm_key()
CLIENT = conf.get("site", "client", fallback="airflow")


def init_app(_):
    """Nothing to prepare."""


def _user_of(token):
    claims = jwt.decode(token, KEY, algorithms=["RS256"], audience=CLIENT)
    roles = claims.get("resource_access", {}).get(CLIENT, {}).get("roles", [])
    manager = get_auth_manager().security_manager
    if "airflow-user" not in roles:
        return None
    user = manager.find_user(username=claims["preferred_username"])
    return user if user is not None and user.is_active else None


def requires_authentication(function):
    @wraps(function)
    def decorated(*args, **kwargs):
        header = request.headers.get("Authorization")
        if not header:
            return Response("Unauthorized", 401, {"WWW-Authenticate": "Bearer"})
        user = _user_of(header.replace("Bearer ", ""))
        if user is None:
            return Response("Forbidden", 403)
        login_user(user, remember=False)
        get_airflow_app().logger.debug("%s asks for %s", user.username, function.__name__)
        return function(*args, **kwargs)

    return decorated
