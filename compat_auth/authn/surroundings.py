"""The current request for the backends of a chain: the facts alone, or Flask's request context."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Token
from types import TracebackType
from typing import Any, Self

from flask import Flask
from flask.ctx import RequestContext

from compat_auth.facts import RequestFacts, answers_without_flask, reset_facts, set_facts


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
        self._context: RequestContext | None = None
        self._before: Token[RequestFacts | None] | None = None

    def __enter__(self) -> Self:
        """Begin with the facts, where there are any."""
        if self._facts is None:
            self.provide_flask()
        else:
            self._before = set_facts(self._facts)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave Flask's context, if there is one."""
        if self._before is not None:
            reset_facts(self._before)
        if self._context is not None:
            self._context.__exit__(kind, error, at)

    def provide_for(self, thing: object) -> None:
        """Make sure that a backend finds the request where it looks for it; see `Backend.answers_without_flask`."""
        if self._context is None and not answers_without_flask(thing):
            self.provide_flask()

    def provide_flask(self) -> None:
        """Make sure that there is Flask's request context, and that the facts are those of its request."""
        if self._context is None:
            context = self._app.request_context(self._environ())
            context.__enter__()
            self._context = context
            token = set_facts(None)
            # The first token is the one that restores what was there before this block.
            self._before = self._before or token
