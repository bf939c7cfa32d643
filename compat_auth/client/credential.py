"""What a client logs in with. No I/O."""

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
    """Ask nothing more of the server than its certificate."""


@dataclass(frozen=True, slots=True)
class Presented:
    """A credential as one request shows it.

    Attributes:
        headers: Beyond `Content-Type` and `Accept`.
        body: JSON.
        confirm: Gets the `WWW-Authenticate` of a success, and raises `LoginUnavailable` where the server did not prove
            who it is.
        bearer: A personal token, which the server takes with every request: no other token is asked for. "" for any
            other credential.
    """

    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    body: bytes = field(default=b"{}", repr=False)
    confirm: Callable[[str], None] = accept_any_answer
    bearer: str = field(default="", repr=False)


class Credential(Protocol):
    """What one logs in with."""

    def present(self, server: Origin) -> Presented:
        """Return the credential for one login at the server; any thread may ask."""
        ...


@dataclass(frozen=True, slots=True)
class Password:
    """A user name and a password.

    Attributes:
        username: As one types it into the login page.
        password: The same.
    """

    username: str
    password: str = field(repr=False)

    def present(self, server: Origin) -> Presented:
        """Return both in the form that Airflow's own endpoint takes, too; a personal token as the Bearer that it is."""
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
            # The value stays out of the message, and a line break out of the header.
            raise LoginRefused("the token is empty, or holds characters that no token has")
        # A limited one cannot be exchanged: the token that came back would have no limits.
        return Presented(headers={"Authorization": f"Bearer {token}"}, bearer=token if looks_like_one(token) else "")
