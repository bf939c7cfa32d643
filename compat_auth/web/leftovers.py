"""What a login leaves in other hands, and a logout takes back: the upstream's cookie, and tokens made from the session."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import flask
from flask import Flask

from compat_auth.authn.session_cookie import Session
from compat_auth.authn.session_registry import credential_id_of
from compat_auth.identity import Identity

_EXTENSION = "compat_auth_leftovers"
# One for each path of the host; more is no browser's doing, and each is a question to the upstream.
_MAX_COOKIES = 4


class Leftovers(Protocol):
    """Takes tokens back; see `compat_auth.tokens.issued`."""

    def end(self, *, tokens: Iterable[str], credential_id: str) -> None:
        """Take back these tokens, and those that were made from a credential."""
        ...

    def end_all(self, identity: Identity) -> None:
        """Take back every token of a user."""
        ...


def set_leftovers(app: Flask, leftovers: Leftovers) -> None:
    """Let a logout take tokens back."""
    app.extensions[_EXTENSION] = leftovers


def end_leftovers(cookie_name: str, session: Session | None, *, everywhere: bool) -> None:
    """Take back what Flask's current request shows, and what was made from its session.

    Args:
        cookie_name: The upstream's own login cookie; "" where it has none.
        session: What ends; None where only the upstream's cookie is there to end.
        everywhere: All tokens of the user end, wherever they are.

    Raises:
        BackendUnavailable: The store could not be asked.
    """
    leftovers: Leftovers | None = flask.current_app.extensions.get(_EXTENSION)
    if leftovers is None:
        return
    tokens = flask.request.cookies.getlist(cookie_name)[:_MAX_COOKIES] if cookie_name else []
    leftovers.end(tokens=tokens, credential_id="" if session is None else credential_id_of(session))
    if everywhere and session is not None:
        leftovers.end_all(
            Identity(session.username, session.backend, subject=session.subject, directory=session.directory)
        )


def end_made_from(credential_id: str) -> None:
    """Take back what was made from a session that another browser has.

    Raises:
        BackendUnavailable: The store could not be asked.
    """
    leftovers: Leftovers | None = flask.current_app.extensions.get(_EXTENSION)
    if leftovers is not None:
        leftovers.end(tokens=(), credential_id=credential_id)
