"""Every fault: what it does, what it harms, and which good credentials may be refused meanwhile."""

from __future__ import annotations

import os
import random
import resource
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from soak.account import ALL
from soak.credentials import OPAQUE, Credentials
from soak.place import Place
from support.peers.soak_site import SERVICE, Replica, family_of, frozen

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


def _away(name: str) -> Callable[[World], None]:
    def run(world: World) -> None:
        peer = getattr(world.place, name)
        peer.stop()
        try:
            time.sleep(world.chosen.uniform(0.5, 4))
        finally:
            peer.start()
        if name == "provider":
            world.credentials.renew_opaque()

    return run


def _frozen(name: str) -> Callable[[World], None]:
    def run(world: World) -> None:
        with frozen(getattr(world.place, name).process):
            time.sleep(world.chosen.uniform(0.5, 5))

    return run


def _slow(link: str) -> Callable[[World], None]:
    def run(world: World) -> None:
        with getattr(world.place, link).slow(world.chosen.uniform(0.2, 2.0)):
            time.sleep(6)

    return run


def _database_killed(world: World) -> None:
    _kill(world.place.postgres.process.pid)
    world.place.postgres.stop()
    time.sleep(DOWN_S)
    world.place.postgres.start()


def _sql(world: World, *statements: str) -> None:
    engine = create_engine(world.place.postgres.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def _database_connections_cut(world: World) -> None:
    for _ in range(3):
        _sql(world, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        time.sleep(0.3)


def _database_locked(world: World) -> None:
    engine = create_engine(make_url(world.place.database))
    named = "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"
    with engine.begin() as connection:
        # A worker may be writing; without a limit two locks could wait for each other.
        connection.execute(text("SET lock_timeout = '2s'"))
        with suppress(Exception):
            tables = connection.execute(text(named)).scalars()
            connection.execute(text(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE"))
            time.sleep(world.chosen.uniform(1, 4))
    engine.dispose()


def _database_full_of_clients(world: World) -> None:
    engine = create_engine(world.place.postgres.url, pool_size=200)
    held: list[Any] = []
    with suppress(Exception):  # the server refuses as soon as it is full, which is what we want
        while True:
            held.append(engine.connect())
    time.sleep(DOWN_S)
    for connection in held:
        connection.close()
    engine.dispose()


def _redis_forgets(world: World) -> None:
    with redis.Redis.from_url(world.place.redis.url) as client:
        client.flushall()


def _redis_connections_cut(world: World) -> None:
    with redis.Redis.from_url(world.place.redis.url) as client:
        for kind in ("pubsub", "normal"):
            client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


def _provider_rotates(world: World) -> None:
    world.place.provider.rotate()
    # It forgets its tokens with that.
    world.credentials.renew_opaque()


def _upstream_killed(world: World) -> None:
    world.place.upstream.kill()
    time.sleep(world.chosen.uniform(0, 2))
    world.place.upstream.start()


def _upstream_cuts(world: World) -> None:
    world.place.upstream.cuts.touch()
    time.sleep(4)
    world.place.upstream.cuts.unlink()
    # It looks for the file a few times a second.
    time.sleep(0.5)


def _replica_killed(world: World) -> None:
    replica = world.mortal()
    for pid in [*replica.workers(), replica.process.pid]:
        _kill(pid)
    replica.process.stop()
    time.sleep(world.chosen.uniform(0, 3))
    replica.start()


def _parent_killed(world: World) -> None:
    replica = world.mortal()
    _kill(replica.process.pid)
    time.sleep(world.chosen.uniform(0, 2))
    replica.process.stop()
    replica.start()


def _replica_restarted(world: World) -> None:
    world.mortal().restart()


def _replica_starts_without_store(world: World) -> None:
    replica = world.mortal()
    world.place.postgres.stop()
    try:
        replica.restart()
    finally:
        world.place.postgres.start()


def _worker_killed(world: World) -> None:
    # Of the mortal ones: a new worker of the third would hide what the old one had kept.
    _kill(world.chosen.choice(world.mortal().workers()))
    time.sleep(DOWN_S)


def _worker_frozen(world: World) -> None:
    worker = world.any_worker()
    os.kill(worker, signal.SIGSTOP)
    time.sleep(world.chosen.uniform(0.5, 4))
    with suppress(ProcessLookupError):
        os.kill(worker, signal.SIGCONT)


def _replica_frozen(world: World) -> None:
    with frozen(world.chosen.choice(world.place.replicas).process):
        time.sleep(world.chosen.uniform(0.5, 4))


def _front_reloaded(world: World) -> None:
    pid = world.place.nginx.pid
    assert pid is not None
    os.kill(pid, signal.SIGHUP)
    time.sleep(1)


def _front_worker_killed(world: World) -> None:
    pid = world.place.nginx.pid
    assert pid is not None
    _kill(world.chosen.choice([child for child in family_of(pid) if child != pid]))
    time.sleep(1)


def _keytab_rotated(world: World) -> None:
    world.place.kdc.add_keys(world.place.keytab, SERVICE)


def _password_file_replaced(world: World) -> None:
    content = world.place.htpasswd.read_bytes()
    beside = world.place.htpasswd.with_suffix(".new")
    beside.write_bytes(b"# rewritten\n" + content[content.startswith(b"#") and len(b"# rewritten\n") :])
    beside.chmod(0o600)
    beside.replace(world.place.htpasswd)


def _clock_moved(world: World) -> None:
    clock = world.place.clock
    clock.write_text(world.chosen.choice(("+20s", "-20s", "+1h", "-1h", "+2d", "-2d")) + "\n")
    try:
        time.sleep(world.chosen.uniform(3, 6))
    finally:
        clock.write_text("+0\n")
    # The library reads the file once a second.
    time.sleep(1.2)


def _disk_full(world: World) -> None:
    with ExitStack() as stack:
        if world.place.has_small_disk:
            filler = world.place.small_disk / "filler"
            stack.callback(filler.unlink, missing_ok=True)
            _fill(filler)
        else:
            for pid in family_of(world.place.replicas[0].process.pid or 0):
                # Another user's disk is not ours to fill: files of the replica may just not grow.
                before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                stack.callback(_limit, pid, before)
                _limit(pid, (1, before[1]))
        time.sleep(world.chosen.uniform(2, 5))


def _fill(filler: Path) -> None:
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)


def _limit(pid: int, limits: tuple[int, int]) -> None:
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def _kill(pid: int | None) -> None:
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


_HARMS = frozenset
FAULTS: Final[Mapping[str, Fault]] = {
    "the database is stopped": Fault(_away("postgres"), _HARMS({"postgres"})),
    "the database is frozen": Fault(_frozen("postgres"), _HARMS({"postgres"})),
    "the database is killed": Fault(_database_killed, _HARMS({"postgres"})),
    "the database's connections are cut": Fault(_database_connections_cut, _HARMS({"postgres"})),
    "the store's tables are locked": Fault(_database_locked, _HARMS({"postgres"})),
    "all connections of the database are taken": Fault(_database_full_of_clients, _HARMS({"postgres"})),
    "Redis is stopped": Fault(_away("redis"), _HARMS({"redis"})),
    "Redis is frozen": Fault(_frozen("redis"), _HARMS({"redis"})),
    "Redis forgets everything": Fault(_redis_forgets, _HARMS({"redis"})),
    "Redis' connections are cut": Fault(_redis_connections_cut, _HARMS({"redis"})),
    "the KDC is stopped": Fault(_away("kdc"), _HARMS({"kdc"})),
    "the KDC is frozen": Fault(_frozen("kdc"), _HARMS({"kdc"})),
    "the KDC is slow": Fault(_slow("to_kdc"), _HARMS({"kdc"})),
    "the keytab is rotated": Fault(_keytab_rotated, _HARMS({"kdc"})),
    "slapd is stopped": Fault(_away("slapd"), _HARMS({"slapd"})),
    "slapd is frozen": Fault(_frozen("slapd"), _HARMS({"slapd"})),
    "slapd is slow": Fault(_slow("to_slapd"), _HARMS({"slapd"})),
    "the provider is stopped": Fault(_away("provider"), _HARMS({"provider"}), _HARMS({OPAQUE})),
    "the provider is frozen": Fault(_frozen("provider"), _HARMS({"provider"})),
    "the provider's keys are rotated": Fault(_provider_rotates, _HARMS({"provider"}), _HARMS({OPAQUE})),
    "the upstream is killed": Fault(_upstream_killed, _HARMS({"upstream"})),
    "the upstream is frozen": Fault(_frozen("upstream"), _HARMS({"upstream"})),
    "the upstream ends answers in the middle": Fault(_upstream_cuts, _HARMS({"upstream"})),
    "a replica is killed": Fault(_replica_killed, _HARMS({"replica"})),
    "the parent of a replica is killed": Fault(_parent_killed, _HARMS({"replica"})),
    "a replica is restarted": Fault(_replica_restarted, _HARMS({"replica"})),
    "a replica starts without its store": Fault(_replica_starts_without_store, _HARMS({"replica", "postgres"})),
    "a replica is frozen": Fault(_replica_frozen, _HARMS({"replica"})),
    "a worker is killed": Fault(_worker_killed, _HARMS({"replica"})),
    "a worker is frozen": Fault(_worker_frozen, _HARMS({"replica"})),
    "nginx is reloaded": Fault(_front_reloaded, _HARMS({"nginx"})),
    "a worker of nginx is killed": Fault(_front_worker_killed, _HARMS({"nginx"})),
    "the password file is replaced": Fault(_password_file_replaced, _HARMS({"htpasswd"})),
    "the clock of a replica is moved": Fault(_clock_moved, _HARMS({"clock", "replica"}), ALL),
    "the disk of a replica is full": Fault(_disk_full, _HARMS({"disk", "replica"})),
}
