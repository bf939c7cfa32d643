"""Facts about the upstream, looked up once and again after a while. No I/O.

Its version is not among them: we send what 3.0 accepts, and read answers of any later version.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator

from compat_auth.airflow.v1.messages import Answer, Call
from compat_auth.airflow.v1.problems import is_unrouted
from compat_auth.crypto.strict_json import is_object

# We notice a change of the auth manager within a minute.
FRESH_S = 60.0


class UpstreamFacts:
    """One upstream, seen from one process.

    Args:
        now: Monotonic seconds.

    Attributes:
        bundle_roots: Folder of each bundle's files, by the bundle's name.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.bundle_roots: dict[str, str] = {}
        self._now = now
        self._has_fab = False
        self._until = float("-inf")

    def has_fab(self) -> Generator[Call, Answer, bool]:
        """Return whether FAB manages the upstream's users."""
        if self._now() >= self._until:
            # This needs no permission: only the kind of the error matters.
            answer = yield Call("GET", "/auth/fab/v1/permissions", (("limit", "1"),))
            self._has_fab = _is_of_fab(answer)
            if not self._has_fab or answer.status in (200, 403):
                self._until = self._now() + FRESH_S
        return self._has_fab


def _is_of_fab(answer: Answer) -> bool:
    if not answer.is_success:
        return not is_unrouted(answer)
    try:
        # SimpleAuthManager answers any path with its login page.
        return is_object(answer.json())
    except ValueError:
        return False
