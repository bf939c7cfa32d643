"""Recent answers of directory servers about users: they are reused for a bounded time while a server is unavailable.

A password that was right stays valid for `[basic_auth] cache_ttl_s`, whatever happens to the server meanwhile. So does
the server's answer about the user of a token, session or ticket: one rule for all credentials.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from compat_auth.authn.shared import one_per_settings
from compat_auth.config import Settings
from compat_auth.directory import DirectoryUser, UserDirectory
from compat_auth.errors import BackendUnavailable

_MAX_ENTRIES = 10_000


class LastAnswers:
    """Asks directories, and remembers what a server has answered. Any thread may use it.

    Args:
        believed_s: Seconds for which an answer stands in for that of a server that cannot be asked; 0: never.
        monotonic: Clock, in seconds.
    """

    def __init__(self, believed_s: float, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._believed_s = believed_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._answers: OrderedDict[tuple[str, str], tuple[float, DirectoryUser | None]] = OrderedDict()

    @classmethod
    def from_settings(cls, settings: Settings) -> LastAnswers:
        """Return the answers that all look-ups of these settings share, because a server fails for all of them at once."""
        return one_per_settings(settings, cls, lambda: cls(settings.basic_auth.cache_ttl_s))

    def find(self, directory: UserDirectory, username: str) -> DirectoryUser | None:
        """Return the directory's answer about a name now, or else its answer of less than `believed_s` ago.

        Raises:
            BackendUnavailable: It cannot be asked, and there is no recent answer.
        """
        # A file is here: where it cannot be read, somebody has to mend it.
        if not self._believed_s or not getattr(directory, "is_server", False):
            return directory.find(username)
        key, asked_at = (directory.name, username), self._monotonic()
        try:
            user = directory.find(username)
        except BackendUnavailable:
            with self._lock:
                remembered = self._answers.get(key)
            if remembered is None or asked_at - remembered[0] >= self._believed_s:
                raise
            return remembered[1]
        with self._lock:
            self._answers[key] = (asked_at, user)
            self._answers.move_to_end(key)
            if len(self._answers) > _MAX_ENTRIES:
                self._answers.popitem(last=False)
        return user
