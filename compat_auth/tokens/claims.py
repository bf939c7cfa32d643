"""The claims of the JWT that each kind of upstream expects."""

from __future__ import annotations

import re
import string
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from compat_auth.config import Profile as ProfileName
from compat_auth.config import Settings
from compat_auth.errors import ConfigError, NoSuchUser, NotAuthenticated, NotPermitted
from compat_auth.identity import Identity, confirmation_of

# A running task carries a token for this audience, which may read every secret of Airflow in clear text.
EXECUTION_AUDIENCE = "urn:airflow.apache.org:task"
# airflow-simple's roles, highest first; Airflow answers 500 to any other.
SIMPLE_ROLES = ("ADMIN", "OP", "USER", "VIEWER")
_OURS = frozenset({"act", "aud", "cnf", "iss", "iat", "nbf", "exp", "jti"})
_TEXTS = frozenset({"username", "email", "subject", "backend", "directory", "upstream_id"})
_LISTS = frozenset({"roles", "groups"})
# Airflow's `ab_user.id`: a positive 63-bit number.
_FAB_ID = re.compile(r"[1-9][0-9]{0,18}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Template:
    """A claim's value, parsed: literal text and placeholders in turn, or one list."""

    parts: tuple[tuple[str, str], ...]
    names_list: str = ""

    def render(self, identity: Identity) -> str | list[str]:
        if self.names_list:
            return list(getattr(identity, self.names_list))
        return "".join(text + (getattr(identity, name) if name else "") for text, name in self.parts)


@dataclass(frozen=True, slots=True)
class ClaimProfile:
    """How an identity becomes the claims of a JWT, for one upstream."""

    name: ProfileName
    audience: str
    issuer: str
    ttl_s: int
    roles: Mapping[str, str] = field(default_factory=dict[str, str])
    templates: Mapping[str, _Template] = field(default_factory=dict[str, _Template])

    @classmethod
    def from_settings(cls, settings: Settings) -> ClaimProfile:
        """Return the profile that the configuration describes.

        Raises:
            ConfigError: The audience is Airflow's execution audience, a role or placeholder is unknown, or a claim is
                reserved.
        """
        token = settings.token
        if token.audience.strip() == EXECUTION_AUDIENCE:
            raise ConfigError(
                f"[token] audience: {EXECUTION_AUDIENCE} is for Airflow's own tasks and gives access to every secret; "
                "set it to Airflow's [api_auth] jwt_audience (default: apache-airflow)"
            )
        if token.claims and settings.upstream.profile != "generic":
            raise ConfigError('[token] claims: only for [upstream] profile = "generic"; remove it')
        return cls(
            settings.upstream.profile,
            token.audience,
            token.issuer,
            token.ttl_s,
            {user: _configured_role(user, role) for user, role in settings.upstream.roles.items()},
            {claim: _parse_template(claim, text) for claim, text in token.claims.items()},
        )

    def claims_for(self, identity: Identity, *, now: int) -> dict[str, object]:
        """Return the claims for the identity.

        Args:
            identity: As the chain verified it.
            now: Seconds since the epoch.

        Raises:
            NoSuchUser: The upstream has no user for the identity.
            NotPermitted: The identity has no role in the upstream.
            NotAuthenticated: The credential has expired.
        """
        # A token never outlives the credential that it was made for.
        lifetime_s = self.ttl_s if identity.expires_at is None else min(self.ttl_s, identity.expires_at - now)
        if lifetime_s <= 0:
            raise NotAuthenticated("the credential has expired")
        claims = self._own_claims(identity)
        sub = claims.get("sub")
        if not isinstance(sub, str) or not sub.strip():
            raise NoSuchUser(f"{identity.username!r}: sub would be empty; see [token] claims")
        claims |= {"aud": self.audience, "iat": now, "nbf": now, "exp": now + lifetime_s, "jti": uuid.uuid4().hex}
        if self.issuer:
            claims["iss"] = self.issuer
        if identity.actor:
            # RFC 8693 4.1; Airflow ignores claims that it does not know.
            claims["act"] = {"sub": identity.actor}
        if identity.certificate:
            claims["cnf"] = confirmation_of(identity)
        return claims

    def _own_claims(self, identity: Identity) -> dict[str, object]:
        match self.name:
            case "airflow-fab":
                return {"sub": _fab_id(identity)}
            case "airflow-simple":
                return {"sub": identity.username, "role": self.simple_role(identity), "teams": []}
            case "generic":
                own: dict[str, object] = {"sub": identity.username}
                return own | {claim: template.render(identity) for claim, template in self.templates.items()}

    def simple_role(self, identity: Identity) -> str:
        """Return the role that airflow-simple gets for the identity.

        Raises:
            NotPermitted: There is none.
        """
        held = {role.upper() for role in identity.roles}
        found = next((role for role in SIMPLE_ROLES if role in held), None)
        role = found or self.roles.get(identity.username) or self.roles.get("*")
        if role is None:
            raise NotPermitted(
                f"{identity.username!r}: no role for Airflow's simple auth manager; set it in [upstream] roles"
            )
        return role


def claims_for(identity: Identity, settings: Settings, *, now: int) -> dict[str, object]:
    """Return the claims for one identity; keep a `ClaimProfile` to make many.

    Raises:
        ConfigError, NoSuchUser, NotPermitted, NotAuthenticated: See `ClaimProfile`.
    """
    return ClaimProfile.from_settings(settings).claims_for(identity, now=now)


def _fab_id(identity: Identity) -> str:
    if not _FAB_ID.match(identity.upstream_id):
        raise NoSuchUser(
            f"{identity.username!r}: the id of this user in Airflow's database is not known; set [airflow_db] url, "
            'or use [token] strategy = "exchange"'
        )
    return identity.upstream_id


def _configured_role(user: str, role: str) -> str:
    if role.upper() not in SIMPLE_ROLES:
        raise ConfigError(f"[upstream] roles: {user}: no role {role!r}; use one of {', '.join(SIMPLE_ROLES)}")
    return role.upper()


def _parse_template(claim: str, text: str) -> _Template:
    where = f"[token] claims: {claim}"
    if claim in _OURS:
        raise ConfigError(f"{where}: set by compat_auth itself; remove it")
    try:
        fields = list(string.Formatter().parse(text))
    except ValueError as exc:
        raise ConfigError(f"{where}: {exc}; write {{{{ and }}}} for braces") from None
    parts: list[tuple[str, str]] = []
    for literal, name, form, conversion in fields:
        if name is None:
            parts.append((literal, ""))
            continue
        # Only whole names are looked up: attributes and indexes of a placeholder would reach Python's internals.
        if name not in _TEXTS | _LISTS or form or conversion:
            known = ", ".join(f"{{{known}}}" for known in sorted(_TEXTS | _LISTS))
            raise ConfigError(f"{where}: no placeholder {{{name}}}; known: {known}")
        if name in _LISTS and len(fields) + len(literal) > 1:
            raise ConfigError(f"{where}: {{{name}}} is a list and must stand alone")
        if name in _LISTS and claim == "sub":
            raise ConfigError(f"{where}: {{{name}}} is a list, but sub must be a string; use {{username}}")
        parts.append((literal, name))
    if len(parts) == 1 and parts[0][1] in _LISTS:
        return _Template((), parts[0][1])
    return _Template(tuple(parts))
