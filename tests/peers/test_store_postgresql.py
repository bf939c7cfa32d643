"""The store on a real PostgreSQL: migrated once, whoever tries at once."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from compat_auth.errors import NoSuchUser
from compat_auth.store.denial_rows import Denial, DenialRows, IssuedToken
from compat_auth.store.migration import VERSION_TABLE, open_store
from compat_auth.store.pinned_subjects import PinnedSubjects
from compat_auth.store.schema import metadata
from compat_auth.store.session_rows import SessionRow, SessionRows
from peers.postgres import Postgres

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

    rows.end_all("zoë", 6)
    rows.end_all("zoë", 7)

    assert found == SessionRow("zoë", "ldap", "kerberos", 5, 5)
    assert rows.find_live("id") is None
    with pytest.raises(NoSuchUser):
        pins.pin("issuer", "sub", "mallory", now=8)
    database.close()


def test_who_reads_denials_misses_none_however_many_deny_at_once(url: str) -> None:
    first = open_store(url)
    DenialRows(first).deny([Denial("jti", "first", NOW + 60)])
    seen: set[str] = set()

    def deny(number: int) -> None:
        database = open_store(url)
        for position in range(20):
            DenialRows(database).deny([Denial("jti", f"{number}-{position}", NOW + 60)])
        database.close()

    threads = [threading.Thread(target=deny, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    version = -1
    while any(thread.is_alive() for thread in threads):
        version, found = DenialRows(first).read(version, NOW)
        seen |= {denial.key for denial in found}
    seen |= {denial.key for denial in DenialRows(first).read(version, NOW)[1]}

    first.close()
    assert len(seen) == 1 + 4 * 20


def test_a_given_token_is_denied_with_what_it_was_made_from(url: str) -> None:
    database = open_store(url)
    rows = DenialRows(database)
    token = IssuedToken("a" * 32, b"d" * 32, "zoë", "7", "session:1", NOW, NOW + 600)
    rows.add(token)

    denied = rows.deny_made_from("session:1", NOW)

    version, found = rows.read(-1, NOW)
    database.close()
    assert denied == [token]
    assert (version, found) == (1, [Denial("jti", "a" * 32, NOW + 600)])
