"""Names that only a personal token may use: those of role accounts, even if a directory has a user of that name."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from compat_auth.authn.shared import one_per_settings
from compat_auth.config import Settings
from compat_auth.errors import BackendUnavailable
from compat_auth.identity import Identity
from compat_auth.store.migration import open_store
from compat_auth.store.tables.role_accounts import RoleAccountRows

# So soon a new role account is known in every process, and so seldom the store is asked.
BELIEVED_S = 1.0
# So long a login waits for the names to be read again, where they are known; then they are read without it.
WAIT_S = 0.5
# So long it waits for another login that reads them for the first time.
FIRST_WAIT_S = 2.0
_log = logging.getLogger("compat_auth.role_account_names")


class RoleAccountNames:
    """The names, at most a second old. Any thread may use it.

    Args:
        rows: The store.
        monotonic: Clock, in seconds.
    """

    def __init__(self, rows: RoleAccountRows, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rows = rows
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._names: frozenset[str] | None = None
        self._read_at = float("-inf")
        self._is_away = False

    @classmethod
    def from_settings(cls, settings: Settings) -> RoleAccountNames:
        """Return the names in `database_url`, one object for a configuration; the store is opened at first use.

        Raises:
            ConfigError: The URL cannot work.
        """
        # Each that has never read them would wait for a store that hangs.
        return one_per_settings(
            settings, cls, lambda: cls(RoleAccountRows(open_store(settings.database_url.get_secret_value())))
        )

    def reserves(self, identity: Identity) -> bool:
        """Return whether an identity has the name of a role account and is none: a password, ticket or session of it.

        Raises:
            BackendUnavailable: The store could not be asked, and never was before.
        """
        # Directories spell one name differently, and the upstream may take two spellings for one user.
        return not identity.role_account and identity.username.casefold() in self._current()

    def _current(self) -> frozenset[str]:
        names = self._names
        if names is not None and self._monotonic() - self._read_at < BELIEVED_S:
            return names
        if names is None:
            if not self._lock.acquire(timeout=FIRST_WAIT_S):
                raise BackendUnavailable("the names of role accounts are still being read for the first time")
            return self._read_and_release()
        # Known names are used while a slow store is read again: no login waits for that.
        if self._lock.acquire(blocking=False):
            reading = threading.Thread(target=self._read_and_release, name="compat-auth-role-accounts", daemon=True)
            reading.start()
            if not self._is_away:
                reading.join(WAIT_S)
        # There may be none any more.
        return names if self._names is None else self._names

    def _read_and_release(self) -> frozenset[str]:
        try:
            return self._read()
        finally:
            self._lock.release()

    def _read(self) -> frozenset[str]:
        began = self._monotonic()
        if self._names is not None and began - self._read_at < BELIEVED_S:
            return self._names
        try:
            self._names = frozenset(account.username.casefold() for account in self._rows.list())
            self._read_at, self._is_away = began, False
        except BackendUnavailable as error:
            # What was known stays reserved; a store that is down must not keep everybody else out.
            if self._names is None:
                raise
            _log.warning("new role accounts are not known yet: %s", error)
            # From now on nobody waits until it is found out that the store is still away.
            self._read_at, self._is_away = self._monotonic(), True
        return self._names
