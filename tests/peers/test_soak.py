"""Thousands of requests while the upstream dies twice: nobody is lost, nobody becomes somebody else.

`SOAK_REQUESTS=100000 ./test tests/peers/test_soak.py` is the long run, of ten minutes.
"""

import asyncio
import json
import os
import sqlite3
import sys
import time
from base64 import b64encode
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvloop
from werkzeug.security import generate_password_hash

from support.peers.airflows import JWT_SECRET
from support.peers.echo import EchoUpstream
from support.peers.gateway import StartGateway

pytestmark = pytest.mark.peer

REQUESTS = int(os.environ.get("SOAK_REQUESTS", "40000"))
USERS = 50
CONNECTIONS = 64
RESTARTS_AFTER = (REQUESTS // 4, REQUESTS * 5 // 8)
PROGRESS_S = 5.0
AT_MOST_S = max(120.0, REQUESTS * 0.003)
DOWN_S = 0.5
_TABLES = """
CREATE TABLE ab_user (id INTEGER PRIMARY KEY, username TEXT, email TEXT, password TEXT, active BOOLEAN);
CREATE TABLE ab_role (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE ab_user_role (id INTEGER PRIMARY KEY, user_id INTEGER, role_id INTEGER);
"""


@dataclass(slots=True)
class RateLimit:
    """What the clients saw.

    Attributes:
        answers: How many answers had which status.
        lost: Requests without a whole answer, and why.
        mistaken: Answers that carry somebody else's identity: who asked, and what came.
        next: Number of the next request to send.
    """

    answers: Counter[int] = field(default_factory=Counter[int])
    lost: list[str] = field(default_factory=list[str])
    mistaken: list[tuple[int, object]] = field(default_factory=list[tuple[int, object]])
    next: int = 0

    @property
    def done(self) -> int:
        """How many requests have come to an end."""
        return self.answers.total() + len(self.lost)


def write_users(path: Path) -> str:
    """Write Airflow's user tables with hashes that cost nothing, numbers that no name tells, and return the URL."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(_TABLES)
        for number in range(USERS):
            row = (
                user_id(number),
                f"user{number}",
                f"user{number}@example.com",
                generate_password_hash(f"pw{number}", "pbkdf2:sha256:1"),
            )
            database.execute("INSERT INTO ab_user VALUES (?, ?, ?, ?, 1)", row)
        database.commit()
    return f"sqlite:///{path}"


def user_id(number: int) -> int:
    return 1000 + 7 * number


async def ask_on_one_connection(port: int, tally: RateLimit) -> None:
    """Send requests of changing users, one after the other, until all are sent."""
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None
    while tally.next < REQUESTS:
        request, tally.next = tally.next, tally.next + 1
        number = request * 31 % USERS
        credential = b64encode(f"user{number}:pw{number}".encode())
        try:
            if reader is None or writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"GET /api/v2/whose/%d HTTP/1.1\r\nHost: gateway\r\nAuthorization: Basic %s\r\n\r\n"
                % (request, credential)
            )
            head = await reader.readuntil(b"\r\n\r\n")
            fields = {
                name.lower(): value for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
            }
            body = await reader.readexactly(int(fields[b"content-length"]))
        except (OSError, asyncio.IncompleteReadError) as exc:
            tally.lost.append(f"request {request}: {exc!r}")
            reader = writer = None
            continue
        status = int(head[9:12])
        tally.answers[status] += 1
        if status == 200:
            content = json.loads(body)
            if content["sub"] != str(user_id(number)) or content["target"] != f"/api/v2/whose/{request}":
                tally.mistaken.append((number, content))
        if fields.get(b"connection", b"").strip().lower() == b"close":
            writer.close()
            reader = writer = None
    if writer is not None:
        writer.close()


async def soak(port: int, upstream: EchoUpstream) -> RateLimit:
    """Send all requests, kill and restart the upstream on the way, and say every few seconds how far it is."""
    tally = RateLimit()
    clients = [asyncio.ensure_future(ask_on_one_connection(port, tally)) for _ in range(CONNECTIONS)]
    loop = asyncio.get_running_loop()
    began = shown = time.monotonic()
    restarts = list(RESTARTS_AFTER)
    while not all(client.done() for client in clients):
        await asyncio.sleep(0.05)
        now = time.monotonic()
        if restarts and tally.done >= restarts[0]:
            del restarts[0]
            await loop.run_in_executor(None, kill_and_restart, upstream)
        if now - shown > PROGRESS_S:
            shown = now
            say(f"soak: {tally.done} of {REQUESTS} after {now - began:.0f} s, {dict(tally.answers)}")
        assert now - began < AT_MOST_S, f"only {tally.done} requests in {AT_MOST_S:.0f} s: {tally.answers}"
    await asyncio.gather(*clients)
    took_s = time.monotonic() - began
    say(f"soak: {REQUESTS} requests in {took_s:.0f} s, {dict(tally.answers)}, lost {len(tally.lost)}")
    return tally


def say(text: str) -> None:
    sys.stderr.write(text + "\n")


def kill_and_restart(upstream: EchoUpstream) -> None:
    upstream.kill()
    time.sleep(DOWN_S)
    upstream.start()


def test_of_thousands_of_requests_none_is_lost_and_none_answers_as_somebody_else(
    gateway: StartGateway, echo_upstream: EchoUpstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    instance = gateway(
        {
            "upstream": {"url": echo_upstream.url},
            "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
            "basic_auth": {"directories": ["airflow_db"], "cache_ttl_s": 10},
            "airflow_db": {"url": write_users(tmp_path / "airflow.db")},
            "serve": {"workers": 2},
        },
        {"COMPAT_AUTH_LOG_LEVEL": "ERROR"},
    )

    with capsys.disabled():
        tally = uvloop.run(soak(int(instance.url.rpartition(":")[2]), echo_upstream))

    assert tally.mistaken == []
    assert tally.lost == []
    assert tally.answers.total() == REQUESTS
    assert set(tally.answers) <= {200, 502, 504}
    assert tally.answers[200] > REQUESTS // 2
    assert tally.answers[502] > 0
