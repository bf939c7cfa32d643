"""As one would have written it for Airflow 2: raises."""

from functools import wraps


def init_app(_app):
    pass


def requires_authentication(function):
    @wraps(function)
    def decorated(*_args, **_kwargs):
        raise KeyError("hunter2")

    return decorated
