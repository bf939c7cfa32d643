"""A statement on the way of a request is built once: to build one costs more than to run it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

import pytest

from compat_auth.store.database import Database
from compat_auth.store.migration import open_store
from compat_auth.store.tables.denylist import DenylistEntry, DenylistRows, IssuedToken
from compat_auth.store.tables.personal_tokens import PersonalToken, PersonalTokenRows
from compat_auth.store.tables.pinned_subjects import PinnedSubjects
from compat_auth.store.tables.role_accounts import RoleAccount, RoleAccountRows
from compat_auth.store.tables.sessions import SessionRow, SessionRows
from compat_auth.store.tables.token_uses import LastUse, TokenUsageRows
from support.statements import forbid_new_statements

TOKEN = PersonalToken("0123456789ab", "alice", "", "", "t", ("all",), 1, "alice", 2**40, b"d" * 32, "p")
ISSUED = IssuedToken("jti", b"d" * 32, "alice", "1", "", 1, 2**40)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    PersonalTokenRows(database).add(TOKEN, limit=10)
    SessionRows(database).add("session", SessionRow("alice", "", "basic_auth", 1, 1))
    PinnedSubjects(database).pin("https://id.example", "1", "alice", now=1)
    RoleAccountRows(database).add(RoleAccount("robot", "group:ops", 1))
    DenylistRows(database).revoke([DenylistEntry("jti", "gone", 2**40)])
    yield database
    database.close()


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda store: PersonalTokenRows(store).find(TOKEN.id), id="personal-token"),
        pytest.param(lambda store: SessionRows(store).find_live("session"), id="session"),
        pytest.param(lambda store: SessionRows(store).touch("session", 7), id="session-seen"),
        pytest.param(lambda store: PinnedSubjects(store).find("https://id.example", "1"), id="account-link"),
        pytest.param(
            lambda store: PinnedSubjects(store).pin("https://id.example", "1", "alice", now=2), id="link-again"
        ),
        pytest.param(lambda store: RoleAccountRows(store).owners_of("robot"), id="owners"),
        pytest.param(lambda store: RoleAccountRows(store).list(), id="role-accounts"),
        pytest.param(lambda store: DenylistRows(store).read(-1), id="denylist"),
        pytest.param(lambda store: DenylistRows(store).read(DenylistRows(store).read(-1).version), id="denylist-again"),
        pytest.param(lambda store: DenylistRows(store).add(replace(ISSUED, jti=token_hex())), id="issued-token"),
        pytest.param(
            lambda store: TokenUsageRows(store).write({(TOKEN.id, 1): 2}, [LastUse(TOKEN.id, 9, "::1", "curl")]),
            id="use-of-a-token",
        ),
    ],
)
def test_no_statement_is_built_while_a_request_waits(
    ask: Callable[[Database], object], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ask(database)
    forbid_new_statements(monkeypatch)

    answer = ask(database)

    assert answer == expected


def test_uses_of_a_token_are_added_up_and_the_last_use_is_stored_once_in_five_minutes(database: Database) -> None:
    rows = TokenUsageRows(database)
    for used in (1000, 1100, 1400):
        rows.write({(TOKEN.id, 1): 2}, [LastUse(TOKEN.id, used, "::1", str(used))])
    found = PersonalTokenRows(database).find(TOKEN.id)

    assert rows.of(TOKEN.id, since_day=0) == {1: 6}
    assert found is not None
    assert (found.last_used, found.last_agent) == (1400, "1400")
