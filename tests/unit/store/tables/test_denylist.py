"""Tokens that were given, and what is no longer good: nothing is lost, and nothing read too late."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from compat_auth.errors import BackendUnavailable
from compat_auth.store.database import Database
from compat_auth.store.migration import open_store
from compat_auth.store.tables.denylist import DenylistEntry, DenylistRows, IssuedToken, Reading

NOW = 1000
TOKEN = IssuedToken("a" * 32, b"d" * 32, "alice", "7", "session:1", NOW, NOW + 600)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    yield database
    database.close()


@pytest.fixture
def rows(database: Database) -> DenylistRows:
    return DenylistRows(database)


def test_the_same_token_is_remembered_once_however_often_it_is_given(rows: DenylistRows) -> None:
    rows.add(TOKEN)

    rows.add(replace(TOKEN, issued=NOW + 1))

    assert rows.find(TOKEN.jti) == TOKEN


def test_two_tokens_never_share_a_name(rows: DenylistRows) -> None:
    rows.add(TOKEN)

    with pytest.raises(BackendUnavailable, match="same jti"):
        rows.add(replace(TOKEN, digest=b"e" * 32))

    assert rows.find(TOKEN.jti) == TOKEN


def test_one_token_given_by_many_at_once_is_an_error_for_none(rows: DenylistRows) -> None:
    failures: list[BaseException] = []

    def give() -> None:
        try:
            rows.add(TOKEN)
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is what the test is about
            failures.append(error)

    threads = [threading.Thread(target=give) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert rows.find(TOKEN.jti) == TOKEN


def test_nothing_makes_a_database_that_is_not_there(rows: DenylistRows, tmp_path: Path) -> None:
    assert not rows.is_there
    assert not (tmp_path / "store.db").exists()


def test_a_token_is_found_as_it_was_stored(rows: DenylistRows) -> None:
    rows.add(TOKEN)

    assert rows.find(TOKEN.jti) == TOKEN
    assert rows.find("b" * 32) is None
    assert rows.is_there


@pytest.mark.parametrize(
    "token",
    [
        replace(TOKEN, jti=""),
        replace(TOKEN, jti="a" * 257),
        replace(TOKEN, username=""),
        replace(TOKEN, username="a\0"),
        replace(TOKEN, subject="s" * 513),
    ],
)
def test_a_token_that_would_not_come_back_is_refused(rows: DenylistRows, token: IssuedToken) -> None:
    with pytest.raises(ValueError, match=r"jti or username|longer"):
        rows.add(token)


def test_what_is_denied_is_read_once(rows: DenylistRows) -> None:
    rows.revoke([DenylistEntry("jti", "a", NOW + 60)])
    first = rows.read(-1)
    rows.revoke([DenylistEntry("sub", "7", NOW + 60, NOW)])

    second = rows.read(first.version)

    assert first.found == [DenylistEntry("jti", "a", NOW + 60)]
    assert (second.found, second.is_whole) == ([DenylistEntry("sub", "7", NOW + 60, NOW)], False)
    assert second.version > first.version
    assert rows.read(second.version) == Reading(second.version, [], is_whole=False)


def test_a_store_that_does_not_remember_the_known_version_is_read_as_a_whole(rows: DenylistRows) -> None:
    rows.revoke([DenylistEntry("jti", "a", NOW + 60)])
    version = rows.read(-1).version

    of_the_future, of_the_past = rows.read(version + 1), rows.read(version - 1)

    assert of_the_future == of_the_past == Reading(version, [DenylistEntry("jti", "a", NOW + 60)], is_whole=True)


def test_two_histories_of_one_store_never_have_the_same_versions(tmp_path: Path) -> None:
    stores = [DenylistRows(open_store(f"sqlite:///{tmp_path / name}")) for name in ("one.db", "other.db")]

    for rows in stores:
        rows.revoke([DenylistEntry("jti", "a", NOW + 60)])

    assert stores[0].read(-1).version != stores[1].read(-1).version


def test_tables_without_a_version_are_a_store_that_cannot_be_asked(rows: DenylistRows, database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("DELETE FROM compat_auth_denial_version"))

    with pytest.raises(BackendUnavailable, match="restore all tables from a backup"):
        rows.read(-1)
    with pytest.raises(BackendUnavailable, match="restore all tables from a backup"):
        rows.revoke([DenylistEntry("jti", "a", NOW + 60)])
    with pytest.raises(BackendUnavailable, match="restore all tables from a backup"):
        rows.require_writable()


def test_what_is_over_is_read_until_it_is_forgotten(rows: DenylistRows) -> None:
    rows.revoke([DenylistEntry("jti", "a", NOW + 60), DenylistEntry("jti", "b", NOW + 600)])

    before = sorted(denial.key for denial in rows.read(-1).found)
    forgotten = rows.forget_older(NOW + 61)

    assert (before, forgotten) == (["a", "b"], 1)
    assert [denial.key for denial in rows.read(-1).found] == ["b"]


def test_a_denial_is_never_taken_back_by_a_shorter_one(rows: DenylistRows) -> None:
    rows.revoke([DenylistEntry("sub", "7", NOW + 600, NOW)])

    rows.revoke([DenylistEntry("sub", "7", NOW + 60, NOW - 60)])

    assert rows.read(-1).found == [DenylistEntry("sub", "7", NOW + 600, NOW)]


def test_what_was_made_from_a_credential_is_denied_with_it(rows: DenylistRows) -> None:
    other = replace(TOKEN, jti="b" * 32, credential_id="session:2")
    over = replace(TOKEN, jti="c" * 32, expires=NOW)
    for token in (TOKEN, other, over):
        rows.add(token)

    denied = rows.revoke_made_from("session:1", NOW)

    assert denied == [TOKEN]
    # The clock that says of the last one that it is over may be wrong.
    assert sorted(denial.key for denial in rows.read(-1).found) == [TOKEN.jti, over.jti]


def test_all_that_a_user_was_given_is_denied(rows: DenylistRows) -> None:
    for token in (TOKEN, replace(TOKEN, jti="b" * 32), replace(TOKEN, jti="c" * 32, username="bob")):
        rows.add(token)

    denied = rows.revoke_issued_to("alice", NOW)

    assert sorted(token.jti for token in denied) == [TOKEN.jti, "b" * 32]


def test_a_reader_misses_nothing_however_many_deny_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    DenylistRows(open_store(url)).revoke([DenylistEntry("jti", "first", NOW + 60)])
    seen: set[str] = set()

    def deny(number: int) -> None:
        mine = DenylistRows(open_store(url))
        for position in range(20):
            mine.revoke([DenylistEntry("jti", f"{number}-{position}", NOW + 60)])

    threads = [threading.Thread(target=deny, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    reader, version = DenylistRows(open_store(url)), -1
    while any(thread.is_alive() for thread in threads):
        reading = reader.read(version)
        version = reading.version
        seen |= {denial.key for denial in reading.found}
    seen |= {denial.key for denial in reader.read(version).found}

    assert len(seen) == 1 + 4 * 20
