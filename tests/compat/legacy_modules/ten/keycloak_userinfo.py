"""Bearer, or a password grant at Keycloak; then userinfo; then FAB's user of that name."""

import logging
from functools import wraps

import requests
from airflow.configuration import conf
from airflow.utils.airflow_flask_app import get_airflow_app
from flask import Response, request
from flask_login import login_user

log = logging.getLogger(__name__)

CLIENT_AUTH = None
REALM = conf.get("site", "realm_url")


def init_app(_):
    """Nothing to prepare."""


def _token_of(username, password):
    answer = requests.post(
        f"{REALM}/protocol/openid-connect/token",
        data={"grant_type": "password", "client_id": "airflow", "username": username, "password": password},
        timeout=10,
    )
    return answer.json()["access_token"] if answer.ok else None


def auth_current_user():
    auth = request.authorization
    header = request.headers.get("Authorization", "")
    if auth is not None and auth.username and auth.password:
        token = _token_of(auth.username, auth.password)
    elif header.startswith("Bearer "):
        token = header.partition(" ")[2]
    else:
        token = None
    if not token:
        return None
    answer = requests.get(
        f"{REALM}/protocol/openid-connect/userinfo", headers={"Authorization": f"Bearer {token}"}, timeout=10
    )
    if not answer.ok:
        return None
    claims = answer.json()
    manager = get_airflow_app().appbuilder.sm
    user = manager.auth_user_oauth({"username": claims["preferred_username"], "email": claims.get("email", "")})
    if user is not None:
        login_user(user, remember=False)
    return user


def requires_authentication(function):
    @wraps(function)
    def decorated(*args, **kwargs):
        if auth_current_user() is not None:
            return function(*args, **kwargs)
        return Response("Unauthorized", 401, {"WWW-Authenticate": "Basic"})

    return decorated
