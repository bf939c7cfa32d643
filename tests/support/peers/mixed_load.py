"""Several clients at once, each with a credential of its own kind, and what each of them saw."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

ANSWER_S: Final = 30
PAUSE_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer.

    Attributes:
        began: When it was asked for, by the monotonic clock.
        ended: When it was there.
        status: HTTP status; 0 when there was no whole answer.
        retry_after: The header, or "".
        user: Whom the upstream was told; "" where it was not asked.
    """

    began: float
    ended: float
    status: int
    retry_after: str
    user: str


class Client:
    """Asks again and again, on one connection, until it is stopped.

    Attributes:
        name: For messages.
        user: Whom the upstream must be told.
        needs: Names of the peers without which this credential cannot be judged.
        seen: Every answer, in order.
    """

    def __init__(self, name: str, user: str, needs: Sequence[str], present: Callable[[], Mapping[str, str]]) -> None:
        self.name = name
        self.user = user
        self.needs = frozenset(needs)
        self.seen: list[Seen] = []
        self._present = present

    def run(self, port: int, stopped: threading.Event) -> None:
        """Ask until stopped."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
        while not stopped.wait(PAUSE_S):
            self.seen.append(self._ask(connection))
        connection.close()

    def during(self, began: float, ended: float) -> list[Seen]:
        """Return the answers that came between, whenever they had been asked for."""
        return [seen for seen in self.seen if began <= seen.ended <= ended]

    def _ask(self, connection: http.client.HTTPConnection) -> Seen:
        headers = dict(self._present())
        began = time.monotonic()
        try:
            connection.request("GET", "/api/v2/whose", headers=headers)
            answer = connection.getresponse()
            content = json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            connection.close()
            return Seen(began, time.monotonic(), 0, "", "")
        retry_after = answer.headers.get("Retry-After", "")
        return Seen(began, time.monotonic(), answer.status, retry_after, str(content.get("sub", "")))


@contextmanager
def asking(clients: Sequence[Client], port: int) -> Generator[None]:
    """Let every client ask for as long as the block lasts."""
    stopped = threading.Event()
    threads = [threading.Thread(target=client.run, args=(port, stopped), name=client.name) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
