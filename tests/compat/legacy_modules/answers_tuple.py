"""As one would have written it for Airflow 2: answers with a tuple."""

from functools import wraps


def init_app(_app):
    pass


def requires_authentication(function):
    @wraps(function)
    def decorated(*_args, **_kwargs):
        return "Unauthorized", 401, {"WWW-Authenticate": 'Basic realm="old"', "Location": "/login"}

    return decorated
