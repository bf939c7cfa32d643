"""Personal tokens on a real PostgreSQL: one answer, however many ask at once."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from compat_auth.errors import CompatAuthError
from compat_auth.store.database import Database
from compat_auth.store.migration import open_store, revisions
from compat_auth.store.tables.personal_tokens import PersonalToken, PersonalTokenRows
from compat_auth.store.tables.role_accounts import RoleAccount, RoleAccountRows
from compat_auth.store.tables.token_uses import LastUse, TokenUsageRows
from support.peers.postgres import Postgres

pytestmark = pytest.mark.peer

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


@pytest.fixture
def rows(url: str) -> Iterator[PersonalTokenRows]:
    rows = PersonalTokenRows(open_store(url))
    yield rows
    rows.database.close()


def token(number: int, name: str) -> PersonalToken:
    return PersonalToken(f"{number:012}", "zoë", "", "", name, ("read",), 1, "zoë", 2**40, b"d" * 32, "p")


def added(rows: PersonalTokenRows, one: PersonalToken, limit: int) -> bool:
    try:
        rows.add(one, limit=limit)
    except CompatAuthError:
        return False
    return True


def test_replicas_may_bring_an_older_store_up_to_date_at_once(url: str) -> None:
    older = Database(url)
    with older.write() as connection:
        config = Config()
        config.set_main_option("script_location", "compat_auth.store:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            text("INSERT INTO compat_auth_revocations (username, not_before) VALUES ('zoë', 7)"),
        )
    older.close()
    line = [sys.executable, "-W", "error", "-c", MIGRATE, url]

    processes = [subprocess.Popen(line, stderr=subprocess.PIPE) for _ in range(4)]
    results = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]

    store = open_store(url)
    with store.read() as connection:
        found, newest = revisions(connection)
        kept = connection.scalar(text("SELECT not_before FROM compat_auth_revocations"))
    store.close()
    assert results == [(b"", 0)] * 4
    assert (found, kept) == (newest, 7)


def test_of_many_at_once_no_more_than_the_limit_are_made(rows: PersonalTokenRows) -> None:
    with ThreadPoolExecutor(6) as threads:
        made = sum(threads.map(lambda number: added(rows, token(number, f"n{number}"), 5), range(24)))

    assert made == 5
    assert len(rows.list("zoë", alive_at=2)) == 5


def test_of_many_at_once_one_gets_the_name(rows: PersonalTokenRows) -> None:
    with ThreadPoolExecutor(6) as threads:
        made = sum(threads.map(lambda number: added(rows, token(number, "etl"), 99), range(24)))

    assert made == 1


def test_of_many_at_once_one_revokes(rows: PersonalTokenRows) -> None:
    rows.add(token(1, "etl"), limit=9)

    with ThreadPoolExecutor(6) as threads:
        revoked = sum(threads.map(lambda _: rows.revoke(f"{1:012}", now=5, reason="x"), range(12)))

    assert revoked == 1


def test_uses_that_several_write_at_once_add_up(rows: PersonalTokenRows) -> None:
    for number in (1, 2):
        rows.add(token(number, f"n{number}"), limit=9)
    uses = TokenUsageRows(rows.database)
    counts = {(f"{number:012}", 20_000): 1 for number in (1, 2)}
    last = [LastUse(f"{1:012}", 1000, "192.0.2.1", "curl")]

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda _: uses.write(counts, last), range(20)))

    found = rows.find(f"{1:012}")
    assert [uses.of(f"{number:012}", since_day=0) for number in (1, 2)] == [{20_000: 20}] * 2
    assert found is not None
    assert (found.last_used, found.last_agent) == (1000, "curl")


def test_a_token_knows_that_its_owner_is_a_role_account(rows: PersonalTokenRows) -> None:
    RoleAccountRows(rows.database).add(RoleAccount("zoë", "group:ops", 1))
    rows.add(replace(token(1, "etl"), is_role=True), limit=9)

    found = rows.find(f"{1:012}")

    assert found is not None
    assert found.is_role
    assert rows.delete_dead(2**41) == 1
