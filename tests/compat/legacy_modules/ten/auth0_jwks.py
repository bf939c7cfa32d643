"""Auth0: keys from its JWKS, issuer and audience from airflow.cfg, the user by e-mail address."""

from functools import wraps

import jwt
from airflow.configuration import conf
from airflow.utils.log.logging_mixin import LoggingMixin
from flask import Response, current_app, request
from flask_login import login_user

CLIENT_AUTH = None


class Auth0(LoggingMixin):
    def __init__(self):
        super().__init__()
        self.issuer = conf.get("site", "auth0_url")
        self.audience = conf.get("site", "auth0_audience", fallback="airflow")
        self.keys = jwt.PyJWKClient(f"{self.issuer}/.well-known/jwks.json")

    def user(self, token):
        try:
            key = self.keys.get_signing_key_from_jwt(token)
            claims = jwt.decode(token, key.key, algorithms=["RS256"], audience=self.audience, issuer=self.issuer)
        except jwt.PyJWTError as error:
            self.log.warning("refused: %s", type(error).__name__)
            return None
        return current_app.appbuilder.sm.find_user(email=claims["email"])


auth0 = Auth0()


def init_app(_):
    """Nothing to prepare."""


def requires_authentication(function):
    @wraps(function)
    def decorated(*args, **kwargs):
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        user = auth0.user(token) if scheme == "Bearer" else None
        if user is None or not user.is_active:
            return Response("Unauthorized", 401, {"WWW-Authenticate": "Bearer"})
        login_user(user, remember=False)
        return function(*args, **kwargs)

    return decorated
