"""The store's database: opened late, migrated once, and nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from compat_auth.store.database import Database
from compat_auth.store.migration import (
    open_store,
)
from compat_auth.store.tables.sessions import SessionRow, SessionRows


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = open_store(url)
    yield database
    database.close()


def run(code: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_what_is_written_outlives_another_process_that_comes_and_goes(database: Database, tmp_path: Path) -> None:
    count = """
        import sqlite3, sys
        with sqlite3.connect(sys.argv[1]) as connection:
            print(connection.execute("SELECT count(*) FROM notes").fetchone()[0])
        connection.close()
        """

    def counted_elsewhere() -> bytes:
        return run(count, str(tmp_path / "store.db")).communicate()[0].strip()

    with database.write() as connection:
        connection.execute(text("CREATE TABLE notes (note TEXT)"))
    # A second connection of this process; it must not give up what the first one holds of the file.
    with database.read(), database.read():
        pass

    counted_elsewhere()
    with database.write() as connection:
        connection.execute(text("INSERT INTO notes VALUES ('kept')"))

    assert (counted_elsewhere(), counted_elsewhere()) == (b"1", b"1")


def test_several_processes_may_migrate_at_once(url: str) -> None:
    code = """
        import sys
        from compat_auth.store.migration import open_store
        database = open_store(sys.argv[1])
        with database.read():
            pass
        database.close()
    """
    processes = [run(code, url) for _ in range(4)]

    results = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]

    assert results == [(b"", 0)] * 4


def test_what_was_written_outlives_a_killed_process(url: str, database: Database) -> None:
    code = """
        import sys, time
        from compat_auth.store.migration import open_store
        from compat_auth.store.tables.sessions import SessionRow, SessionRows
        SessionRows(open_store(sys.argv[1])).add("id", SessionRow("alice", "", "session", 1, 1))
        print("written", flush=True)
        time.sleep(60)
    """
    process = run(code, url)
    assert process.stdout is not None
    process.stdout.readline()

    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)

    assert SessionRows(database).find_live("id") == SessionRow("alice", "", "session", 1, 1)


def test_a_forked_process_opens_connections_of_its_own(database: Database) -> None:
    rows = SessionRows(database)
    rows.add("parent", SessionRow("alice", "", "session", 1, 1))

    child = os.fork()
    if not child:
        try:
            rows.add("child", SessionRow("bob", "", "session", 1, 1))
        finally:
            os._exit(0)
    os.waitpid(child, 0)

    assert rows.find_live("child") is not None
    assert rows.find_live("parent") is not None
