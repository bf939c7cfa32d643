"""Checks for which the event loop waits; see `compat_auth.concurrency.brief_work`.

Only a chain without Flask is short: a module of Airflow 2, or a backend of a site, has the threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from compat_auth.authn.chain import Chain
from compat_auth.backend import CredentialKind
from compat_auth.concurrency.brief_work import BriefWork, Job, Pace
from compat_auth.concurrency.fair_queue import FairQueue
from compat_auth.facts import answers_without_flask

T = TypeVar("T")


class BriefChecks:
    """Says whether the event loop may wait for a check, by how long such checks took; for its thread only.

    Args:
        chain: The backends.
        issuer: Makes the tokens.
        kinds: The kinds of credentials.
        turns: Those of the threads: while others wait for one, nobody overtakes them.
        threads: How many have a turn at once.
    """

    def __init__(
        self, chain: Chain, issuer: object, kinds: Iterable[CredentialKind], turns: FairQueue, threads: int
    ) -> None:
        self._work = BriefWork("compat-auth-brief")
        self._turns = turns
        self._threads = threads
        is_ours = answers_without_flask(issuer)
        self._paces = {kind: Pace() for kind in kinds if is_ours and chain.answers_without_flask(kind)}

    def measured(self, kind: CredentialKind, check: Callable[[], T]) -> Callable[[], T]:
        """Return a check for a thread of the usual ones, from which is learned how long it takes."""
        pace = self._paces.get(kind)
        return check if pace is None else pace.measured(check)

    def takes(self, kind: CredentialKind) -> bool:
        """Return whether the event loop may wait for a check now."""
        pace = self._paces.get(kind)
        return pace is not None and self._turns.present < self._threads and self._work.takes(pace)

    def start(self, kind: CredentialKind, check: Callable[[], T]) -> Job[T]:
        """Begin a check, and wait a moment for its end; call it after `takes`.

        Returns:
            The check, done or still under way.
        """
        return self._work.start(check, self._paces[kind])

    def close(self) -> None:
        """Start no more checks."""
        self._work.close()
