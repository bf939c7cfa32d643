"""What a fault may touch, and what is said about a fault."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from soak.credentials import Credentials
from soak.place import Place
from support.peers.soak_site import Replica

DOWN_S: Final = 2.0
SURVIVOR: Final = 2
"""This replica is never stopped, so that it shows what an hour leaves behind."""


@dataclass(frozen=True, slots=True)
class World:
    """What a fault may touch, and its own choices."""

    place: Place
    credentials: Credentials
    chosen: random.Random

    def mortal(self) -> Replica:
        """Return one of the replicas that may be stopped."""
        return self.chosen.choice([one for number, one in enumerate(self.place.replicas) if number != SURVIVOR])

    def any_worker(self) -> int:
        """Return the process id of a worker of any replica."""
        return self.chosen.choice([pid for replica in self.place.replicas for pid in replica.workers()])


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        run: Does it, and undoes it.
        harms: Programs that no other fault may harm at the same time.
        refuses: Kinds of good credentials that may be refused meanwhile; `ALL` for all.
    """

    run: Callable[[World], None]
    harms: frozenset[str]
    refuses: frozenset[str] = frozenset()


def kill(pid: int | None) -> None:
    """End a process without a chance to say goodbye, as a crash would; None: none."""
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
