"""Revokes the upstream's tokens that were made from one of our sessions or credentials."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from flask import Flask

from compat_auth.identity import Identity

_EXTENSION = "compat_auth_upstream_tokens"


class UpstreamTokens(Protocol):
    """Revokes tokens; see `compat_auth.tokens.issued`."""

    def revoke_session(self, *, tokens: Iterable[str], credential_id: str) -> None:
        """Revoke these tokens, and those that were made from a credential.

        Raises:
            BackendUnavailable: The store could not be asked.
        """
        ...

    def revoke_all(self, identity: Identity) -> None:
        """Revoke every token of a user.

        Raises:
            BackendUnavailable: The store could not be asked.
        """
        ...


def set_upstream_tokens(app: Flask, tokens: UpstreamTokens) -> None:
    """Let logouts and revocations in the app revoke the upstream's tokens; call it before the backends are initialised."""
    app.extensions[_EXTENSION] = tokens


def upstream_tokens_of(app: Flask) -> UpstreamTokens | None:
    """Return the object that revokes the upstream's tokens; None in an app that has no upstream."""
    found: UpstreamTokens | None = app.extensions.get(_EXTENSION)
    return found
