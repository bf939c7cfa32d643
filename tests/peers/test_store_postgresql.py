"""The store on a real PostgreSQL: migrated once, whoever tries at once."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import jwt
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from compat_auth.authn.revocation_events import RevocationEvents
from compat_auth.errors import BackendUnavailable, NoSuchUser
from compat_auth.store.migration import VERSION_TABLE, open_store
from compat_auth.store.schema import metadata
from compat_auth.store.tables.denylist import DenylistEntry, DenylistRows, IssuedToken
from compat_auth.store.tables.pinned_subjects import PinnedSubjects
from compat_auth.store.tables.sessions import SessionRow, SessionRows
from compat_auth.tokens.denylist import Denylist
from support.peers.postgres import Postgres

pytestmark = pytest.mark.peer

NOW = 1_800_000_000
MIGRATE = """
import sys
from compat_auth.store.migration import open_store
database = open_store(sys.argv[1])
with database.read():
    pass
database.close()
"""


@pytest.fixture
def url(postgres: Postgres) -> str:
    name = f"store_{uuid.uuid4().hex}"
    engine = create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return make_url(postgres.url).set(database=name).render_as_string(hide_password=False)


def test_several_processes_may_migrate_at_once(url: str) -> None:
    command = [sys.executable, "-W", "error", "-c", MIGRATE, url]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(4)]

    results = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]

    assert results == [(b"", 0)] * 4


def test_the_migrations_make_what_the_schema_says(url: str) -> None:
    database = open_store(url)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        differences = compare_metadata(context, metadata)
    database.close()

    assert differences == []


def test_sessions_end_and_subjects_stay_as_on_sqlite(url: str) -> None:
    database = open_store(url)
    rows, pins = SessionRows(database), PinnedSubjects(database)
    rows.add("id", SessionRow("zoë", "ldap", "kerberos", 5, 5))
    pins.pin("issuer", "sub", "zoë", now=5)
    found = rows.find_live("id")

    rows.revoke_all("zoë", 6)
    rows.revoke_all("zoë", 7)

    assert found == SessionRow("zoë", "ldap", "kerberos", 5, 5)
    assert rows.find_live("id") is None
    with pytest.raises(NoSuchUser):
        pins.pin("issuer", "sub", "mallory", now=8)
    database.close()


def test_who_reads_denials_misses_none_however_many_deny_at_once(url: str) -> None:
    first = open_store(url)
    DenylistRows(first).revoke([DenylistEntry("jti", "first", NOW + 60)])
    seen: set[str] = set()

    def deny(number: int) -> None:
        database = open_store(url)
        for position in range(20):
            DenylistRows(database).revoke([DenylistEntry("jti", f"{number}-{position}", NOW + 60)])
        database.close()

    threads = [threading.Thread(target=deny, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    version = -1
    while any(thread.is_alive() for thread in threads):
        reading = DenylistRows(first).read(version)
        version = reading.version
        seen |= {denial.key for denial in reading.found}
    seen |= {denial.key for denial in DenylistRows(first).read(version).found}

    first.close()
    assert len(seen) == 1 + 4 * 20


def test_a_given_token_is_denied_with_what_it_was_made_from(url: str) -> None:
    database = open_store(url)
    rows = DenylistRows(database)
    token = IssuedToken("a" * 32, b"d" * 32, "zoë", "7", "session:1", NOW, NOW + 600)
    rows.add(token)

    denied = rows.revoke_made_from("session:1", NOW)

    found = rows.read(-1).found
    database.close()
    assert denied == [token]
    assert found == [DenylistEntry("jti", "a" * 32, NOW + 600)]


def worker(url: str) -> Denylist:
    """Return what one worker knows, which believes nothing for longer than a moment."""
    moments = itertools.count(0, 10)
    return Denylist(
        DenylistRows(open_store(url)), RevocationEvents(), now=lambda: NOW, monotonic=lambda: float(next(moments))
    )


def jwt_named(jti: str) -> str:
    return jwt.encode({"sub": "7", "jti": jti, "iat": NOW, "exp": NOW + 600}, "s" * 64, algorithm="HS512")


def denied(workers: list[Denylist], *jtis: str) -> set[bool]:
    for one in workers:
        one.read()
    return {one.is_revoked(jwt_named(jti)) for one in workers for jti in jtis}


def test_revocation_holds_when_a_dump_is_restored_under_running_workers(
    url: str, postgres: Postgres, tmp_path: Path
) -> None:
    workers = [worker(url), worker(url)]
    workers[0].revoke(DenylistEntry("jti", "before", NOW + 600))
    # libpq's tools know no driver's name.
    at, file = url.replace("postgresql+psycopg", "postgresql"), str(tmp_path / "compat_auth.dump")
    postgres.run_tool("pg_dump", "--format=custom", "--table=compat_auth_*", f"--file={file}", at)
    for number in range(5):
        workers[0].revoke(DenylistEntry("jti", f"since-{number}", NOW + 600))
    held_before = denied(workers, "before", "since-0", "since-4")

    postgres.run_tool("pg_restore", "--clean", "--if-exists", f"--dbname={at}", file)
    workers[1].revoke(DenylistEntry("jti", "after", NOW + 600))

    assert held_before == {True}
    assert denied(workers, "before", "since-0", "since-4", "after") == {True}
    assert denied([worker(url)], "before", "since-0", "since-4", "after") == {True}
    assert denied(workers, "never") == {False}


@pytest.mark.parametrize("later", [0, 3, 20])
def test_revocation_holds_when_a_standby_that_lags_takes_over(url: str, postgres: Postgres, later: int) -> None:
    workers = [worker(url), worker(url)]
    workers[0].revoke(DenylistEntry("jti", "before", NOW + 600))
    at = make_url(url)
    close(workers)
    on_server(postgres, f"CREATE DATABASE {at.database}_standby TEMPLATE {at.database}")
    for number in range(3):
        workers[0].revoke(DenylistEntry("jti", f"since-{number}", NOW + 600))
    held_before = denied(workers, "before", "since-0", "since-2")
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'store_%'"

    on_server(
        postgres,
        ended,
        f"ALTER DATABASE {at.database} RENAME TO {at.database}_failed",
        f"ALTER DATABASE {at.database}_standby RENAME TO {at.database}",
    )
    other = DenylistRows(open_store(url))
    for number in range(later):
        other.revoke([DenylistEntry("jti", f"later-{number}", NOW + 600)])

    assert held_before == {True}
    assert denied(workers, "before", "since-0", "since-2", *(f"later-{n}" for n in range(later))) == {True}
    assert denied([worker(url)], "before", "since-0", "since-2") == {True}


def close(workers: list[Denylist]) -> None:
    for one in workers:
        one.rows.close()


def on_server(postgres: Postgres, *statements: str) -> None:
    engine = create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def test_a_database_that_takes_no_writes_is_not_ready(url: str, postgres: Postgres) -> None:
    rows = DenylistRows(open_store(url))
    rows.require_writable()
    rows.close()

    # As a standby is; psycopg sees it for each new connection.
    on_server(postgres, f"ALTER DATABASE {make_url(url).database} SET default_transaction_read_only = on")

    assert rows.read(-1).version == 0
    with pytest.raises(BackendUnavailable):
        rows.require_writable()
