"""The facts of the current request: what a backend may know of it, without Flask's request context.

Inside a gate there is no Flask request while a backend answers that does not need one (`Backend.answers_without_flask`):
a request context costs more than most answers. In a Flask app the facts are those of Flask's current request. So a backend
that asks here works in both.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, cast

import flask
from flask import Flask
from werkzeug.wrappers import Request

__all__ = ["RequestFacts", "answers_without_flask", "client_address", "request_facts"]

_SECURE = frozenset(("https", "wss"))
_FLAG = "answers_without_flask"


class RequestFacts(Protocol):
    """The facts of one request."""

    @property
    def app(self) -> Flask:
        """The Flask app of the backends."""
        ...

    @property
    def method(self) -> str:
        """The request method, in upper case."""
        ...

    @property
    def scheme(self) -> str:
        """`https` or `http`, as far as trusted proxies vouch for it."""
        ...

    @property
    def client(self) -> str:
        """The caller's address, as far as trusted proxies vouch for it; "" where it is not known."""
        ...

    @property
    def host(self) -> str:
        """The host that was asked, without the port if it is the scheme's own."""
        ...

    @property
    def environ(self) -> Mapping[str, Any]:
        """The words of a gate about the request, by keys such as `compat_auth.peer.PEER`; in a Flask app the WSGI environment."""
        ...

    def header(self, name: str) -> str | None:
        """Return the value of a header, lines of one name joined by commas; None: there is no such header."""
        ...

    def cookies(self, name: str) -> list[str]:
        """Return the values of the cookies of that name, in the order of the request."""
        ...


class _FactsOfFlask:
    """The facts of Flask's current request, whichever it is."""

    @property
    def app(self) -> Flask:
        return flask.current_app

    @property
    def method(self) -> str:
        return flask.request.method

    @property
    def scheme(self) -> str:
        return flask.request.scheme

    @property
    def client(self) -> str:
        return flask.request.remote_addr or ""

    @property
    def host(self) -> str:
        return flask.request.host

    @property
    def environ(self) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", flask.request.environ)

    def header(self, name: str) -> str | None:
        return flask.request.headers.get(name)

    def cookies(self, name: str) -> list[str]:
        return flask.request.cookies.getlist(name)


@dataclass(frozen=True)
class GateFacts:
    """The facts of a request at a gate; what is seldom asked for is read from its WSGI environment, as Flask reads it.

    Attributes:
        app: See `RequestFacts`.
        method: The same.
        scheme: The same.
        client: The same.
        environ: The same.
        find_header: Returns the value of a header that `environ` has as `HTTP_...`; for names in lower case with `-`.
        make_environ: Makes the request's WSGI environment (PEP 3333).
    """

    app: Flask
    method: str
    scheme: str
    client: str
    environ: Mapping[str, Any] = field(repr=False)
    find_header: Callable[[str], str | None] = field(repr=False)
    make_environ: Callable[[], dict[str, Any]] = field(repr=False)

    @cached_property
    def _request(self) -> Request:
        return Request(self.make_environ())

    @property
    def host(self) -> str:
        return self._request.host

    def header(self, name: str) -> str | None:
        # As in a WSGI environment, where both are one character.
        folded = name.lower().replace("_", "-")
        # The gate has read these, and the environment says how it spells them.
        if folded in _READ_BY_GATES:
            return self._request.headers.get(name)
        return self.find_header(folded)

    def cookies(self, name: str) -> list[str]:
        return self._request.cookies.getlist(name)


_READ_BY_GATES = frozenset(("authorization", "content-length", "cookie", "host", "transfer-encoding", "x-request-id"))
_OF_FLASK = _FactsOfFlask()
_asked_about: ContextVar[RequestFacts | None] = ContextVar("compat_auth_request_facts", default=None)


def request_facts() -> RequestFacts:
    """Return the facts of the current request; outside of a request each of them raises RuntimeError."""
    return _asked_about.get() or _OF_FLASK


def client_address() -> str:
    """Return the address of the current request's caller; "" where it is not known, and where there is no request."""
    facts = _asked_about.get()
    if facts is not None:
        return facts.client
    return (flask.request.remote_addr or "") if flask.has_request_context() else ""


def is_secure(facts: RequestFacts) -> bool:
    """Return whether the request came by TLS, as far as trusted proxies vouch for it."""
    return facts.scheme in _SECURE


def set_facts(facts: RequestFacts | None) -> Token[RequestFacts | None]:
    """Make these the facts of the current request on this thread, until `reset_facts`; None: those of Flask's request."""
    return _asked_about.set(facts)


def reset_facts(before: Token[RequestFacts | None]) -> None:
    """Undo `set_facts`, and every later one."""
    _asked_about.reset(before)


@contextmanager
def asked_about(facts: RequestFacts | None) -> Generator[None]:
    """Make these the facts of the current request, for this thread and this block; None: those of Flask's request."""
    before = set_facts(facts)
    try:
        yield
    finally:
        reset_facts(before)


def answers_without_flask(thing: object) -> bool:
    """Return whether a backend, directory or strategy reads the request from `request_facts` alone.

    Its own class has to say so: a subclass may read Flask's request, and does not know of the flag.
    """
    said: object = vars(type(thing)).get(_FLAG)
    return said is True or (callable(said) and said(thing) is True)
