"""Three replicas of the real gateway behind nginx, every peer beside them, and the faults that a soak injects."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import bcrypt
import redis
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from support.peers.echo import EchoUpstream
from support.peers.gateway import COMMAND, clean_environment, toml
from support.peers.kerberos import Kdc
from support.peers.openid_provider import OpenIdProvider, resource
from support.peers.postgres import Postgres
from support.peers.process import Process, answers_http, free_port
from support.peers.redis_server import RedisServer
from support.peers.slapd import Slapd

SERVICE: Final = "HTTP/localhost"
DOWN_S: Final = 2.0
# Longer than one worker may be silent before its parent replaces it.
START_S: Final = 60


class Replica:
    """One `compat-auth serve` with two workers; it keeps its port over a restart.

    Attributes:
        port: Where it listens, on loopback.
        process: The parent.
        start_s: For how long a start may take.
    """

    start_s: float = START_S

    def __init__(self, folder: Path, number: int, settings: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        self.port = free_port()
        self.process = Process(f"replica {number}", folder / f"replica-{number}.log")
        self._config = folder / f"replica-{number}.toml"
        serve = {**settings.get("serve", {}), "bind": f"127.0.0.1:{self.port}", "workers": 2}
        self._config.write_text(toml({**settings, "serve": serve}), encoding="utf-8")
        self._config.chmod(0o600)
        self._environ = environ

    def start(self) -> None:
        """Start it and return once it says that it is ready for requests."""
        self.process.start(
            [COMMAND, "serve", "--config", str(self._config)],
            env={**clean_environment(), **self._environ},
            is_ready=lambda: answers_http(f"http://127.0.0.1:{self.port}/compat-auth/live"),
            timeout_s=self.start_s,
        )

    def restart(self) -> None:
        """Stop it gracefully and start it again."""
        self.process.stop(timeout_s=40)
        self.start()

    def workers(self) -> list[int]:
        """Return the process ids of its workers."""
        pid = self.process.pid
        return children_of(pid) if pid is not None else []


@dataclass(slots=True)
class SoakSite:
    """Everything that a fault can touch.

    Attributes:
        replicas: The gateways.
        nginx: Master process of the front proxy.
        echo: The upstream.
        kdc, slapd, provider, postgres, redis: The peers.
        keytab: Of the gateways.
        htpasswd: Of the gateways.
        database: Name of the gateways' database.
        tokens: Bearer tokens by kind; renewed when the provider forgets them.
    """

    replicas: list[Replica]
    nginx: Process
    echo: EchoUpstream
    kdc: Kdc
    slapd: Slapd
    provider: OpenIdProvider
    postgres: Postgres
    redis: RedisServer
    keytab: Path
    htpasswd: Path
    database: str
    tokens: dict[str, str]

    def admin(self, *statements: str, database: str = "postgres") -> None:
        """Run SQL as the superuser."""
        engine = create_engine(make_url(self.postgres.url).set(database=database), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
        engine.dispose()

    def renew_opaque(self) -> None:
        """Get a token that the provider knows: it keeps its tokens in memory."""
        self.tokens["opaque"] = self.provider.access_token("alice", resource=resource("opaque"))


def new_database(postgres: Postgres) -> str:
    """Make an empty database and return its name."""
    name = f"soak_{uuid.uuid4().hex}"
    engine = create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return name


def write_htpasswd(path: Path, users: Mapping[str, str]) -> None:
    """Write the file as `htpasswd` does: a new one beside it, renamed into its place."""
    lines = [f"{name}:{bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode()}\n" for name, word in users.items()]
    beside = path.with_suffix(".new")
    beside.write_text("".join(lines), encoding="utf-8")
    beside.chmod(0o600)
    beside.replace(path)


def children_of(pid: int) -> list[int]:
    """Return the process ids of a process's children, oldest first."""
    with suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def family_of(pid: int) -> Iterator[int]:
    """Yield a process id and those of all below it."""
    yield pid
    for child in children_of(pid):
        yield from family_of(child)


@contextmanager
def frozen(process: Process) -> Generator[None]:
    """Let a program and its children keep their connections and answer nothing for the block."""
    pid = process.pid
    assert pid is not None
    family = list(family_of(pid))
    for one in family:
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in family:
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGCONT)


Fault = Callable[[SoakSite], None]


def _away(name: str) -> Fault:
    def fault(site: SoakSite) -> None:
        peer = getattr(site, name)
        peer.stop()
        time.sleep(DOWN_S)
        peer.start()
        if name == "provider":
            site.renew_opaque()

    return fault


def _frozen(name: str, for_s: float = 3.0) -> Fault:
    def fault(site: SoakSite) -> None:
        with frozen(getattr(site, name).process):
            time.sleep(for_s)

    return fault


def _database_killed(site: SoakSite) -> None:
    pid = site.postgres.process.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    site.postgres.stop()
    time.sleep(DOWN_S)
    site.postgres.start()


def _database_connections_cut(site: SoakSite) -> None:
    for _ in range(3):
        site.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        time.sleep(0.3)


