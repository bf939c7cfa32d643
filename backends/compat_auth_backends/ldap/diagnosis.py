"""Whether the base and the filters of `[ldap]` find anybody, for `compat-auth doctor`."""

from __future__ import annotations

from collections.abc import Callable

from compat_auth.config import LdapSettings
from compat_auth_backends.ldap.settings import fill_filter

SAMPLE = 20
"""The most entries that one search returns."""
Sample = Callable[[str, str, list[str]], list[tuple[str, dict[str, list[str]]]]]
"""Searches below a base with a filter for attributes; an empty filter reads the entry itself."""
_NO_ATTRIBUTES = ["1.1"]  # RFC 4511 section 4.5.1.8
_MARK = "compat-auth-doctor-anybody"


def diagnose(settings: LdapSettings, sample: Sample, names: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return facts: pairs of ok, warning or failure, and "WHERE: WHAT; NEXT STEP".

    Args:
        settings: The settings.
        sample: Searches.
        names: The attributes of a user that are read.
    """
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
