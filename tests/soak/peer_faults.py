"""Faults of the peers: database, Redis, KDC, slapd, OpenID provider, upstream."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import redis
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from soak.world import DOWN_S, World, kill
from support.peers.soak_site import frozen as stopped


def away(name: str) -> Callable[[World], None]:
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


def frozen(name: str) -> Callable[[World], None]:
    def run(world: World) -> None:
        with stopped(getattr(world.place, name).process):
            time.sleep(world.chosen.uniform(0.5, 5))

    return run


def slow(link: str) -> Callable[[World], None]:
    def run(world: World) -> None:
        with getattr(world.place, link).slow(world.chosen.uniform(0.2, 2.0)):
            time.sleep(6)

    return run


def database_killed(world: World) -> None:
    kill(world.place.postgres.process.pid)
    world.place.postgres.stop()
    time.sleep(DOWN_S)
    world.place.postgres.start()


def _sql(world: World, *statements: str) -> None:
    engine = create_engine(world.place.postgres.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def database_connections_cut(world: World) -> None:
    for _ in range(3):
        _sql(world, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        time.sleep(0.3)


def database_locked(world: World) -> None:
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


def database_full_of_clients(world: World) -> None:
    engine = create_engine(world.place.postgres.url, pool_size=200)
    held: list[Any] = []
    with suppress(Exception):  # the server refuses as soon as it is full, which is what we want
        while True:
            held.append(engine.connect())
    time.sleep(DOWN_S)
    for connection in held:
        connection.close()
    engine.dispose()


def redis_forgets(world: World) -> None:
    with redis.Redis.from_url(world.place.redis.url) as client:
        client.flushall()


def redis_connections_cut(world: World) -> None:
    with redis.Redis.from_url(world.place.redis.url) as client:
        for kind in ("pubsub", "normal"):
            client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


def provider_rotates(world: World) -> None:
    world.place.provider.rotate()
    # It forgets its tokens with that.
    world.credentials.renew_opaque()


def upstream_killed(world: World) -> None:
    world.place.upstream.kill()
    time.sleep(world.chosen.uniform(0, 2))
    world.place.upstream.start()


def upstream_cuts(world: World) -> None:
    world.place.upstream.cuts.touch()
    time.sleep(4)
    world.place.upstream.cuts.unlink()
    # It looks for the file a few times a second.
    time.sleep(0.5)
