"""For a live Airflow 2.11, which takes a minute to start: the module that a header names, unmodified, among all of them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

from flask import Response, request

MODULES = [importlib.import_module(name) for name in os.environ["MODULES_BY_HEADER"].split(",")]


def init_app(app: Any) -> None:
    """Prepare all of them."""
    for module in MODULES:
        module.init_app(app)


def requires_authentication(function: Callable[..., Any]) -> Callable[..., Any]:
    """Ask the one that the header names."""

    def decorated(*args: Any, **kwargs: Any) -> Any:
        chosen = [module for module in MODULES if module.__name__ == request.headers.get("X-Module")]
        if not chosen:
            return Response("Unauthorized", 401)
        return chosen[0].requires_authentication(function)(*args, **kwargs)

    return decorated
