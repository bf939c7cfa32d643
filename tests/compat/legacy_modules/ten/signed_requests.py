"""HMAC over method, path and body, as `Authorization: HMAC key:signature`; the answer is signed, too."""

import hashlib
import hmac
from functools import wraps

from airflow.configuration import conf
from airflow.www.extensions.init_auth_manager import get_auth_manager
from flask import Response, make_response, request
from flask_login import login_user

CLIENT_AUTH = None


def init_app(_):
    """Nothing to prepare."""


def _sign(secret, *parts):
    return hmac.new(secret.encode(), b"\n".join(parts), hashlib.sha256).hexdigest()


def _signer():
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    name, _, signature = rest.partition(":")
    secret = conf.get("site_keys", name, fallback=None) if scheme == "HMAC" and name else None
    if not secret:
        return None, None
    expected = _sign(secret, request.method.encode(), request.path.encode(), request.get_data())
    return (name, secret) if hmac.compare_digest(expected, signature) else (None, None)


def requires_authentication(function):
    @wraps(function)
    def decorated(*args, **kwargs):
        name, secret = _signer()
        user = get_auth_manager().security_manager.find_user(username=name) if name else None
        if user is None or not user.is_active:
            return Response("Unauthorized", 401, {"WWW-Authenticate": "HMAC"})
        login_user(user, remember=False)
        response = make_response(function(*args, **kwargs))
        response.headers["Server-Authorization"] = f"HMAC {_sign(secret, response.get_data())}"
        return response

    return decorated
