"""The load: connections that mix all credentials, at a bounded rate, each answer judged."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from gssapi.raw.misc import GSSError

from soak.account import Account, Answer
from soak.conversation import Connection, Reply
from soak.credentials import Kind

CONNECTIONS: Final = 24
BODY: Final = b'{"a": 1}'


@dataclass(frozen=True, slots=True)
class Load:
    """Clients that ask until they are cancelled.

    Attributes:
        port: Of the front.
        kinds: Of credentials; one is chosen for each request, so that a connection carries many users.
        account: Judges the answers.
        per_s: Requests a second of all clients together.
        seed: For the choices.
    """

    port: int
    kinds: Sequence[Kind]
    account: Account
    per_s: float
    seed: int

    async def run(self) -> None:
        """Ask until cancelled."""
        numbers = itertools.count()
        async with asyncio.TaskGroup() as group:
            for number in range(CONNECTIONS):
                group.create_task(self._client(number, numbers))

    async def _client(self, number: int, numbers: itertools.count[int]) -> None:
        chosen = random.Random(f"{self.seed}/{number}")  # noqa: S311  # to be repeated, not to be secret
        weights = [kind.weight for kind in self.kinds]
        connection = Connection(self.port)
        try:
            while True:
                await asyncio.sleep(chosen.expovariate(self.per_s / CONNECTIONS))
                (kind,) = chosen.choices(self.kinds, weights)
                await self._ask(connection, kind, next(numbers))
        finally:
            connection.close()

    async def _ask(self, connection: Connection, kind: Kind, number: int) -> None:
        target = f"/api/v2/whose?n={number}"
        try:
            headers = kind.present()
        except GSSError:  # no ticket: the client's own trouble, while the KDC is unavailable
            return
        body = BODY if kind.method == "POST" else b""
        began = time.monotonic()
        reply = await connection.ask(kind.method, target, headers, body)
        ended = time.monotonic()
        user, seen = seen_by_upstream(reply)
        self.account.add(
            Answer(kind.name, began, ended, reply.status, user, seen),
            user=kind.user,
            target=target,
            expected=kind.expected,
        )


def seen_by_upstream(reply: Reply) -> tuple[str, str]:
    """Return the user and the request target that the upstream has seen; empty where it was not asked."""
    with suppress(ValueError, AttributeError):
        content: dict[str, Any] = json.loads(reply.body)
        return str(content.get("sub", "")), str(content.get("target", ""))
    return "", ""
