"""Maps a Kerberos principal to the name of a user: `[kerberos] realms` and `name_mapping`."""

from __future__ import annotations

import ctypes
import ctypes.util
import re
from collections.abc import Callable
from dataclasses import dataclass

from compat_auth.config import Settings
from compat_auth.errors import BackendUnavailable, ConfigError

NameMapping = Callable[[str], str | None]
"""Takes a whole principal of an allowed realm; None: no user has it."""

_LOCAL_NAME_BYTES = 256


@dataclass(frozen=True, slots=True)
class Principals:
    """Which principals may log in, and under which name.

    Attributes:
        realms: Allowed realms; empty: the one of our own key.
        mapping: Makes the name.
    """

    realms: frozenset[str]
    mapping: NameMapping

    @classmethod
    def from_settings(cls, settings: Settings) -> Principals:
        """Return the rules of `[kerberos]`.

        Raises:
            ConfigError: The mapping is malformed, or would make one user of two.
        """
        realms = frozenset(realm for realm in settings.kerberos.realms if realm)
        wanted = settings.kerberos.name_mapping.strip()
        if wanted == "strip_realm" and len(realms) > 1:
            raise ConfigError(
                'kerberos.name_mapping: "strip_realm" would make one user of alice@A and alice@B; write "full", or rules'
                " that say which realm is which: 'regex=replacement;…'"
            )
        return cls(realms, parse_mapping(wanted))

    def admit(self, principal: str, *, own_realm: str) -> bool:
        """Return whether a principal is of an allowed realm.

        Args:
            principal: As GSSAPI displays it.
            own_realm: Realm of our own key.
        """
        name, at, realm = principal.rpartition("@")
        # An escaped character is data to Kerberos and would be a separator to everybody else: alice\\@ADMIN is not alice.
        if not name or not at or "\\" in principal or not principal.isprintable() or name.startswith("WELLKNOWN/"):
            return False
        return realm in (self.realms or {own_realm})

    def username(self, principal: str) -> str | None:
        """Return the name of the user of an allowed principal, or None if it has none.

        Raises:
            BackendUnavailable: MIT Kerberos could not be asked (`auth_to_local`).
        """
        username = self.mapping(principal)
        return username if username and username.isprintable() else None


def parse_mapping(text: str) -> NameMapping:
    """Return the mapping that a setting names.

    Args:
        text: "strip_realm", "full", "auth_to_local", or rules `regex=replacement;…`: the first whose regular expression
            matches the whole principal decides.

    Raises:
        ConfigError: It is none of these.
    """
    match text:
        case "strip_realm":
            return _strip_realm
        case "full":
            return _keep
        case "auth_to_local":
            return AuthToLocal()
        case _:
            rules = tuple(_parse_rule(rule) for rule in text.split(";") if rule.strip())
            if not rules:
                raise ConfigError('kerberos.name_mapping: empty; "strip_realm" is the usual one')
            return lambda principal: _apply(rules, principal)


def _strip_realm(principal: str) -> str:
    return principal.rpartition("@")[0]


def _keep(principal: str) -> str:
    return principal


def _parse_rule(text: str) -> tuple[re.Pattern[str], str]:
    # At the last "=": one in a regular expression, as in (?=…), is more likely than one in a name.
    pattern, equals, replacement = text.strip().rpartition("=")
    try:
        if not equals or not pattern:
            raise ValueError("not of the form regex=replacement")  # noqa: TRY301
        compiled = re.compile(pattern)
        # A replacement that names a group which is not there must fail now.
        re.compile(f"(?:{pattern})|").sub(replacement, "")
    except (re.error, IndexError, ValueError) as exc:
        raise ConfigError(
            f'kerberos.name_mapping: {text.strip()!r}: {exc}; write "strip_realm", "full", "auth_to_local" or rules such as'
            r" '([^/]+)@EXAMPLE\.ORG=\1'"
        ) from exc
    return compiled, replacement


def _apply(rules: tuple[tuple[re.Pattern[str], str], ...], principal: str) -> str | None:
    for pattern, replacement in rules:
        found = pattern.fullmatch(principal)
        if found is not None:
            return found.expand(replacement)
    return None


class AuthToLocal:
    """MIT Kerberos' own `auth_to_local` of krb5.conf(5); gssapi does not expose it, so we call libkrb5.

    Raises:
        ConfigError: There is no MIT Kerberos library.
    """

    def __init__(self) -> None:
        found = ctypes.util.find_library("krb5")
        try:
            self._library = ctypes.CDLL(found or "libkrb5.so.3")
            self._library.krb5_aname_to_localname.argtypes = (
                ctypes.c_void_p,
                ctypes.c_void_p,
                ctypes.c_int,
                ctypes.c_char_p,
            )
        except (OSError, AttributeError) as exc:
            raise ConfigError(
                "kerberos.name_mapping: auth_to_local needs MIT Kerberos' libkrb5; install it, or write rules here"
            ) from exc

    def __call__(self, principal: str) -> str | None:
        """Return the local name, or None if no rule makes one.

        Raises:
            BackendUnavailable: krb5.conf cannot be read.
        """
        library = self._library
        # A context for each call: threads must not share one, and a changed krb5.conf counts at once.
        context, parsed = ctypes.c_void_p(), ctypes.c_void_p()
        local = ctypes.create_string_buffer(_LOCAL_NAME_BYTES)
        if library.krb5_init_context(ctypes.byref(context)) != 0:
            raise BackendUnavailable("kerberos: krb5.conf cannot be read; see `compat-auth check`")
        try:
            if library.krb5_parse_name(context, principal.encode(), ctypes.byref(parsed)) != 0:
                return None
            try:
                code = library.krb5_aname_to_localname(context, parsed, _LOCAL_NAME_BYTES - 1, local)
            finally:
                library.krb5_free_principal(context, parsed)
        finally:
            library.krb5_free_context(context)
        try:
            return local.value.decode() if code == 0 else None
        except UnicodeDecodeError:
            return None
