"""The users of an LDAP server, by python-ldap: found by a search, passwords checked by a bind (RFC 4513 section 5.1.3).

Searches and binds never share a connection, because a bind changes the connection's user. A user's name is always
spelled as in the entry. If the search yields two entries, neither can log in. An entry with several names is one user,
with the name in its DN: people may be able to add a name to their entry, but not to change the DN.

An unknown user costs a bind to an entry that does not exist. The server answers that sooner than a wrong password, so the
refusal asks some more, see `compat_auth_backends.ldap.refusal_times`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, cast

import ldap

from compat_auth.config import LdapSettings, Settings
from compat_auth.directory import DirectoryUser, PasswordAccepted, UserRefused, accepted_or_none
from compat_auth.errors import BackendUnavailable
from compat_auth_backends.ldap.bind import LOST, lost, try_bind, why
from compat_auth_backends.ldap.connection_pool import ConnectionPool, Lost, Servers
from compat_auth_backends.ldap.diagnosis import Sampler, certificates, diagnose
from compat_auth_backends.ldap.probe import ProbeFailed, probe
from compat_auth_backends.ldap.refusal_times import RefusalTimes
from compat_auth_backends.ldap.settings import (
    ca_file_of,
    dn_key,
    fill_filter,
    group_key,
    name_in_dn,
    require_usable,
)

# python-ldap has no type stubs.
_api = cast("Any", ldap)
_log = logging.getLogger(__name__)
# To connect, and to begin TLS, a server needs no search: one that takes longer does not answer at all.
CONNECT_S = 3.0
_TLS_1_2 = 0x303
_NO_ATTRIBUTES = "1.1"  # RFC 4511 section 4.5.1.8
_LONGEST_NAME = 256


@dataclass(frozen=True, slots=True)
class _Entry:
    dn: str
    user: DirectoryUser
    groups: tuple[str, ...]


class _MayNotLogIn(Exception):
    """The server knows the user, and says why this user may not log in."""


class LdapDirectory:
    """Users of one LDAP server, or of several that hold the same users."""

    name = "ldap"
    needs = ("[ldap] url", "[ldap] base")
    answers_without_flask = True
    knows_upstream_id = False
    is_server = True

    def __init__(self, settings: LdapSettings) -> None:
        self._settings = settings
        self._ca_file = ca_file_of(settings)
        self._refusals = RefusalTimes()
        self._roles = {dn_key(dn): tuple(roles) for dn, roles in settings.roles.items()}
        servers = Servers.of(tuple(settings.url))
        self._searches: ConnectionPool[Any] = ConnectionPool(
            servers,
            self._connect_to_search,
            _disconnect,
            size=settings.search_connections,
            wait_s=settings.timeout_s,
            label="ldap search",
        )
        self._binds: ConnectionPool[Any] = ConnectionPool(
            servers,
            self._connect,
            _disconnect,
            size=settings.bind_connections,
            wait_s=settings.timeout_s,
            label="ldap bind",
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> LdapDirectory:
        """Return the directory of `[ldap]`; connects at first use.

        Raises:
            ConfigError: A setting is missing or wrong, or passwords would travel unencrypted.
        """
        require_usable(settings.ldap)
        return cls(settings.ldap)

    def find(self, username: str) -> DirectoryUser | None:
        """Return the user of that name, active or not; None if unknown.

        Raises:
            BackendUnavailable: No server could be asked, or it refused the search.
        """
        if not _is_name(username):
            return None
        found = self._searches.run(lambda connection: self._search(connection, username))
        if not found:
            return None
        if len(found) > 1:
            # Nobody can say who of the two is meant, so it is neither.
            return DirectoryUser(username, active=False)
        return self._searches.run(lambda connection: self._describe(connection, found[0]))

    def check(self, username: str, password: str) -> PasswordAccepted | None:
        """Return the user when a server accepts the password; None when it does not.

        Raises:
            BackendUnavailable: No server could be asked, or it refused the search.
        """
        return accepted_or_none(self.decide(username, password))

    def decide(self, username: str, password: str) -> PasswordAccepted | UserRefused | None:
        """Return the user when a server accepts the password; `UserRefused` for one who may not log in.

        Raises:
            BackendUnavailable: No server could be asked, or it refused the search.
        """
        # RFC 4513 section 5.1.2: a bind without a password succeeds as nobody, so it must never be sent.
        if not password or "\0" in password or not _is_name(username):
            return None
        began = self._refusals.now()

        def search(connection: Any) -> list[_Entry]:
            nonlocal began
            # The wait for a connection depends on other callers, and not on the name.
            began = self._refusals.now()
            return self._search(connection, username)

        found = self._searches.run(search)
        # Asked about every name, so that an unknown one costs as much.
        is_disabled = bool(self._settings.disabled_filter) and self._searches.run(
            lambda connection: self._has_disabled(connection, username)
        )
        if len(found) != 1:
            self._bind(f"cn=compat-auth-nobody,{self._settings.base}".rstrip(","), password)
            self._refusals.fill(began, self._ask_for_nothing)
            return None
        try:
            is_right = self._bind(found[0].dn, password)
        except _MayNotLogIn as exc:
            return UserRefused(str(exc))
        if not is_right:
            self._refusals.note_wrong(began)
        if is_disabled:
            return UserRefused("user is disabled")
        if not is_right:
            return None
        user = self._searches.run(lambda connection: self._describe(connection, found[0]))
        return PasswordAccepted(user) if user.active else UserRefused("user is disabled")

    def _ask_for_nothing(self) -> None:
        base = self._settings.base
        self._searches.run(
            lambda connection: self._query(
                connection, base, "(objectClass=*)", [_NO_ATTRIBUTES], limit=0, scope=_api.SCOPE_BASE
            )
        )

    def problems(self) -> list[str]:
        """Return the problems of the servers: where, why, and the remedy."""
        found: list[str] = []
        if self._settings.allow_plaintext and not self._settings.start_tls:
            found += [
                f"{url}: passwords travel unencrypted; set [ldap] start_tls = true"
                for url in self._settings.url
                if url.lower().startswith("ldap:")
            ]
        return found + [fault for url in self._settings.url if (fault := self._fault_of(url))]

    def diagnose(self) -> list[tuple[str, str]]:
        """Return facts for `compat-auth doctor`: pairs of ok, warning or failure, and "WHERE: WHAT; NEXT STEP".

        Raises:
            BackendUnavailable: No server could be asked, or it refused the search.
        """
        return self._searches.run(lambda connection: diagnose(self._settings, Sampler(connection, self._settings)))

    def certificates(self) -> list[tuple[str, bytes]]:
        """Return URL and certificate (DER) of each server that has TLS and answers, for `compat-auth doctor`."""
        return certificates(self._settings, self._ca_file, CONNECT_S)

    def _fault_of(self, url: str) -> str:
        try:
            _disconnect(self._connect_to_search(url))
        except Lost as exc:
            return (
                f"{url}: {exc}; check that it runs, [ldap] ca_file, that its certificate names this host, and bind_dn"
            )
        return ""

    def close(self) -> None:
        """Close the connections; the next query opens new ones."""
        self._searches.close()
        self._binds.close()

    def _search(self, connection: Any, username: str) -> list[_Entry]:
        names = (self._settings.username_attribute, self._settings.email_attribute, self._settings.member_of)
        query = fill_filter(self._settings.user_filter, username=username)
        try:
            rows = self._query(connection, self._settings.base, query, [name for name in names if name], limit=2)
        except _api.SIZELIMIT_EXCEEDED:
            nobody = _Entry("", DirectoryUser(username, active=False), ())
            return [nobody, nobody]
        return [entry for dn, attributes in rows if (entry := self._read(dn, attributes)) is not None]

    def _read(self, dn: str, attributes: dict[str, list[str]]) -> _Entry | None:
        names = attributes.get(self._settings.username_attribute.lower(), [])
        # An entry with two names would be two users; one without a DN would bind as nobody.
        if len(names) > 1:
            names = name_in_dn(dn, self._settings.username_attribute, names)
            if not names:
                _log.warning(
                    "ldap: %s: more than one %s, and none of them in its DN, so nobody can say what the user is called; "
                    "remove one, or set [ldap] username_attribute to an attribute with one value",
                    dn,
                    self._settings.username_attribute,
                )
        if len(names) != 1 or not _is_name(names[0]) or not dn:
            return None
        emails = attributes.get(self._settings.email_attribute.lower(), [])
        email = next((email for email in emails if email.isprintable()), "")
        return _Entry(
            dn,
            DirectoryUser(names[0], email=email),
            tuple(attributes.get(self._settings.member_of.lower(), [])),
        )

    def _describe(self, connection: Any, entry: _Entry) -> DirectoryUser:
        active = not (self._settings.disabled_filter and self._is_disabled(connection, entry.dn))
        groups = list(entry.groups)
        if self._settings.group_base:
            query = fill_filter(self._settings.group_filter, username=entry.user.username, dn=entry.dn)
            rows = self._query(connection, self._settings.group_base, query, [_NO_ATTRIBUTES], limit=0)
            groups += [dn for dn, _ in rows]
        held = {role for dn in groups for role in self._roles.get(group_key(dn), ())}
        return DirectoryUser(entry.user.username, active=active, email=entry.user.email, roles=tuple(sorted(held)))

    def _is_disabled(self, connection: Any, dn: str) -> bool:
        disabled = self._settings.disabled_filter
        return bool(self._query(connection, dn, disabled, [_NO_ATTRIBUTES], limit=0, scope=_api.SCOPE_BASE))

    def _has_disabled(self, connection: Any, username: str) -> bool:
        disabled = self._settings.disabled_filter
        known = fill_filter(self._settings.user_filter, username=username)
        query = f"(&{_in_parentheses(known)}{_in_parentheses(disabled)})"
        return bool(self._query(connection, self._settings.base, query, [_NO_ATTRIBUTES], limit=0))

    def _query(
        self, connection: Any, base: str, query: str, names: list[str], *, limit: int, scope: int = _api.SCOPE_SUBTREE
    ) -> list[tuple[str, dict[str, list[str]]]]:
        try:
            rows = connection.search_ext_s(base, scope, query, names, timeout=self._settings.timeout_s, sizelimit=limit)
        except LOST as exc:
            raise lost(exc) from exc
        except _api.SIZELIMIT_EXCEEDED:
            if limit:
                raise
            raise BackendUnavailable(f"ldap: {base}: more groups than the server shows; raise its limit") from None
        except _api.LDAPError as exc:
            raise BackendUnavailable(
                f"ldap: the search below {base!r} failed ({why(exc)}); check [ldap] base, the filters and bind_dn's rights"
            ) from exc
        # A row without a DN refers to another server, which nobody has vouched for.
        return [(dn, _texts(attributes)) for dn, attributes in rows if dn is not None]

    def _bind(self, dn: str, password: str) -> bool:
        """Return whether the password is right.

        Raises:
            _MayNotLogIn: The server says that the user may not log in.
        """
        result = self._binds.run(lambda connection: try_bind(connection, dn, password, self._settings.timeout_s))
        if isinstance(result, str):
            raise _MayNotLogIn(result)
        return result

    def _connect_to_search(self, url: str) -> Any:
        connection = self._connect(url)
        try:
            connection.simple_bind_s(self._settings.bind_dn, self._settings.bind_password.get_secret_value())
        except _api.LDAPError as exc:
            _disconnect(connection)
            raise Lost(f"the server refused bind_dn: {why(exc)}") from exc
        return connection

    def _connect(self, url: str) -> Any:
        settings = self._settings
        try:
            connect_s = min(settings.timeout_s, CONNECT_S)
            probe(url, start_tls=settings.start_tls, ca_file=self._ca_file, timeout_s=connect_s)
            connection = _api.initialize(url)
            connection.set_option(_api.OPT_PROTOCOL_VERSION, 3)
            connection.set_option(_api.OPT_REFERRALS, 0)
            connection.set_option(_api.OPT_DEREF, _api.DEREF_NEVER)
            connection.set_option(_api.OPT_NETWORK_TIMEOUT, connect_s)
            connection.set_option(_api.OPT_TIMEOUT, settings.timeout_s)
            # Said here, because ldap.conf and LDAPTLS_REQCERT in the environment may say otherwise.
            connection.set_option(_api.OPT_X_TLS_REQUIRE_CERT, _api.OPT_X_TLS_DEMAND)
            connection.set_option(_api.OPT_X_TLS_PROTOCOL_MIN, _TLS_1_2)
            if self._ca_file:
                connection.set_option(_api.OPT_X_TLS_CACERTFILE, self._ca_file)
            connection.set_option(_api.OPT_X_TLS_NEWCTX, 0)
            if url.lower().startswith("ldap:") and settings.start_tls:
                connection.start_tls_s()
        except ProbeFailed as exc:
            raise Lost(str(exc)) from exc
        except _api.LDAPError as exc:
            raise Lost(why(exc)) from exc
        return connection


def _in_parentheses(query: str) -> str:
    return query if query.startswith("(") else f"({query})"


def _disconnect(connection: Any) -> None:
    try:
        connection.unbind_ext_s()
    except _api.LDAPError:
        return


def _texts(attributes: dict[str, list[bytes]]) -> dict[str, list[str]]:
    return {
        # With an option, such as ;lang-de, it is another attribute.
        name.lower(): [value.decode(errors="replace") for value in values]
        for name, values in attributes.items()
    }


def _is_name(text: str) -> bool:
    """Return whether a text can be a user's name: printable, and so encodable, and not too long."""
    return bool(text.strip()) and text.isprintable() and len(text) <= _LONGEST_NAME and "\ufffd" not in text
