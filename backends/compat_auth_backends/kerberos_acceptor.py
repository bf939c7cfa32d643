"""Kerberos tickets, checked against a keytab by GSSAPI (RFC 4120, RFC 4178). Nothing in the environment is changed.

MIT Kerberos reads the keytab again for every ticket, so keys that are added to the file count at once. It says "no key"
for a missing or corrupt file too: a client is refused only after the file has been read without an error.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gssapi.raw
from gssapi.raw.creds import Creds
from gssapi.raw.misc import GSSError
from gssapi.raw.names import Name
from gssapi.raw.oids import OID
from gssapi.raw.sec_contexts import SecurityContext

from compat_auth.config import Settings
from compat_auth.errors import BackendUnavailable, ConfigError, KeyFileError

# Typed by hand: pyright cannot follow the way in which gssapi's stubs name each other.
gss: Any = gssapi.raw
KRB5: OID = gss.OID.from_int_seq("1.2.840.113554.1.2.2")  # RFC 4121 section 6
SPNEGO: OID = gss.OID.from_int_seq("1.3.6.1.5.5.2")  # RFC 4178 section 3
# Named, so that KRB5RCACHENAME=none: in somebody's environment does not let tokens be used twice.
_DEFAULT_REPLAY_CACHE = "dfl:"
# How MIT Kerberos words trouble with its file, as opposed to "Request is a replay".
_NO_REPLAY_CACHE = re.compile(r"replay cache|\(filename: [^)]*\)$", re.IGNORECASE)
# While it writes its file, it says only what the system said: GSSAPI replaces the number of such an error by one of its own.
# None of these follows from what a client sends.
_NOT_WRITTEN = frozenset(
    os.strerror(number)
    for number in (
        errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ENOLCK, errno.ESTALE, errno.EMFILE,
        errno.ENFILE, errno.ENOMEM,
    )
)  # fmt: skip


class TokenRefused(Exception):
    """We do not accept a token; the message says why, for the audit log."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """The content of a valid token.

    Attributes:
        principal: The client, such as `alice@EXAMPLE.ORG`, with MIT's backslash escapes.
        service: The service, without the realm, such as `HTTP/www.example.org`.
        service_realm: Realm of the key that decrypted it.
        reply: The token that proves to the client who we are; b"" when it did not ask.
        ends_at: End of the ticket and of the clock difference that Kerberos allows, seconds since the epoch; or None.
    """

    principal: str
    service: str
    service_realm: str
    reply: bytes = field(repr=False)
    ends_at: int | None = None


class Acceptor:
    """Accepts tickets for the services of one keytab. Any thread may call; a process needs only one, forked or not.

    Args:
        keytab: The file.
        services: First components of the principals that we answer for, such as `HTTP`; each has a key.
        if_keyed: Further ones, each as soon as the keytab has a key for it.
        replay_cache: File that the workers of a host share; None: MIT's default for this user.

    Raises:
        ConfigError: The keytab cannot be read, or lacks a key for a service or for all; says which command to run.
        KeyFileError: Others may read or change the keytab.
    """

    def __init__(
        self,
        keytab: Path,
        services: tuple[str, ...],
        *,
        if_keyed: tuple[str, ...] = (),
        replay_cache: Path | None = None,
    ) -> None:
        self._path = keytab.absolute()
        self._services = services
        self._if_keyed = if_keyed
        self._answers_for = tuple(dict.fromkeys((*services, *if_keyed)))
        rcache = f"file2:{replay_cache.absolute()}" if replay_cache else _DEFAULT_REPLAY_CACHE
        # As bytes: of a str gssapi keeps only the address, and MIT Kerberos falls back to /etc/krb5.keytab.
        self._store: dict[bytes | str, bytes | str] = {
            b"keytab": os.fsencode(f"FILE:{self._path}"),
            b"rcache": os.fsencode(rcache),
        }
        self._lock = threading.Lock()
        if replay_cache and not os.access(replay_cache.absolute().parent, os.W_OK | os.X_OK):
            raise ConfigError(f"kerberos.replay_cache: {replay_cache}: its folder cannot be written to; create it")
        try:
            _require_private(self._path)
            self._version = _version_of(self._path)
            self._creds = self._open()
        except OSError as exc:
            raise ConfigError(
                f"kerberos.keytab: {self._path}: cannot be read ({exc.strerror}); make it with `kadmin -q 'ktadd -k"
                f" {self._path} {self._answers_for[0]}/HOST'` and let the user that we run as read it"
            ) from exc
        except _BadKeytab as exc:
            raise ConfigError(f"kerberos.keytab: {self._path}: {exc}") from exc

    @classmethod
    def from_settings(cls, settings: Settings) -> Acceptor:
        """Return the acceptor of `[kerberos]`.

        Raises:
            ConfigError: No keytab is named, or it cannot be used.
        """
        kerberos = settings.kerberos
        if not kerberos.keytab:
            raise ConfigError("kerberos.keytab: empty; name the file made by `kadmin -q 'ktadd -k FILE HTTP/HOST'`")
        services = tuple(service for service in kerberos.service if service)
        if_keyed = tuple(service for service in kerberos.service_if_keyed if service)
        named = (*services, *if_keyed)
        if not named or any(mark in service for service in named for mark in "/@\\ "):
            raise ConfigError(
                'kerberos.service: name services without host and realm, such as "HTTP" or "HTTP,airflow"'
            )
        replay_cache = Path(kerberos.replay_cache) if kerberos.replay_cache else None
        return cls(Path(kerberos.keytab), services, if_keyed=if_keyed, replay_cache=replay_cache)

    def accept(self, token: bytes) -> Ticket:
        """Return the content of a SPNEGO or Kerberos token; each token is accepted once.

        Raises:
            TokenRefused: It is no token, is for another service, has expired, was used before, or wants several legs.
            BackendUnavailable: The keytab or the replay cache cannot be used.
        """
        ticket = self.verify(token)
        if ticket.service.partition("/")[0] not in self._answers_for:
            raise TokenRefused(f"the ticket is for {ticket.service}, not for {' or '.join(self._answers_for)}")
        return ticket

    def verify(self, token: bytes) -> Ticket:
        """Return the content of a token for any key in the keytab, whatever the service; otherwise as `accept`."""
        creds = self._current()
        try:
            # The raw call: SecurityContext.step() would return an error token as if it were an answer.
            result = gss.accept_sec_context(token, creds)
        except GSSError as exc:
            reason = explain(exc)
            if _NO_REPLAY_CACHE.search(reason) or reason in _NOT_WRITTEN:
                raise BackendUnavailable(f"kerberos: the replay cache cannot be used: {reason}") from exc
            self._require_usable()
            raise TokenRefused(reason) from exc
        if result.more_steps:
            # The context of a second leg would have to outlive the request, and find the same worker.
            raise TokenRefused("the client wants a second leg, or sent an empty token")
        if result.mech != KRB5:
            raise TokenRefused(f"mechanism {result.mech} is not Kerberos")
        if gss.RequirementFlag.anonymity in result.flags:
            raise TokenRefused("the client is anonymous")
        service, _, service_realm = self._service_of(result.context).rpartition("@")
        ends_at = None if result.lifetime is None else int(time.time()) + result.lifetime
        return Ticket(_display(result.initiator_name), service, service_realm, result.token or b"", ends_at)

    def target(self) -> Name:
        """Return the name of a key in the keytab, to ask a KDC for a ticket to ourselves.

        Raises:
            BackendUnavailable: The keytab cannot be used.
        """
        self._current()
        try:
            found: Name | None = gss.inquire_cred(
                gss.acquire_cred_from(self._store, usage="accept", mechs=[KRB5]).creds
            ).name
        except GSSError as exc:
            raise BackendUnavailable(self._unusable(explain(exc))) from exc
        if found is None:
            raise BackendUnavailable(self._unusable("names no principal"))
        return found

    @staticmethod
    def _service_of(context: SecurityContext | None) -> str:
        if context is None:
            return ""
        # Only what is used: each further answer costs a conversion.
        asked = dict.fromkeys(("initiator_name", "lifetime", "mech", "flags", "locally_init", "complete"), False)
        return _display(gss.inquire_context(context, **asked).target_name)

    def _current(self) -> Creds:
        try:
            if _version_of(self._path) == self._version:
                return self._creds
        except OSError as exc:
            raise BackendUnavailable(self._unusable(exc.strerror or "error")) from exc
        self._require_usable()
        return self._creds

    def _require_usable(self) -> None:
        """Open the keytab again; the acceptor changes only if the file is valid."""
        with self._lock:
            try:
                version = _version_of(self._path)
                self._creds = self._open()
            except OSError as exc:
                raise BackendUnavailable(self._unusable(exc.strerror or "error")) from exc
            except _BadKeytab as exc:
                raise BackendUnavailable(self._unusable(str(exc))) from exc
            self._version = version

    def _unusable(self, why: str) -> str:
        return f"kerberos.keytab: {self._path}: {why}; see `compat-auth check`"

    def _open(self) -> Creds:
        with self._path.open("rb"):
            pass  # an OSError says more than GSSAPI does
        self._require_keys()
        creds: Creds = gss.acquire_cred_from(self._store, usage="accept", mechs=[SPNEGO, KRB5]).creds
        # Else SPNEGO would offer whatever mechanism is installed, NTLM among them.
        gss.set_neg_mechs(creds, [KRB5])
        return creds

    def _require_keys(self) -> None:
        """Check that the keytab has a key for each service, or for at least one if any service will do."""
        faults = {service: fault for service in self._answers_for if (fault := self._find_fault(service))}
        if not faults.keys().isdisjoint(self._services) or len(faults) == len(self._answers_for):
            raise _BadKeytab(next(iter(faults.values())))

    def _find_fault(self, service: str) -> str:
        name = gss.import_name(service.encode(), gss.NameType.hostbased_service)
        try:
            gss.acquire_cred_from(self._store, name=name, usage="accept", mechs=[KRB5])
        except GSSError as exc:
            return (
                f"no usable key for service {service!r} ({explain(exc)}); run `kadmin -q 'ktadd -k {self._path}"
                f" {service}/HOST'`, or change kerberos.service"
            )
        return ""


class _BadKeytab(Exception):
    """The file is no keytab or lacks a key."""


def explain(error: GSSError) -> str:
    """Return GSSAPI's own message, on one line; for logs, because it can name principals."""
    asked: Any = error
    texts: list[str] = asked.get_all_statuses(asked.min_code, False) if asked.min_code else []
    return " ".join("; ".join(texts or asked.get_all_statuses(asked.maj_code, True)).split())


def _display(name: Name | None) -> str:
    try:
        return str(gss.display_name(name, name_type=False).name, "utf-8") if name is not None else ""
    except UnicodeDecodeError:
        raise TokenRefused("the name of the principal is not UTF-8") from None


def _version_of(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev)


def _require_private(path: Path) -> None:
    # A reader of the keys can make tickets in any user's name.
    if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        raise KeyFileError(f"kerberos.keytab: {path}: others may read or change the keys; run: chmod o-rwx,g-w {path}")
