"""What is known about the upstream, asked once and asked again after a while. No I/O.

Its version is none of it: what is sent is what 3.0 takes, and what comes back may be of any later version.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator

from compat_auth.airflow.v1.messages import Answer, Call
from compat_auth.airflow.v1.problems import is_unrouted
from compat_auth.crypto.strict_json import is_object

# Another auth manager is seen within a minute.
FRESH_S = 60.0


class UpstreamFacts:
    """One upstream, seen from one process.

    Args:
        now: Monotonic seconds.

    Attributes:
        bundle_roots: Where the files of a bundle lie, by its name.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.bundle_roots: dict[str, str] = {}
        self._now = now
        self._has_fab = False
        self._until = float("-inf")

    def has_fab(self) -> Generator[Call, Answer, bool]:
        """Find out whether FAB manages the upstream's users."""
        if self._now() >= self._until:
            # Anybody may ask: only the kind of a refusal counts.
            answer = yield Call("GET", "/auth/fab/v1/permissions", (("limit", "1"),))
            self._has_fab = _is_of_fab(answer)
            if not self._has_fab or answer.status in (200, 403):
                self._until = self._now() + FRESH_S
        return self._has_fab


def _is_of_fab(answer: Answer) -> bool:
    if not answer.is_success:
        return not is_unrouted(answer)
    try:
        # The simple auth manager answers any path with the page of its own login.
        return is_object(answer.json())
    except ValueError:
        return False
