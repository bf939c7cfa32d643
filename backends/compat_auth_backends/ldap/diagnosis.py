"""Whether the base and the filters of `[ldap]` find anybody, and the servers' certificates, for `compat-auth doctor`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import ldap

from compat_auth.config import LdapSettings
from compat_auth.errors import BackendUnavailable
from compat_auth_backends.ldap.bind import LOST, lost, why
from compat_auth_backends.ldap.probe import ProbeFailed, probe
from compat_auth_backends.ldap.settings import fill_filter

# python-ldap has no type stubs.
_api = cast("Any", ldap)
SAMPLE = 20
"""The most entries that one search returns."""
Entry = tuple[str, dict[str, list[str]]]
"""DN, and values by attribute in lower case."""
Sample = Callable[[str, str, list[str]], list[Entry]]
"""Searches below a base with a filter for attributes; an empty filter reads the entry itself."""
_NO_ATTRIBUTES = ["1.1"]  # RFC 4511 section 4.5.1.8
_MARK = "compat-auth-doctor-anybody"


@dataclass(frozen=True, slots=True)
class Sampler:
    """Searches on one connection, and is content with the first entries.

    Attributes:
        connection: Bound as `bind_dn`.
        settings: The settings.
    """

    connection: Any = field(repr=False)
    settings: LdapSettings = field(repr=False)

    def __call__(self, base: str, query: str, names: list[str]) -> list[Entry]:
        """Return at most `SAMPLE` entries; none where the base is not there.

        Raises:
            Lost: The connection gives no answer.
            BackendUnavailable: The server refuses the search.
        """
        scope, timeout_s = _api.SCOPE_SUBTREE if query else _api.SCOPE_BASE, self.settings.timeout_s
        rows: list[tuple[str | None, dict[str, list[bytes]]]] = []
        try:
            asked = self.connection.search_ext(
                base, scope, query or "(objectClass=*)", names, timeout=timeout_s, sizelimit=SAMPLE
            )
            with contextlib.suppress(_api.SIZELIMIT_EXCEEDED):
                while (found := self.connection.result(asked, all=0, timeout=timeout_s))[1]:
                    rows += found[1]
        except LOST as exc:
            raise lost(exc) from exc
        except _api.NO_SUCH_OBJECT:
            return []
        except _api.LDAPError as exc:
            raise BackendUnavailable(
                f"ldap.base: the search below {base!r} failed ({why(exc)}); check it, and the rights of bind_dn"
            ) from exc
        # A row without a DN refers to another server.
        return [(dn, _texts(attributes)) for dn, attributes in rows if dn is not None]


def certificates(settings: LdapSettings, ca_file: str, timeout_s: float) -> list[tuple[str, bytes]]:
    """Return URL and certificate (DER) of each server that has TLS and can be used."""
    found: list[tuple[str, bytes]] = []
    for url in settings.url:
        with contextlib.suppress(ProbeFailed):
            shown = probe(url, start_tls=settings.start_tls, ca_file=ca_file, timeout_s=timeout_s)
            found += [(url, shown)] if shown else []
    return found


def diagnose(settings: LdapSettings, sample: Sample) -> list[tuple[str, str]]:
    """Return facts: pairs of ok, warning or failure, and "WHERE: WHAT; NEXT STEP".

    Args:
        settings: The settings.
        sample: Searches.
    """
    names = (settings.username_attribute, settings.email_attribute, settings.member_of)
    if not sample(settings.base, "", _NO_ATTRIBUTES):
        return [
            (
                "failure",
                f"ldap.base: {settings.base!r} is not there, or bind_dn may not see it; correct it, or its rights",
            )
        ]
    query = _for_anybody(settings.user_filter)
    found = sample(settings.base, query, [name for name in names if name])
    if not found:
        text = (
            f"ldap.user_filter: {settings.user_filter!r} finds nobody below {settings.base!r}; correct filter or base, or "
            "let bind_dn read the entries"
        )
        return [("failure", text)]
    named = [(dn, entry) for dn, entry in found if entry.get(settings.username_attribute.lower())]
    if not named:
        text = (
            f"ldap.username_attribute: {settings.username_attribute!r} is in none of {len(found)} entries that user_filter "
            "finds; name the attribute with the user's name, such as uid or sAMAccountName"
        )
        return [("failure", text)]
    count = f"{len(found)} or more" if len(found) >= SAMPLE else str(len(found))
    facts = [("ok", f"ldap.user_filter: finds {count} users")]
    if settings.group_base:
        facts.append(_groups(settings, sample))
    elif settings.member_of and settings.roles and not any(entry.get(settings.member_of.lower()) for _, entry in found):
        text = (
            f"ldap.member_of: {settings.member_of!r} is in none of {len(found)} users, so that nobody has a group; enable "
            "the server's memberOf, or set group_base"
        )
        facts.append(("warning", text))
    return [*facts, *_roles(settings, sample)]


def _groups(settings: LdapSettings, sample: Sample) -> tuple[str, str]:
    if sample(settings.group_base, _for_anybody(settings.group_filter), _NO_ATTRIBUTES):
        return "ok", f"ldap.group_filter: finds groups below {settings.group_base!r}"
    return "failure", (
        f"ldap.group_filter: {settings.group_filter!r} finds no group below {settings.group_base!r}, so that nobody has a "
        "role by a group; correct filter or base, or let bind_dn read the groups"
    )


def _roles(settings: LdapSettings, sample: Sample) -> list[tuple[str, str]]:
    return [
        ("warning", f"ldap.roles: {dn!r} is not there, or bind_dn may not see it; correct the DN of the group")
        for dn in settings.roles
        if not sample(dn, "", _NO_ATTRIBUTES)
    ]


def _for_anybody(template: str) -> str:
    """Return a filter of the settings for every name."""
    return fill_filter(template, username=_MARK, dn=_MARK).replace(_MARK, "*")


def _texts(attributes: dict[str, list[bytes]]) -> dict[str, list[str]]:
    return {name.lower(): [value.decode(errors="replace") for value in values] for name, values in attributes.items()}
