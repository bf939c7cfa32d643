"""Log in with a Kerberos ticket: SPNEGO (RFC 4559) with mutual authentication."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from compat_auth.client.credential import Presented
from compat_auth.client.errors import LoginRefused, LoginUnavailable
from compat_auth.client.origin import Origin
from compat_auth.errors import ConfigError

# Any: gssapi's stubs name each other in ways that pyright cannot follow.
_gss: Any
try:
    import gssapi as _gss
except ImportError:
    _gss = None

__all__ = ["Kerberos"]

_SPNEGO = "1.3.6.1.5.5.2"  # RFC 4178 section 3


@dataclass(frozen=True, slots=True)
class Kerberos:
    """The ticket of the user who runs the program (from `kinit`, or the keytab in `KRB5_CLIENT_KTNAME`).

    Attributes:
        service: First part of the server's principal, `HTTP/host`.
        hostname: Second part, where it differs from the URL's host.

    Raises:
        ConfigError: gssapi is not installed.
    """

    service: str = "HTTP"
    hostname: str = ""

    def __post_init__(self) -> None:
        if _gss is None:
            raise ConfigError(
                "gssapi is not installed; install compat_auth with its extra 'kerberos' (README: Install)"
            )

    def present(self, server: Origin) -> Presented:
        """Return a token for the server; the answer must prove that the server has the service's key.

        Raises:
            LoginRefused: No ticket is available: the user is not logged in to the realm, or the realm does not know the
                server.
        """
        try:
            name = _gss.Name(f"{self.service}@{self.hostname or server.host}", _gss.NameType.hostbased_service)
            context = _gss.SecurityContext(
                name=name,
                usage="initiate",
                mech=_gss.OID.from_int_seq(_SPNEGO),
                # No delegation: a server that accepts a login must not act as the user elsewhere.
                flags=_gss.RequirementFlag.mutual_authentication,
            )
            token: bytes = context.step()
        except _gss.exceptions.GSSError as exc:
            raise LoginRefused(f"no Kerberos ticket for {self.service}@{server.host}: {_reason(exc)}") from exc

        def confirm(challenge: str) -> None:
            try:
                context.step(_answer_of(challenge))
                # Read here, because an error of the step is raised again by the next call.
                is_proven = context.complete
            except _gss.exceptions.GSSError:
                is_proven = False
            if not is_proven:
                raise LoginUnavailable(f"{server}: did not prove that it is {name}")

        return Presented(headers={"Authorization": f"Negotiate {base64.b64encode(token).decode()}"}, confirm=confirm)


def _answer_of(challenge: str) -> bytes:
    # Several challenges may share the line (RFC 9110 11.6.1); base64 has no comma.
    for part in challenge.split(","):
        scheme, _, value = part.strip().partition(" ")
        if scheme.lower() == "negotiate":
            try:
                return base64.b64decode(value.strip(), validate=True)
            except binascii.Error:
                break
    return b""


def _reason(error: Any) -> str:
    # The second line of gssapi's text is the mechanism's own, which explains the error.
    return " ".join(str(error).split())[:200]
