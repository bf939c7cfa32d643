"""What is known about the upstream, asked once and asked again after a while. No I/O."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from compat_auth.airflow.v1.messages import Call, Lookup
from compat_auth.airflow.v1.problems import is_unrouted

# An upgrade of Airflow is seen within a minute.
FRESH_S = 60.0
_MINOR = re.compile(r"(\d+)\.(\d+)\.(\d+)")
# Says what an upstream that cannot be read is taken for: the oldest, to which nothing new is sent.
OLDEST = (3, 0, 0)


class Facts:
    """One upstream, seen from one process.

    Args:
        now: Monotonic seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._version: tuple[int, int, int] = OLDEST
        self._version_until = float("-inf")
        self._has_fab = False
        self._has_fab_until = float("-inf")
        self.bundle_roots: dict[str, str] = {}

    def version(self) -> Lookup:
        """Find out the upstream's version; a tuple of three numbers."""
        if self._now() >= self._version_until:
            answer = yield Call("GET", "/api/v2/version")
            match = _MINOR.match(str(answer.json().get("version", ""))) if answer.status == 200 else None
            self._version = (int(match[1]), int(match[2]), int(match[3])) if match else OLDEST
            self._version_until = self._now() + (FRESH_S if match else 0)
        return self._version

    def has_fab(self) -> Lookup:
        """Find out whether FAB manages the upstream's users; a truth value."""
        if self._now() >= self._has_fab_until:
            # Anybody who is logged in may ask for what does not exist: only the kind of refusal counts.
            answer = yield Call("GET", "/auth/fab/v1/permissions", (("limit", "1"),))
            self._has_fab = not is_unrouted(answer)
            if not self._has_fab or answer.status in (200, 403):
                self._has_fab_until = self._now() + FRESH_S
        return self._has_fab
