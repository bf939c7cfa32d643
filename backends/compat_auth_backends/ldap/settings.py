"""Checks the settings in `[ldap]`, and knows how names, filters and DNs are spelled there."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import ldap
import ldap.dn as ldap_dn
import ldap.filter as ldap_filter

from compat_auth.config import LdapSettings
from compat_auth.errors import ConfigError
from compat_auth.files import refuse_writable_at

# python-ldap has no type stubs.
_api = cast("Any", ldap)
_escape = cast("Callable[[str], str]", cast("Any", ldap_filter).escape_filter_chars)
_parse_dn = cast("Callable[[str], list[list[tuple[str, str, int]]]]", cast("Any", ldap_dn).str2dn)
_FILTER_PROBE = "ldapi://%2Fnonexistent"
DnKey = tuple[tuple[tuple[str, str], ...], ...]


def ca_file_of(settings: LdapSettings) -> str:
    """Return the PEM file of the trusted authorities: the configured one, else the system's."""
    default = ssl.get_default_verify_paths()
    return settings.ca_file or default.cafile or ""


def require_usable(settings: LdapSettings) -> None:
    """Check that the directory can work with these settings.

    Raises:
        ConfigError: A setting is missing or wrong, or passwords would travel unencrypted.
    """
    if not settings.url:
        raise ConfigError("ldap.url: empty; write ldaps://host, or several in the order in which to ask them")
    for url in settings.url:
        _require_url(url, settings)
    if not settings.base:
        raise ConfigError(
            "ldap.base: empty; write the DN below which the users are, such as ou=people,dc=example,dc=org"
        )
    if bool(settings.bind_dn) != bool(settings.bind_password.get_secret_value()):
        raise ConfigError("ldap.bind_dn: needs bind_password, and the other way round; set both or neither")
    if settings.ca_file and not Path(settings.ca_file).is_file():
        raise ConfigError(f"ldap.ca_file: {settings.ca_file}: no such file; name the PEM file of the authority")
    refuse_writable_at(Path(settings.ca_file))
    if "{username}" not in settings.user_filter:
        raise ConfigError("ldap.user_filter: without {username} everybody would be found; write (uid={username})")
    if settings.group_base and "{dn}" not in settings.group_filter and "{username}" not in settings.group_filter:
        raise ConfigError("ldap.group_filter: names neither {dn} nor {username}; write (member={dn})")
    if settings.roles and not settings.member_of and not settings.group_base:
        raise ConfigError("ldap.roles: no groups are read; set member_of or group_base")
    for key in ("user_filter", "group_filter", "disabled_filter"):
        _require_filter(key, getattr(settings, key))


def fill_filter(template: str, **values: str) -> str:
    """Return a search filter with each {name} replaced by its value, escaped (RFC 4515 section 3)."""
    # Not one after the other: a value that contains {dn} is data.
    for name in values:
        template = template.replace(f"{{{name}}}", f"\0{name}\0")
    parts = template.split("\0")
    return "".join(_escape(values[part]) if odd % 2 else part for odd, part in enumerate(parts))


def group_key(dn: str) -> DnKey:
    """Return the key of a DN that a server has sent; a malformed one has the empty key, which no role has."""
    try:
        return dn_key(dn)
    except ConfigError:
        return ()


def dn_key(dn: str) -> DnKey:
    """Return a key that is equal for two spellings of one DN: case, spaces and the kind of escapes do not count.

    Raises:
        ConfigError: It is not a DN.
    """
    try:
        parts = _parse_dn(dn)
    except _api.LDAPError:
        raise ConfigError(
            f"ldap.roles: {dn!r} is not a DN; write it as cn=admins,ou=groups,dc=example,dc=org"
        ) from None
    return tuple(
        tuple(sorted((name.lower(), " ".join(value.lower().split())) for name, value, _ in rdn)) for rdn in parts
    )


def name_in_dn(dn: str, attribute: str, names: list[str]) -> list[str]:
    """Return an entry's names that are in its own DN (RFC 4512 section 2.3.1), as the entry spells them.

    Args:
        dn: The entry's DN, as the server sent it.
        attribute: Holds the names; compared without case.
        names: The values of the attribute.
    """
    try:
        first = _parse_dn(dn)[:1]
    except _api.LDAPError:
        return []
    named = {value.casefold() for rdn in first for name, value, _ in rdn if name.casefold() == attribute.casefold()}
    return [name for name in names if name.casefold() in named]


def _require_url(url: str, settings: LdapSettings) -> None:
    parts = urlsplit(url)
    where = f"ldap.url: {parts.scheme}://{parts.hostname or ''}"
    if parts.scheme not in ("ldap", "ldaps", "ldapi"):
        raise ConfigError(f"{where}: not an LDAP URL; write ldaps://host or ldap://host")
    if parts.username or parts.password or parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError(f"{where}: only a host and a port belong here; base, filters and bind_dn have their own keys")
    if parts.scheme == "ldap" and not settings.start_tls and not settings.allow_plaintext:
        raise ConfigError(f"{where}: passwords would travel unencrypted; set start_tls = true, or write ldaps://")


def _require_filter(key: str, template: str) -> None:
    if not template:
        return
    if "\0" in template:
        raise ConfigError(f"ldap.{key}: contains NUL; write \\00")
    try:
        # The library reads the filter before it looks for the server, which is not there.
        _api.initialize(_FILTER_PROBE).search_ext_s("", _api.SCOPE_BASE, fill_filter(template, username="a", dn="cn=a"))
    except _api.FILTER_ERROR:
        raise ConfigError(f"ldap.{key}: {template!r} is not a search filter; mind the parentheses (RFC 4515)") from None
    except _api.LDAPError:
        return
