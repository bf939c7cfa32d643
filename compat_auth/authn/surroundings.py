"""The current request for the backends of a chain: the facts alone, or Flask's request context."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from flask import Flask

from compat_auth.facts import RequestFacts, answers_without_flask, asked_about


class Surroundings:
    """The current request of one run of the chain, for the block and its thread.

    Flask's context is made for the first backend that needs it, and stays until the end: a module of Airflow 2 may leave
    its user in `flask.g`.

    Args:
        app: The Flask app of the backends.
        facts: The facts of the request; None: every backend gets Flask's request.
        environ: Makes the request's WSGI environment.
    """

    def __init__(self, app: Flask, facts: RequestFacts | None, environ: Callable[[], dict[str, Any]]) -> None:
        self._app = app
        self._facts = facts
        self._environ = environ
        self._stack = ExitStack()
        self._has_flask = False

    def __enter__(self) -> Self:
        """Begin with the facts, where there are any."""
        if self._facts is None:
            self.provide_flask()
        else:
            self._stack.enter_context(asked_about(self._facts))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave Flask's context, if there is one."""
        self._stack.__exit__(kind, error, at)

    def provide_for(self, thing: object) -> None:
        """Make sure that a backend finds the request where it looks for it; see `Backend.answers_without_flask`."""
        if not self._has_flask and not answers_without_flask(thing):
            self.provide_flask()

    def provide_flask(self) -> None:
        """Make sure that there is Flask's request context, and that the facts are those of its request."""
        if not self._has_flask:
            self._has_flask = True
            self._stack.enter_context(self._app.request_context(self._environ()))
            self._stack.enter_context(asked_about(None))
