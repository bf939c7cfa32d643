"""A site's token service says who it is and which roles the user has; the module creates or updates the user."""

from functools import wraps

import requests
from airflow.configuration import conf
from flask import Response, current_app, g, request

CLIENT_AUTH = None


def init_app(_):
    """Nothing to prepare."""


def _provision(told):
    manager = current_app.appbuilder.sm
    roles = [role for role in (manager.find_role(name) for name in told["roles"]) if role is not None]
    user = manager.find_user(username=told["username"])
    if user is None:
        return manager.add_user(told["username"], told["username"], "Service", told["email"], roles)
    if {role.name for role in user.roles} != {role.name for role in roles}:
        user.roles = roles
        manager.update_user(user)
    return user


def requires_authentication(function):
    @wraps(function)
    def decorated(*args, **kwargs):
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Token":
            return Response("Unauthorized", 401)
        answer = requests.post(f"{conf.get('site', 'service_url')}/whois", json={"token": token}, timeout=10)
        if answer.status_code != 200:
            return Response("Unauthorized", 401)
        user = _provision(answer.json())
        if not user or not user.is_active:
            return Response("Forbidden", 403)
        g.user = user
        return function(*args, **kwargs)

    return decorated
