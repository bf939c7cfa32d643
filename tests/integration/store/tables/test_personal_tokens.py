"""Personal tokens in the store: nothing that was answered is lost, and nothing is done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from compat_auth.errors import CompatAuthError, InvalidValue
from compat_auth.scopes import parse_scopes
from compat_auth.store.database import Database
from compat_auth.store.migration import open_store
from compat_auth.store.tables.personal_tokens import PersonalToken, PersonalTokenRows

WRITER = """
import sys
from compat_auth.store.migration import open_store
from compat_auth.store.tables.personal_tokens import PersonalToken, PersonalTokenRows

rows = PersonalTokenRows(open_store(sys.argv[1]))
number = 0
while True:
    token_id = f"{number:012}"
    rows.add(PersonalToken(token_id, "alice", "", "", token_id, ("all",), 1, "a", 2**40, b"d" * 32, "p"), limit=10**6)
    print("added", token_id, flush=True)
    if number % 2:
        rows.revoke(token_id, now=5, reason="revoked")
        print("revoked", token_id, flush=True)
    number += 1
"""
MIGRATE = """
import sys
from compat_auth.store.migration import open_store
database = open_store(sys.argv[1])
with database.read():
    pass
database.close()
"""


def token(token_id: str, name: str) -> PersonalToken:
    return PersonalToken(token_id, "alice", "", "", name, ("all",), 1, "alice", 2**40, b"d" * 32, "p")


def test_nothing_that_was_answered_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    for number in range(3):
        url = f"sqlite:///{tmp_path / f'store-{number}.db'}"
        writer = subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        answered = [writer.stdout.readline().split() for _ in range(20)]
        os.kill(writer.pid, signal.SIGKILL)
        answered += [line.split() for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        writer.wait()
        writer.stdout.close()

        rows = PersonalTokenRows(open_store(url))
        for what, token_id in answered:
            found = rows.find(token_id)
            assert found is not None, token_id
            assert what == "added" or found.revoked == 5, token_id
        rows.database.close()


def test_several_processes_may_migrate_an_older_store_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    command = [sys.executable, "-W", "error", "-c", MIGRATE, url]

    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    results = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]

    assert results == [(b"", 0)] * 3


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_store(f"sqlite:///{tmp_path / 'store.db'}")


def test_of_many_at_once_no_more_than_the_limit_are_made(database: Database) -> None:
    rows = PersonalTokenRows(database)

    def add(number: int) -> bool:
        try:
            rows.add(token(f"{number:012}", f"name-{number}"), limit=5)
        except InvalidValue:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        made = sum(threads.map(add, range(12)))

    assert made == 5
    assert len(rows.list("alice", alive_at=2)) == 5
    database.close()


def test_of_many_at_once_one_gets_the_name(database: Database) -> None:
    rows = PersonalTokenRows(database)

    def add(number: int) -> bool:
        try:
            rows.add(token(f"{number:012}", "etl"), limit=50)
        except CompatAuthError:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        made = sum(threads.map(add, range(8)))

    assert made == 1
    database.close()


def test_a_program_that_knows_no_certificates_cannot_read_the_scopes_of_a_bound_token(tmp_path: Path) -> None:
    database = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    rows = PersonalTokenRows(database)
    bound = replace(token("000000000001", "bound"), certificate="c" * 43)
    for made in (bound, token("000000000002", "plain")):
        rows.add(made, limit=5)

    with database.read() as connection:
        stored = connection.execute(text("SELECT name, scopes FROM compat_auth_personal_tokens")).all()
    found = {str(name): tuple(json.loads(scopes)) for name, scopes in stored}
    read = [rows.find(made) for made in ("000000000001", "000000000002")]
    database.close()

    assert read == [bound, token("000000000002", "plain")]
    assert parse_scopes(found["plain"]) is not None
    with pytest.raises(ValueError, match="scope"):
        parse_scopes(found["bound"])
