"""Ways to log in that a backend offers on the login page, beside the form for passwords. No I/O, no Flask.

The page is ours: it binds each attempt to the browser that began it, lets it be finished once, begins the session and
leads on. A backend says where to send the browser, and who came back (`RedirectSignIn`), or that browsers show its
credential by themselves (`CredentialSignIn`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from compat_auth.outcome import Outcome

__all__ = ["NAME_PATTERN", "Attempt", "CredentialSignIn", "RedirectSignIn", "SignIn"]

NAME_PATTERN = r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?"
"""The pattern of a name, because it is part of a URL."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of one browser. The page keeps it, encrypted, in a cookie until the browser is back.

    Attributes:
        redirect_uri: Where the provider has to send the browser, letter for letter.
        state: What the provider has to return as `state`; the page compares it before it asks `finish`.
        secret: 256 random bits that only this attempt knows; see `derive`.
    """

    redirect_uri: str
    state: str = field(repr=False)
    secret: str = field(repr=False)

    def derive(self, purpose: str) -> str:
        """Return a secret of the attempt for one purpose, such as a nonce: 43 URL-safe characters."""
        digest = hmac.digest(self.secret.encode("ascii"), purpose.encode("ascii"), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


@runtime_checkable
class RedirectSignIn(Protocol):
    """A provider with a login page of its own, such as OpenID Connect's. Any thread may call.

    Attributes:
        name: Part of its address; see `NAME_PATTERN`.
        label: On the button.
    """

    @property
    def name(self) -> str: ...  # noqa: D102  # see the class

    @property
    def label(self) -> str: ...  # noqa: D102  # see the class

    def begin(self, attempt: Attempt) -> str:
        """Return the URL to send the browser to; it carries the attempt's `state` and `redirect_uri`.

        Raises:
            BackendUnavailable: The provider could not be asked.
        """
        ...

    def finish(self, attempt: Attempt, answer: Mapping[str, str]) -> Outcome:
        """Return who has come back.

        Args:
            attempt: As it began.
            answer: The parameters that the browser brought; each was there once.

        Raises:
            BackendUnavailable: The provider could not be asked.
        """
        ...


@dataclass(frozen=True, slots=True)
class CredentialSignIn:
    """A credential that browsers show by themselves when they are asked, such as a Kerberos ticket.

    The page asks for it at its own URL, and the backend that offers this way verifies the answer.

    Attributes:
        name: Part of its address; see `NAME_PATTERN`.
        label: On the button.
        challenge: `WWW-Authenticate` value that asks for it.
    """

    name: str
    label: str
    challenge: str


SignIn = RedirectSignIn | CredentialSignIn
"""A way to log in, as `Backend.sign_ins` returns it."""
