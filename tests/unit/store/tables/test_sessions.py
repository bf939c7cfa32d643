"""Which sessions are alive, and which subject is whose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from compat_auth.errors import NoSuchUser
from compat_auth.store.database import Database
from compat_auth.store.migration import open_store
from compat_auth.store.tables.pinned_subjects import PinnedSubjects
from compat_auth.store.tables.sessions import SessionRow, SessionRows

NOW = 1000


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    yield database
    database.close()


@pytest.fixture
def rows(database: Database) -> SessionRows:
    return SessionRows(database)


def row(username: str = "alice", created: int = NOW) -> SessionRow:
    return SessionRow(username, "htpasswd", "basic_auth", created, created)


def test_a_session_is_found_as_it_was_stored(rows: SessionRows) -> None:
    rows.add("id", row("zoë"))

    assert rows.find_live("id") == row("zoë")


def test_an_unknown_session_is_none(rows: SessionRows) -> None:
    assert rows.find_live("unknown") is None


def test_the_database_does_not_hold_the_id(rows: SessionRows, database: Database, tmp_path: Path) -> None:
    rows.add("id-of-the-session", row())
    database.close()

    assert all(b"id-of-the-session" not in path.read_bytes() for path in tmp_path.iterdir())


def test_an_ended_session_stays_ended(rows: SessionRows) -> None:
    rows.add("id", row())

    rows.end("id", NOW + 5)

    assert rows.find_live("id") is None


def test_log_out_everywhere_ends_all_sessions_of_one_user(rows: SessionRows) -> None:
    rows.add("first", row())
    rows.add("second", row(created=NOW - 100))
    rows.add("other", row("bob"))

    rows.revoke_all("alice", NOW)

    assert (rows.find_live("first"), rows.find_live("second")) == (None, None)
    assert rows.find_live("other") == row("bob")


def test_log_out_everywhere_lets_the_user_log_in_again(rows: SessionRows) -> None:
    rows.revoke_all("alice", NOW)
    rows.revoke_all("alice", NOW + 1)

    rows.add("new", row(created=NOW + 1))

    assert rows.find_live("new") == row(created=NOW + 1)


def test_a_session_older_than_log_out_everywhere_cannot_be_added_afterwards(rows: SessionRows) -> None:
    rows.revoke_all("alice", NOW)

    rows.add("late", row(created=NOW - 1))

    assert rows.find_live("late") is None


def test_last_seen_never_goes_back(rows: SessionRows) -> None:
    rows.add("id", row())

    rows.touch("id", NOW + 10)
    rows.touch("id", NOW + 5)

    found = rows.find_live("id")
    assert found is not None
    assert found.last_seen == NOW + 10


def test_what_has_idled_out_is_forgotten(rows: SessionRows) -> None:
    rows.add("old", row(created=NOW - 100))
    rows.add("new", row())

    assert rows.forget_older(NOW - 50) == 1
    assert rows.find_live("new") is not None


@pytest.mark.parametrize("username", ["", "x" * 513, "a\0b"])
def test_a_name_that_does_not_fit_is_an_error_and_not_cut(rows: SessionRows, username: str) -> None:
    with pytest.raises(ValueError, match="names"):
        rows.add("id", row(username))


def test_a_subject_stays_with_its_first_user(database: Database) -> None:
    pins = PinnedSubjects(database)
    pins.pin("issuer", "sub-1", "alice", now=NOW)
    pins.pin("issuer", "sub-1", "alice", now=NOW)

    with pytest.raises(NoSuchUser, match="an account that is not"):
        pins.pin("issuer", "sub-1", "mallory", now=NOW)
    with pytest.raises(NoSuchUser, match="an account that is not"):
        pins.pin("issuer", "sub-2", "alice", now=NOW)


def test_two_issuers_may_use_the_same_subject(database: Database) -> None:
    pins = PinnedSubjects(database)

    pins.pin("one", "sub", "alice", now=NOW)
    pins.pin("other", "sub", "bob", now=NOW)

    with database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM compat_auth_pinned_subjects")) == 2
