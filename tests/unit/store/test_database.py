"""The store's database: opened late, migrated once, and nothing lost."""

from __future__ import annotations

import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.store import migrations
from compat_auth.store.database import Database
from compat_auth.store.migration import (
    VERSION_TABLE,
    downgrade,
    is_current,
    open_store,
    require_known_tables,
    upgrade,
)
from compat_auth.store.schema import metadata
from compat_auth.store.tables.sessions import SessionRow, SessionRows

MIGRATIONS = Path(migrations.__file__).parent


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = open_store(url)
    yield database
    database.close()


def test_nothing_is_opened_before_it_is_needed(url: str, tmp_path: Path) -> None:
    open_store(url)

    assert list(tmp_path.iterdir()) == []


def test_the_migrations_make_what_the_schema_says(database: Database) -> None:
    with database.write() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        differences = compare_metadata(context, metadata)

    assert differences == []


def test_sqlite_keeps_a_log_and_its_constraints(database: Database) -> None:
    with database.read() as connection:
        mode = connection.scalar(text("PRAGMA journal_mode"))
        keys = connection.scalar(text("PRAGMA foreign_keys"))
        wait_ms = connection.scalar(text("PRAGMA busy_timeout"))

    assert (mode, keys, wait_ms) == ("wal", 1, 5000)


def test_only_the_owner_can_read_the_file(database: Database, tmp_path: Path) -> None:
    with database.write():
        pass

    assert stat.S_IMODE((tmp_path / "store.db").stat().st_mode) == 0o600


def test_an_error_in_the_block_undoes_what_it_wrote(database: Database) -> None:
    def write_and_fail() -> None:
        with database.write() as connection:
            connection.execute(text("INSERT INTO compat_auth_revocations VALUES ('alice', 1)"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()

    with database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM compat_auth_revocations")) == 0


def test_upgrading_twice_changes_nothing(database: Database) -> None:
    with database.write() as connection:
        upgrade(connection)

        assert is_current(connection)


def test_tables_of_a_newer_version_are_left_alone(url: str, database: Database, tmp_path: Path) -> None:
    with database.write():
        pass
    with closing(sqlite3.connect(tmp_path / "store.db")) as raw, raw:
        raw.execute("UPDATE compat_auth_alembic_version SET version_num = '9999'")
    raw.close()
    database.close()

    with pytest.raises(BackendUnavailable, match=r"9999.*newest here.*install"), open_store(url).read():
        pass


def set_revision(folder: Path, revision: str) -> None:
    with closing(sqlite3.connect(folder / "store.db")) as raw, raw:
        raw.execute("UPDATE compat_auth_alembic_version SET version_num = ?", (revision,))
    raw.close()


def test_tables_of_a_newer_version_that_tolerates_this_one_are_used(
    url: str, database: Database, tmp_path: Path
) -> None:
    SessionRows(database).add("id", SessionRow("alice", "", "session", 1, 1))
    set_revision(tmp_path, "0009_from_0004")

    found = SessionRows(again := open_store(url)).find_live("id")

    again.close()
    assert found == SessionRow("alice", "", "session", 1, 1)


@pytest.mark.parametrize("revision", ["0009", "0009_from_0006", "0009_from_0003_", "x0009_from_0003", "0009_from_3"])
def test_tables_of_a_newer_version_that_does_not_tolerate_this_one_are_not(
    revision: str, url: str, database: Database, tmp_path: Path
) -> None:
    with database.write():
        pass
    set_revision(tmp_path, revision)

    with pytest.raises(BackendUnavailable, match=revision), open_store(url).read():
        pytest.fail("used")
    with pytest.raises(ConfigError, match=revision):
        require_known_tables(url)


@pytest.mark.parametrize("revision", ["0009", "0002"])
def test_a_program_that_runs_notices_that_another_has_changed_the_tables_and_heals(
    revision: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compat_auth.store.database.FIT_S", 0)
    rows = SessionRows(database)
    rows.add("id", SessionRow("alice", "", "session", 1, 1))

    set_revision(tmp_path, revision)
    with pytest.raises(BackendUnavailable, match="database_url: its tables"):
        rows.find_live("id")
    set_revision(tmp_path, "0005_from_0003")

    assert rows.find_live("id") is not None


def test_a_store_that_is_not_there_yet_does_not_stop_the_start(url: str, tmp_path: Path) -> None:
    require_known_tables(url)

    assert list(tmp_path.iterdir()) == []


def test_a_revision_is_named_by_its_number_and_by_what_it_tolerates() -> None:
    revisions = [revision.revision for revision in ScriptDirectory(str(MIGRATIONS)).walk_revisions()]
    numbers = [name[:4] for name in revisions]

    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) == len(numbers)
    for name in revisions:
        named = re.fullmatch(r"[0-9]{4}(?:_from_([0-9]{4}))?", name)
        assert named, f"{name}: write 0005, or 0005_from_0003 where programs that know 0003 go on working"
        assert named[1] is None or named[1] < name[:4]


def test_every_migration_can_be_taken_back_and_made_again(database: Database) -> None:
    with database.write() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        downgrade(connection, "0001")
        upgrade(connection)
        differences = compare_metadata(context, metadata)

    assert differences == []


def test_a_file_that_is_no_database_is_a_source_that_cannot_be_asked(url: str, tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"not a database, but as long as the header of one" * 100)

    with pytest.raises(BackendUnavailable, match="database_url sqlite"), open_store(url).read():
        pass


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("", id="empty"),
        pytest.param("sqlite://", id="no-file"),
        pytest.param("sqlite:///:memory:", id="memory"),
        pytest.param("mysql://user:hunter2@host/db", id="another-database"),
        pytest.param("hunter2", id="no-url"),
    ],
)
def test_a_url_that_cannot_work_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigError, match="database_url") as caught:
        Database(url)

    assert "hunter2" not in str(caught.value)
