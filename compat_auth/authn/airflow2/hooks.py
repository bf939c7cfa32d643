"""The `before_request` and `after_request` functions that a module's `init_app` registers: for its own requests only.

Airflow 2 ran them for each request of its API. Here they run where the module is asked, and for nothing else: an answer
of such a function is the module's answer, and no other backend's requests depend on it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

import flask
from flask import Flask
from werkzeug.wrappers import Response as BaseResponse

Hook = Callable[..., Any]


class Hooks:
    """The functions that one module has registered."""

    def __init__(self) -> None:
        self._before: list[Hook] = []
        self._after: list[Hook] = []

    @contextmanager
    def taken_from(self, app: Flask) -> Generator[None]:
        """Within the block, functions that are registered for every request of the app become the module's own."""
        before, after = list(app.before_request_funcs.get(None, [])), list(app.after_request_funcs.get(None, []))
        # A retry after the first request may register functions, too: they are not the app's.
        as_any = cast("Any", app)
        had_request = as_any._got_first_request  # noqa: SLF001  # Flask has no other way
        as_any._got_first_request = False  # noqa: SLF001
        try:
            yield
        finally:
            as_any._got_first_request = had_request  # noqa: SLF001
            self._before = _take(app.before_request_funcs, before) or self._before
            self._after = _take(app.after_request_funcs, after) or self._after

    def before(self) -> BaseResponse | None:
        """Run the functions for the current request; return the answer of the first that answers."""
        for hook in self._before:
            answer = flask.current_app.ensure_sync(hook)()
            if answer is not None:
                return flask.make_response(answer)
        return None

    def after(self, response: BaseResponse) -> BaseResponse:
        """Return the answer as the functions have changed it, the last registered first."""
        for hook in reversed(self._after):
            response = flask.current_app.ensure_sync(hook)(response)
        return response


def _take(registered: dict[Any, list[Any]], before: list[Any]) -> list[Hook]:
    now = registered.get(None, [])
    new = now[len(before) :]
    if new:
        registered[None][:] = before
    return new


def is_bad_jwt(error: BaseException) -> bool:
    """Return whether PyJWT says that a token is bad: FAB's own handlers in Airflow 2 answered 401 or 422 to that."""
    library = sys.modules.get("jwt")
    bad = getattr(library, "InvalidTokenError", None)
    return isinstance(bad, type) and isinstance(error, bad)


def handled(error: Exception) -> BaseResponse | None:
    """Return the answer of an error handler that a module registered with the app; None without one."""
    app = cast("Any", flask.current_app)
    handler = app._find_error_handler(error, flask.request.blueprints)  # noqa: SLF001  # Flask has no public way to look
    if handler is None:
        return None
    return cast("BaseResponse", flask.make_response(app.ensure_sync(handler)(error)))