def _database_tables_locked(site: SoakSite) -> None:
    engine = create_engine(make_url(site.postgres.url).set(database=site.database))
    with engine.begin() as connection:
        tables = connection.execute(
            text("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")
        ).scalars()
        connection.execute(text(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE"))
        time.sleep(2.5)
    engine.dispose()


def _database_connections_all_taken(site: SoakSite) -> None:
    engine = create_engine(site.postgres.url, pool_size=200)
    held: list[Any] = []
    with suppress(Exception):  # the server says no as soon as it is full, which is what we want
        while True:
            held.append(engine.connect())
    time.sleep(DOWN_S)
    for connection in held:
        connection.close()
    engine.dispose()


def _redis_forgets_everything(site: SoakSite) -> None:
    with redis.Redis.from_url(site.redis.url) as client:
        client.flushall()


def _redis_connections_cut(site: SoakSite) -> None:
    with redis.Redis.from_url(site.redis.url) as client:
        for kind in ("pubsub", "normal"):
            client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


def _upstream_killed(site: SoakSite) -> None:
    site.echo.kill()
    time.sleep(0.5)
    site.echo.start()


def _upstream_frozen(site: SoakSite) -> None:
    with frozen(site.echo.process):
        time.sleep(DOWN_S)


def _replica_killed(site: SoakSite) -> None:
    replica = site.replicas[0]
    for pid in [*replica.workers(), replica.process.pid]:
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    replica.process.stop()
    time.sleep(0.5)
    replica.start()


def _parent_killed(site: SoakSite) -> None:
    pid = site.replicas[1].process.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    site.replicas[1].process.stop()
    time.sleep(0.5)
    site.replicas[1].start()


def _worker_killed(site: SoakSite) -> None:
    os.kill(site.replicas[0].workers()[0], signal.SIGKILL)
    time.sleep(DOWN_S)


def _worker_frozen(site: SoakSite) -> None:
    worker = site.replicas[2].workers()[0]
    os.kill(worker, signal.SIGSTOP)
    time.sleep(DOWN_S)
    with suppress(ProcessLookupError):
        os.kill(worker, signal.SIGCONT)


def _replica_frozen(site: SoakSite) -> None:
    with frozen(site.replicas[1].process):
        time.sleep(DOWN_S)


def _signals_that_mean_nothing(site: SoakSite) -> None:
    for replica in site.replicas:
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
            pid = replica.process.pid
            assert pid is not None
            os.kill(pid, number)


def _front_proxy_reloaded(site: SoakSite) -> None:
    pid = site.nginx.pid
    assert pid is not None
    os.kill(pid, signal.SIGHUP)
    time.sleep(1)


def _keytab_rotated(site: SoakSite) -> None:
    site.kdc.add_keys(site.keytab, SERVICE)


def _signing_keys_rotated(site: SoakSite) -> None:
    site.provider.rotate()
    # It forgets its tokens with that.
    site.renew_opaque()
    site.tokens["signed"] = site.provider.access_token("alice", resource=resource("jwt"))


def _password_file_replaced(site: SoakSite) -> None:
    content = site.htpasswd.read_bytes()
    beside = site.htpasswd.with_suffix(".new")
    beside.write_bytes(b"# rewritten\n" + content)
    beside.chmod(0o600)
    beside.replace(site.htpasswd)


def _store_and_redis_away(site: SoakSite) -> None:
    site.redis.stop()
    site.postgres.stop()
    time.sleep(DOWN_S)
    site.postgres.start()
    site.redis.start()


def _store_comes_back_while_a_replica_starts(site: SoakSite) -> None:
    site.postgres.stop()
    site.replicas[0].restart()
    time.sleep(0.5)
    site.postgres.start()


def rolling_restart(site: SoakSite) -> None:
    """Restart one replica after the other, gracefully."""
    for replica in site.replicas:
        replica.restart()
        time.sleep(0.5)


ROLLING: Final = "all replicas are restarted in turn"
FAULTS: Final[Mapping[str, Fault]] = {
    ROLLING: rolling_restart,
    "the KDC is away": _away("kdc"),
    "slapd is away": _away("slapd"),
    "the provider is away": _away("provider"),
    "the database is away": _away("postgres"),
    "Redis is away": _away("redis"),
    "the KDC is frozen": _frozen("kdc"),
    "slapd is frozen": _frozen("slapd"),
    "the provider is frozen": _frozen("provider"),
    "the database is frozen": _frozen("postgres", 5.0),
    "Redis is frozen": _frozen("redis"),
    "the database is killed": _database_killed,
    "the database's connections are cut": _database_connections_cut,
    "the store's tables are locked": _database_tables_locked,
    "all connections of the database are taken": _database_connections_all_taken,
    "Redis forgets everything": _redis_forgets_everything,
    "Redis' connections are cut": _redis_connections_cut,
    "the upstream is killed": _upstream_killed,
    "the upstream is frozen": _upstream_frozen,
    "a replica is killed": _replica_killed,
    "the parent of a replica is killed": _parent_killed,
    "a worker is killed": _worker_killed,
    "a worker is frozen": _worker_frozen,
    "a replica is frozen": _replica_frozen,
    "signals without a meaning arrive": _signals_that_mean_nothing,
    "the front proxy is reloaded": _front_proxy_reloaded,
    "the keytab is rotated": _keytab_rotated,
    "the provider's keys are rotated": _signing_keys_rotated,
    "the password file is replaced": _password_file_replaced,
    "store and Redis are away": _store_and_redis_away,
    "a replica starts without its store": _store_comes_back_while_a_replica_starts,
}
