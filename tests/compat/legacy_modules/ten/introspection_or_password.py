"""Introspection of a token, then `auth_user_oauth`; a password goes to LDAP or the database, by AUTH_TYPE."""

from functools import wraps

import requests
from airflow.configuration import get
from airflow.utils.airflow_flask_app import get_airflow_app
from airflow.utils.log.logging_mixin import LoggingMixin
from flask import Response, make_response, request
from flask_appbuilder.const import AUTH_LDAP
from flask_login import login_user

CLIENT_AUTH = None
log = LoggingMixin().log


def init_app(_):
    """Nothing to prepare."""


def _introspected(token):
    answer = requests.post(f"{get('site', 'realm_url')}/introspect", data={"token": token}, timeout=10)
    told = answer.json()
    return told if told.get("active") else None


def auth_current_user():
    manager = get_airflow_app().appbuilder.sm
    user = None
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        told = _introspected(token)
        if told:
            user = manager.auth_user_oauth({"username": told["username"], "email": told.get("email")})
    elif request.authorization is not None and request.authorization.username:
        auth = request.authorization
        if manager.auth_type == AUTH_LDAP:
            user = manager.auth_user_ldap(auth.username, auth.password)
        if user is None:
            user = manager.auth_user_db(auth.username, auth.password)
    if user is not None:
        log.info("logged in: %s", user.username)
        login_user(user, remember=False)
    return user


def requires_authentication(function):
    @wraps(function)
    def decorated(*args, **kwargs):
        if auth_current_user() is None:
            return Response("Unauthorized", 401, {"WWW-Authenticate": "Basic"})
        return make_response(function(*args, **kwargs))

    return decorated
