"""Credentials with which a client logs in. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from compat_auth.client.errors import LoginRefused
from compat_auth.client.origin import Origin
from compat_auth.crypto.personal_token_format import looks_like_one

__all__ = ["BearerToken", "Credential", "Password", "Presented"]

_VISIBLE = re.compile(r"[!-~]+")


def accept_any_answer(_challenge: str) -> None:
    """Accept any answer: the server's certificate is proof enough."""


@dataclass(frozen=True, slots=True)
class Presented:
    """A credential in the form of one request.

    Attributes:
        headers: Headers in addition to `Content-Type` and `Accept`.
        body: The body, JSON.
        confirm: Receives the `WWW-Authenticate` of a success, and raises `LoginUnavailable` unless the server has
            proved its identity.
        bearer: A personal token, which the server accepts with every request, so that no other token is needed; "" for
            any other credential.
    """

    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    body: bytes = field(default=b"{}", repr=False)
    confirm: Callable[[str], None] = accept_any_answer
    bearer: str = field(default="", repr=False)


class Credential(Protocol):
    """A credential of a user."""

    def present(self, server: Origin) -> Presented:
        """Return the credential for one login at the server; any thread may call."""
        ...


@dataclass(frozen=True, slots=True)
class Password:
    """A user name and a password.

    Attributes:
        username: As typed on the login page.
        password: As typed on the login page.
    """

    username: str
    password: str = field(repr=False)

    def present(self, server: Origin) -> Presented:
        """Return both in the form of Airflow's own token endpoint; a personal token as a Bearer."""
        if looks_like_one(self.password):
            return BearerToken(self.password).present(server)
        return Presented(body=json.dumps({"username": self.username, "password": self.password}).encode())


@dataclass(frozen=True, slots=True)
class BearerToken:
    """A personal token, a Google ID token, or another provider's access token.

    Attributes:
        value: The token, or a function that returns a fresh one: ID tokens last for an hour.
    """

    value: str | Callable[[], str] = field(repr=False)

    def present(self, server: Origin) -> Presented:
        """Return the token in the header `Authorization`."""
        del server
        token = self.value if isinstance(self.value, str) else self.value()
        if not _VISIBLE.fullmatch(token):
            # The value must not appear in the message, and a line break must not get into the header.
            raise LoginRefused("the token is empty, or has characters that no token has; copy it again")
        # A personal token cannot be exchanged: the new token would lack its limits.
        return Presented(headers={"Authorization": f"Bearer {token}"}, bearer=token if looks_like_one(token) else "")
