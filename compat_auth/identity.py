"""The caller's identity, and the token that proves it to the upstream. No I/O, no Flask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compat_auth.scopes import Scope

__all__ = ["Identity", "Token"]


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller, vouched for by a named backend.

    Attributes:
        username: The name the upstream knows the user by.
        backend: Configured name of the backend that vouches.
        subject: What the source itself calls the user (principal, e-mail, `sub`); the user name where it has no other.
        directory: Name of the directory the user was found in, or "".
        email: E-mail address, or "".
        roles: Role names as the directory spells them, sorted.
        groups: Group names as the directory spells them, sorted.
        upstream_id: Number or key of the user in the upstream's own database (Airflow: `ab_user.id`), or "".
        mfa: The login behind the credential had a second factor, as far as the source says.
        role_account: Nobody in person: a script's account.
        scopes: What the credential is limited to; None where it is not limited.
        expires_at: End of the credential itself, in seconds since the epoch; None when it has none.
        credential_id: Names the credential where it can be revoked by itself (its own id, `jti`), or "".
        certificate: `x5t#S256` of the client certificate beside which alone the credential is good (RFC 8705 section 3.1), or "".
        actor: Name of the caller who acts for this user, and whose credential it is (`[[do_as]]`); "" where nobody does.
        app_scopes: Scopes of the credential that are words of the application's own, which its views require; they limit
            no path.
        login: Name of the backend that accepted the login, where the backend itself vouches for what came of that login: a
            session. "" where it has none.
        claims: What a token handler has said of the caller, member by member; nobody may change it.
    """

    username: str
    backend: str
    subject: str = ""
    directory: str = ""
    email: str = ""
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    upstream_id: str = ""
    mfa: bool = False
    role_account: bool = False
    scopes: tuple[Scope, ...] | None = None
    expires_at: int | None = None
    credential_id: str = ""
    certificate: str = ""
    actor: str = ""
    app_scopes: tuple[str, ...] = ()
    login: str = field(default="", compare=False)
    claims: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Token:
    """A JWT for the upstream, minted by us or obtained from it.

    Attributes:
        value: Compact JWS (RFC 7515 section 7.1), ASCII.
        expires_at: `exp`, in seconds since the epoch.
    """

    value: str = field(repr=False)
    expires_at: int


def confirmation_of(identity: Identity) -> dict[str, str]:
    """Return the `cnf` of a token that is made from the identity's credential (RFC 8705 section 3.1)."""
    return {"x5t#S256": identity.certificate}


def content_of(identity: Identity) -> dict[str, Any]:
    """Return the content of `/compat-auth/whoami` for a caller."""
    return {
        "username": identity.username,
        "backend": identity.backend,
        "directory": identity.directory,
        "email": identity.email,
        "roles": list(identity.roles),
        "groups": list(identity.groups),
        "role_account": identity.role_account,
        "scopes": None if identity.scopes is None else [str(scope) for scope in identity.scopes],
        "expires_at": identity.expires_at,
        "credential_id": identity.credential_id,
        **({"cnf": confirmation_of(identity)} if identity.certificate else {}),
    }
