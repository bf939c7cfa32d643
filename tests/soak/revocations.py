"""Credentials that are made, used, revoked, and must be refused by everybody a second later."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from soak.account import REVOKED_LET_IN, Account
from soak.conversation import ask_once
from soak.credentials import TOKENS_PAGE, log_in, upstream_token
from soak.load import seen_by_upstream
from soak.place import FILE_USERS, Place
from support.stand_ins import basic

BOUND_S: Final = 1.0
# Logins of one address are limited; each comes from another one.
PAUSE_S: Final = 1.5
Revoke = Callable[[int], Awaitable[int]]
"""Revokes at the port of a replica, and returns the status."""


@dataclass(slots=True)
class Revocations:
    """Makes credentials and revokes them until cancelled.

    Attributes:
        counts: By kind of credential and outcome.
    """

    place: Place
    account: Account
    seed: int
    counts: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])

    async def run(self) -> None:
        """Revoke one credential after the other."""
        chosen = random.Random(f"{self.seed}/revocations")  # noqa: S311  # to be repeated, not to be secret
        makers = (self._personal_token, self._jwt, self._session)
        while True:
            await asyncio.sleep(PAUSE_S)
            maker = chosen.choice(makers)
            kind = maker.__name__.strip("_").replace("_", " ")
            ports = [replica.port for replica in self.place.replicas]
            try:
                headers, revoke = await maker(chosen)
            except (OSError, KeyError, ValueError):
                self.counts[kind, "not made"] += 1
                continue
            before = [await self._is_let_in(port, headers) for port in (self.place.port, *ports)]
            status = await revoke(chosen.choice(ports))
            answered = time.monotonic()
            if status not in (200, 204, 303):
                self.counts[kind, "not revoked"] += 1
                continue
            await asyncio.sleep(max(0.0, answered + BOUND_S - time.monotonic()))
            self.counts[kind, "remembered" if all(before) else "revoked"] += 1
            await self._judge(kind, headers, [self.place.port, self.place.port, *ports, *ports])

    async def _judge(self, kind: str, headers: Mapping[str, str], ports: list[int]) -> None:
        began = time.monotonic()
        let_in = await asyncio.gather(*(self._is_let_in(port, headers) for port in ports))
        for port in sorted({port for port, was in zip(ports, let_in, strict=True) if was}):
            who = "the front" if port == self.place.port else f"replica of port {port}"
            self.account.report(
                REVOKED_LET_IN, f"{kind}: by {who}", self.account.during(began - BOUND_S, time.monotonic())
            )

    @staticmethod
    async def _is_let_in(port: int, headers: Mapping[str, str]) -> bool:
        reply = await ask_once(port, "GET", "/api/v2/whose?revoked", headers)
        return reply.status == 200 and seen_by_upstream(reply)[0] != ""

    async def _personal_token(self, chosen: random.Random) -> tuple[Mapping[str, str], Revoke]:
        owner = {"Authorization": basic("vera", FILE_USERS["vera"])}
        # The name of a token whose revocation has failed is still taken.
        wish = {
            "name": f"revoked {chosen.randrange(10**12)}",
            **({"scopes": ["read"]} if chosen.random() < 0.5 else {}),
        }
        wished = {**owner, "Content-Type": "application/json"}
        made = await ask_once(self.place.port, "POST", TOKENS_PAGE, wished, json.dumps(wish).encode())
        content = json.loads(made.body)

        async def revoke(port: int) -> int:
            return (await ask_once(port, "DELETE", f"{TOKENS_PAGE}/{content['id']}", owner)).status

        return {"Authorization": f"Bearer {content['token']}"}, revoke

    async def _jwt(self, chosen: random.Random) -> tuple[Mapping[str, str], Revoke]:
        token = upstream_token(chosen.choice(("tom", "robot")))

        async def revoke(port: int) -> int:
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            body = urlencode({"token": token}).encode()
            return (await ask_once(port, "POST", "/compat-auth/revoke", form, body)).status

        return {"Authorization": f"Bearer {token}"}, revoke

    async def _session(self, chosen: random.Random) -> tuple[Mapping[str, str], Revoke]:
        address = f"10.{chosen.randrange(1, 255)}.{chosen.randrange(255)}.{chosen.randrange(1, 255)}"
        port = chosen.choice(self.place.replicas).port
        cookie = await asyncio.to_thread(log_in, port, "vera", FILE_USERS["vera"], address)
        headers = {"Cookie": cookie}

        async def revoke(port: int) -> int:
            sender = {**headers, "X-Forwarded-For": address, "X-Forwarded-Proto": "http"}
            page = await ask_once(port, "GET", "/compat-auth/logout", sender)
            found = re.search(rb'name="token" value="([^"]*)"', page.body)
            if found is None:
                return 0
            form = {**sender, "Content-Type": "application/x-www-form-urlencoded"}
            body = urlencode({"token": found[1].decode()}).encode()
            return (await ask_once(port, "POST", "/compat-auth/logout", form, body)).status

        return headers, revoke
