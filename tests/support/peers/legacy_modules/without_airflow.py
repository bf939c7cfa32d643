"""An auth backend for Airflow 2 that takes everybody for admin on a laptop without Airflow."""

# pyright: basic
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN002, ANN003, ANN201, ANN202
# Kept as such modules are: this file runs unmodified in Airflow 2.11.
from functools import wraps

from flask import Response, g

try:
    import airflow.www.utils as airflow_pages
except ImportError:
    airflow_pages = None

CLIENT_AUTH = None


def init_app(_app):
    """Need nothing."""


def requires_authentication(function):
    """Let nobody in where there is an Airflow."""

    @wraps(function)
    def decorated(*args, **kwargs):
        if airflow_pages is None:
            g.user = "admin"
            return function(*args, **kwargs)
        return Response("no", 401)

    return decorated
