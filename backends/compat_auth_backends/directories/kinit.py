"""Kerberos passwords, for clients without tickets: like `kinit`, but the KDC's answer is verified.

A KDC's success alone proves nothing: an attacker who answers in its place can make a ticket for any password.
Only a ticket to ourselves, which our own keytab decrypts, proves that the realm's KDC has answered.

The tickets stay in memory, and each check has its own cache. GSSAPI has no time limit, so checks run in a few
separate threads, and a caller does not wait for one longer than `[kerberos] timeout_s`.
"""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillRunning

from gssapi.raw.misc import GSSError

from compat_auth.config import Settings
from compat_auth.directory import DirectoryUser, PasswordAccepted, UserRefused, accepted_or_none
from compat_auth.errors import BackendUnavailable, NoSuchUser, Overloaded, UnknownUser
from compat_auth.identity import Identity
from compat_auth.resilience import PATIENCE_S, CircuitBreaker
from compat_auth.users import UserLookup
from compat_auth_backends.kerberos_acceptor import KRB5, Acceptor, TokenRefused, explain, gss
from compat_auth_backends.kerberos_names import Principals

_AT_ONCE = 8
_REFUSAL_STEP_S = 0.1
# MIT's messages for a definite no; its numbers change from process to process. Anything else is the KDC's trouble.
_REFUSED = re.compile(
    r"preauthentication failed|client '.*' not found in kerberos database|client's credentials have been revoked"
    r"|clients credentials have been revoked|client's entry in database has expired|password has expired"
    r"|password incorrect|decrypt integrity check failed|kdc policy rejects request",
    re.IGNORECASE,
)
# Those of them that are about a principal who is known.
_DISABLED = re.compile(
    r"client'?s credentials have been revoked|client's entry in database has expired|password has expired",
    re.IGNORECASE,
)
# In a name these would choose another principal than the one that is meant, or a realm of the caller's choice.
_SEPARATORS = frozenset("@/\\#\0\n\t\b")


class _NoAnswer(OSError):
    """No KDC has answered in time."""


class KinitDirectory:
    """Users whose password the realm's KDC accepts, under the names of `[kerberos] name_mapping`."""

    name = "kinit"
    needs = ("[kerberos] keytab", "the extra kerberos")
    answers_without_flask = True

    def __init__(
        self, acceptor: Acceptor, principals: Principals, lookup: UserLookup, *, timeout_s: float = 10
    ) -> None:
        self._acceptor = acceptor
        self._principals = principals
        self._lookup = lookup
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="compat-auth-kinit")
        self._free = threading.BoundedSemaphore(_AT_ONCE)
        self._outage = CircuitBreaker()

    @classmethod
    def from_settings(cls, settings: Settings) -> KinitDirectory:
        """Return the directory of `[kerberos]`.

        Raises:
            ConfigError: The keytab, the mapping or a directory of the look-up cannot be used.
        """
        return cls(
            Acceptor.from_settings(settings),
            Principals.from_settings(settings),
            UserLookup.from_settings(settings),
            timeout_s=settings.kerberos.timeout_s,
        )

    def check(self, username: str, password: str) -> PasswordAccepted | None:
        """Return the user if the KDC accepts the password and our keytab decrypts the ticket; None if the password is wrong.

        Args:
            username: A name in the realm, or `name@REALM` with an allowed realm.
            password: As typed.

        Raises:
            BackendUnavailable: No KDC answered in time, or the keytab cannot be used.
            Overloaded: Too many checks wait for the KDC.
        """
        return accepted_or_none(self.decide(username, password))

    def decide(self, username: str, password: str) -> PasswordAccepted | UserRefused | None:
        """Return the user if the KDC accepts the password; `UserRefused` if it, or the look-up, has disabled the user.

        Raises:
            BackendUnavailable, Overloaded: See `check`.
        """
        began = time.monotonic()
        accepted = self._check(username, password)
        if not isinstance(accepted, PasswordAccepted):
            # A KDC knows at once that it has no such user, and takes 20 ms over a wrong password.
            time.sleep(-(time.monotonic() - began) % _REFUSAL_STEP_S)
        return accepted

    def _check(self, username: str, password: str) -> PasswordAccepted | UserRefused | None:
        name, at, realm = username.rpartition("@") if "@" in username else (username, "", "")
        if not name or not password or _SEPARATORS.intersection(name) or (at and realm not in self._principals.realms):
            return None
        try:
            with self._outage.trying():
                principal = self._ask(f"{name}{at}{realm}", password)
        except ConnectionError as exc:
            raise Overloaded(f"kinit: the KDC is {exc}") from exc
        except _NoAnswer as exc:
            raise BackendUnavailable(str(exc)) from exc
        if isinstance(principal, UserRefused):
            return principal
        mapped = self._principals.username(principal) if principal else None
        return self._complete(mapped, principal) if mapped and principal else None

    def _ask(self, name: str, password: str) -> str | UserRefused | None:
        if not self._free.acquire(timeout=min(self._timeout_s, PATIENCE_S)):
            raise Overloaded("kinit: too many checks wait for the KDC")
        try:
            work = self._pool.submit(self._log_in, name, password)
        except BaseException:
            self._free.release()
            raise
        work.add_done_callback(self._release)
        try:
            return work.result(self._timeout_s)
        except StillRunning as exc:
            raise _NoAnswer(f"kinit: no KDC answered within {self._timeout_s:g} s") from exc

    def _release(self, _work: Future[str | UserRefused | None]) -> None:
        self._free.release()

    def _complete(self, username: str, principal: str) -> PasswordAccepted | UserRefused | None:
        try:
            found = self._lookup.complete(Identity(username, self.name, subject=principal))
        except UnknownUser:
            return None
        except NoSuchUser as exc:
            return UserRefused(str(exc))
        user = DirectoryUser(found.username, email=found.email, roles=found.roles, upstream_id=found.upstream_id)
        return PasswordAccepted(user)

    def _log_in(self, name: str, password: str) -> str | UserRefused | None:
        target = self._acceptor.target()
        try:
            user = gss.import_name(name.encode(), gss.NameType.kerberos_principal)
            creds = gss.acquire_cred_with_password(user, password.encode(), mechs=[KRB5]).creds
            token: bytes | None = gss.init_sec_context(target, creds, mech=KRB5).token
        except GSSError as exc:
            reason = explain(exc)
            if disabled := _DISABLED.search(reason):
                return UserRefused(f"the KDC says: {disabled[0]}")
            if _REFUSED.search(reason):
                return None
            raise BackendUnavailable(f"kinit: {reason}") from exc
        if not token:
            raise BackendUnavailable("kinit: GSSAPI made no token")
        try:
            ticket = self._acceptor.verify(token)
        except TokenRefused as exc:
            raise BackendUnavailable(
                f"kinit: the KDC's ticket does not fit our keytab ({exc}); is it the realm's KDC, and the keytab current?"
            ) from exc
        allowed = self._principals.admit(ticket.principal, own_realm=ticket.service_realm)
        return ticket.principal if allowed else None
