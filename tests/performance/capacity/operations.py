"""Counts what each kind of request costs: SQL statements, Redis commands, CPU of gateway, PostgreSQL and Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from typing import Final

import redis

from performance import servers
from performance.capacity.rig import USERS, Client, Rig, Work, password, post_json
from performance.load import Target, basic, load
from soak.credentials import TOKENS_PAGE, log_in, upstream_token

IDLE_S: Final = 10.0
WARM_S: Final = 3.0
PUBLISHED: Final = 4_000
HEARERS: Final = 20
# The use of tokens is written each ten seconds: it must not fall into the next measurement.
SETTLED_S: Final = 10.5
MICRO: Final = 1e6
Headers = Mapping[str, str]
_CHANNEL: Final = "measured"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request costs.

    Attributes:
        statements: SQL statements that read or write.
        round_trips: All that PostgreSQL is sent, such as BEGIN and COMMIT.
        commands: Redis commands.
        gateway_us, postgres_us, redis_us: CPU microseconds.
    """

    statements: float
    round_trips: float
    commands: float
    gateway_us: float
    postgres_us: float
    redis_us: float


def per_request(work: Work, requests: int) -> Cost:
    """Return the work for each of so many requests."""
    return Cost(
        round(work.statements / requests, 2),
        round(work.round_trips / requests, 2),
        round(work.commands / requests, 2),
        round(work.gateway_s / requests * MICRO, 1),
        round(work.postgres_s / requests * MICRO, 1),
        round(work.redis_s / requests * MICRO, 1),
    )


def measure_idle(rig: Rig) -> Cost:
    """Return what one worker costs in a second without a request."""
    time.sleep(SETTLED_S)
    before = rig.work()
    time.sleep(IDLE_S)
    return per_request(rig.work().since(before), round(IDLE_S))


def measure_cold(rig: Rig) -> dict[str, Cost]:
    """Return what the first use of a credential costs, by kind."""
    client = Client(rig.gate.port)
    tokens = [_token(client, number, {"name": "one"}) for number in range(USERS)]
    scoped = [_token(client, number, {"name": "two", "scopes": ["read"]}) for number in range(USERS)]
    sessions = [_session(rig, number) for number in range(USERS // 4)]
    found = {
        "token made": _each(rig, [_makes(client, number) for number in range(USERS)]),
        "personal token": _each(rig, _gets(client, [_bearer(token) for token in tokens])),
        "scoped personal token": _each(rig, _gets(client, [_bearer(token) for token in scoped])),
        "session": _each(rig, _gets(client, [{"Cookie": cookie} for cookie in sessions])),
        "the upstream's JWT": _each(rig, _gets(client, [_bearer(upstream_token(f"u{n}")) for n in range(USERS)])),
        "JWT issued": _each(rig, [_issues(client, number) for number in range(USERS)]),
        "revocation": _each(rig, [_revokes(client, upstream_token(f"r{n}")) for n in range(USERS)]),
    }
    client.close()
    return found


def measure_passwords(rig: Rig) -> Cost:
    """Return what the first use of a password costs with a hash that costs next to nothing; the gateway must be new."""
    client = Client(rig.gate.port)
    cost = _each(rig, _gets(client, [_basic(number) for number in range(USERS)]))
    client.close()
    return cost


def measure_warm(rig: Rig) -> dict[str, Cost]:
    """Return what a request with a credential costs that was checked a moment ago, by kind, through the gateway."""
    client = Client(rig.gate.port)
    presented = {
        "password": _basic(0),
        "personal token": _bearer(_token(client, 1, {"name": "warm"})),
        "scoped personal token": _bearer(_token(client, 2, {"name": "warm", "scopes": ["read"]})),
        "session": {"Cookie": _session(rig, 3)},
        "the upstream's JWT": _bearer(upstream_token("robot")),
    }
    client.close()
    found: dict[str, Cost] = {}
    for name, headers in presented.items():
        target = Target(name, servers.API, headers, rig.gate, (rig.gate,))
        load(target, connections=8, seconds=1)
        before = rig.work()
        sample = load(target, connections=8, seconds=WARM_S)
        if sample.wrong or not sample.requests:
            raise RuntimeError(f"{name}: {sample.wrong} wrong answers of {sample.requests}")
        found[name] = per_request(rig.work().since(before), sample.requests)
    return found


def measure_redis_us(rig: Rig) -> tuple[float, float]:
    """Return the CPU of Redis for one short command, and for one message that it delivers, in microseconds."""
    with redis.Redis.from_url(rig.redis_server.url) as client, ExitStack() as stack:
        alone = _published_s(rig, client)
        for _ in range(HEARERS):
            hearer = stack.enter_context(redis.Redis.from_url(rig.redis_server.url))
            subscription = stack.enter_context(hearer.pubsub())
            subscription.subscribe(_CHANNEL)
        heard = _published_s(rig, client)
    return round(alone * MICRO, 1), round(max(0.0, heard - alone) / HEARERS * MICRO, 2)


def _published_s(rig: Rig, client: redis.Redis) -> float:
    before = rig.work()
    for _ in range(PUBLISHED):
        client.publish(_CHANNEL, b"x" * 200)
    return rig.work().since(before).redis_s / PUBLISHED


def _each(rig: Rig, asks: Sequence[Callable[[], int]]) -> Cost:
    time.sleep(SETTLED_S)
    before = rig.work()
    statuses = {ask() for ask in asks}
    if not statuses <= {200, 201}:
        raise RuntimeError(f"answers {statuses}")
    return per_request(rig.work().since(before), len(asks))


def _gets(client: Client, presented: Sequence[Headers]) -> list[Callable[[], int]]:
    return [partial(_status, client, headers) for headers in presented]


def _status(client: Client, headers: Headers) -> int:
    return client.ask(headers)[0]


def _makes(client: Client, number: int) -> Callable[[], int]:
    return lambda: len(_token(client, number, {"name": "three"})) and 201


def _issues(client: Client, number: int) -> Callable[[], int]:
    wish = {"username": f"user{number}", "password": password(number)}
    return lambda: len(post_json(client, "/auth/token", wish, {})) and 201


def _revokes(client: Client, token: str) -> Callable[[], int]:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return lambda: client.ask(headers, "POST", "/compat-auth/revoke", f"token={token}".encode())[0]


def _token(client: Client, number: int, wish: Mapping[str, object]) -> str:
    return str(post_json(client, TOKENS_PAGE, wish, _basic(number))["token"])


def _session(rig: Rig, number: int) -> str:
    return log_in(rig.gate.port, f"user{number}", password(number), f"10.1.{number}.1")


def _basic(number: int) -> Headers:
    return {"Authorization": basic(f"user{number}", password(number))}


def _bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


def as_json(costs: Mapping[str, Cost]) -> dict[str, dict[str, float]]:
    """Return the costs for a file."""
    return {name: asdict(cost) for name, cost in costs.items()}
