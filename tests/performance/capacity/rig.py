"""A gateway with PostgreSQL and Redis whose work is counted: statements, commands, and the CPU of each program."""

from __future__ import annotations

import http.client
import json
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import bcrypt
import psutil
import redis
from sqlalchemy import create_engine, text

from performance import servers
from performance.programs import Program, find_program, free_port, running
from support.peers.airflows import JWT_SECRET
from support.peers.authority import Authority
from support.peers.gateway import toml
from support.peers.postgres import Postgres
from support.peers.redis_server import RedisServer
from support.peers.soak_site import new_database

USERS: Final = 240
# The cheapest bcrypt: what a hash costs is an input of its own.
COST: Final = 4


@dataclass(frozen=True, slots=True)
class Work:
    """What the programs have done up to a moment, or between two.

    Attributes:
        statements: That PostgreSQL was sent, without BEGIN, COMMIT, ROLLBACK and SET.
        round_trips: All that PostgreSQL was sent.
        commands: That Redis was sent.
        gateway_s, postgres_s, redis_s: CPU seconds.
    """

    statements: int
    round_trips: int
    commands: int
    gateway_s: float
    postgres_s: float
    redis_s: float

    def since(self, before: Work) -> Work:
        """Return what was done between two moments."""
        return Work(
            self.statements - before.statements,
            self.round_trips - before.round_trips,
            self.commands - before.commands,
            self.gateway_s - before.gateway_s,
            self.postgres_s - before.postgres_s,
            self.redis_s - before.redis_s,
        )


@dataclass(slots=True)
class Rig:
    """The running programs.

    Attributes:
        gate: The gateway, with one worker.
        postgres: Its store, and Airflow's user tables.
        redis_server: Its Redis.
        database: URL of the store.
        config: Of the gateway.
    """

    gate: Program
    postgres: Postgres
    redis_server: RedisServer
    database: str
    config: Path

    def work(self) -> Work:
        """Return what was done so far."""
        log = self.postgres.process.log.read_text(errors="replace")
        sent = [
            line.partition("LOG:  ")[2]
            for line in log.splitlines()
            if "LOG:  statement: " in line or "LOG:  execute " in line
        ]
        said = [line.partition(": ")[2].lstrip() for line in sent]
        real = [one for one in said if not one.upper().startswith(("BEGIN", "COMMIT", "ROLLBACK", "SET "))]
        with redis.Redis.from_url(self.redis_server.url) as client:
            info: dict[str, Any] = client.info("commandstats")
        # Our own questions.
        own = ("cmdstat_info", "cmdstat_client|setinfo", "cmdstat_hello", "cmdstat_auth")
        commands = sum(int(one["calls"]) for name, one in info.items() if name not in own)
        return Work(
            len(real), len(said), commands, self.gate.cpu_s(), _cpu_s(self.postgres.process.pid),
            _cpu_s(self.redis_server.process.pid),
        )  # fmt: skip

    def sql(self, statement: str) -> Any:
        """Run one statement in the store and return its first value, if it has one."""
        engine = create_engine(self.database, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            done = connection.execute(text(statement))
            value = done.scalar() if done.returns_rows else None
        engine.dispose()
        return value


def _cpu_s(pid: int | None) -> float:
    if pid is None:
        return 0.0
    first = psutil.Process(pid)
    total = 0.0
    for process in [first, *first.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    # PostgreSQL ends a process for each connection: the parent has what they used.
    ended = first.cpu_times()
    return float(total + ended.children_user + ended.children_system)


@contextmanager
def running_rig(folder: Path) -> Generator[Rig]:
    """Start all of it in a folder, and end it with the block."""
    with ExitStack() as stack:
        postgres = Postgres()
        stack.callback(postgres.remove)
        postgres.start()
        authority = Authority(folder)
        redis_server = RedisServer(folder, authority.sign("redis"))
        redis_server.start()
        stack.callback(redis_server.stop)
        upstream = stack.enter_context(servers.upstream(folder))
        database = postgres.url.rpartition("/")[0] + "/" + new_database(postgres)
        port, config = free_port(), folder / "gateway.toml"
        (folder / "users").write_text("".join(f"user{number}:{_hash(number)}\n" for number in range(USERS)))
        (folder / "users").chmod(0o600)
        config.write_text(toml(_settings(folder, database, redis_server.url, upstream.port, port)))
        config.chmod(0o600)
        command = [find_program("compat-auth", "run: pip install -e ."), "serve", "--config", str(config)]
        gate = stack.enter_context(running("gateway", command, port, folder))
        rig = Rig(gate, postgres, redis_server, database, config)
        rig.sql("ALTER SYSTEM SET log_statement = 'all'")
        rig.sql("SELECT pg_reload_conf()")
        yield rig


def password(number: int) -> str:
    """Return the password of a user."""
    return f"password of {number}"


def _hash(number: int) -> str:
    return bcrypt.hashpw(password(number).encode(), bcrypt.gensalt(COST)).decode()


def _settings(folder: Path, database: str, redis_url: str, upstream_port: int, port: int) -> dict[str, Any]:
    return {
        "auth_backends": ["session", "basic_auth", "personal_token"],
        "database_url": database,
        "redis_url": redis_url,
        "trusted_proxies": ["127.0.0.0/8"],
        "forward_auth": {"secret": servers.FRONT_SECRET},
        "upstream": {"url": f"http://127.0.0.1:{upstream_port}", "profile": "generic"},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "session": {"secret": "a secret for nothing but this measurement"},
        "personal_tokens": {"pepper": "a pepper for nothing but this measurement", "per_user_limit": 1000},
        "token_endpoint": {"failures_per_minute": 100_000, "tokens_per_minute": 100_000},
        "basic_auth": {"directories": ["htpasswd"], "cache_ttl_s": 600},
        "htpasswd": {"file": str(folder / "users")},
        "serve": {"bind": f"127.0.0.1:{port}", "workers": 1},
    }


class Client:
    """One kept connection to the gateway."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(
        self, headers: Mapping[str, str], method: str = "GET", path: str = servers.API, body: bytes | None = None
    ) -> tuple[int, bytes]:
        """Return status and body of the answer."""
        self._connection.request(method, path, body, dict(headers))
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def post_json(client: Client, path: str, wish: Mapping[str, object], headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the JSON answer to a JSON request.

    Raises:
        RuntimeError: It was refused.
    """
    status, content = client.ask(
        {**headers, "Content-Type": "application/json"}, "POST", path, json.dumps(wish).encode()
    )
    if status not in (200, 201):
        raise RuntimeError(f"{path}: {status}")
    found: dict[str, Any] = json.loads(content)
    return found
