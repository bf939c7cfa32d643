"""Uses of personal tokens, counted in memory and written now and then."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest
from sqlalchemy import text

from compat_auth.errors import BackendUnavailable
from compat_auth.personal_tokens.usage import DAY_S, TokenUsage
from compat_auth.store.migration import open_store
from compat_auth.store.tables.personal_tokens import PersonalToken, PersonalTokenRows
from compat_auth.store.tables.token_uses import LastUse, TokenUsageRows

NOW = 20_000 * DAY_S + 100


def token(token_id: str = "A" * 12, name: str = "etl") -> PersonalToken:
    return PersonalToken(
        token_id, "alice", "", "", name, ("all",), NOW, "alice", NOW + DAY_S, digest=b"d" * 32, pepper_id="p"
    )


class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[PersonalTokenRows]:
    rows = PersonalTokenRows(open_store(f"sqlite:///{tmp_path / 'store.db'}"))
    rows.add(token(), limit=9)
    yield rows
    rows.database.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def uses(rows: PersonalTokenRows, clock: Clock) -> TokenUsage:
    return TokenUsage(TokenUsageRows(rows.database), now=clock, flush_s=3600)


def test_uses_of_several_writers_add_up(rows: PersonalTokenRows, uses: TokenUsage, clock: Clock) -> None:
    other = TokenUsage(TokenUsageRows(rows.database), now=clock, flush_s=3600)

    for counted in (uses, other, uses):
        counted.count("A" * 12)
    uses.flush()
    other.flush()
    clock.now += DAY_S
    uses.count("A" * 12)
    uses.flush()

    assert uses.rows.of("A" * 12, since_day=0) == {20_000: 3, 20_001: 1}


def test_nothing_is_written_before_its_time(rows: PersonalTokenRows, uses: TokenUsage) -> None:
    uses.count("A" * 12)
    uses.see("A" * 12, None, address="192.0.2.1", agent="curl")

    found = rows.find("A" * 12)

    assert found is not None
    assert found.last_used is None
    assert uses.rows.of("A" * 12, since_day=0) == {}


def test_the_last_use_is_written_once_in_five_minutes(rows: PersonalTokenRows, uses: TokenUsage, clock: Clock) -> None:
    written: list[int | None] = []
    found: PersonalToken | None = None

    for moment, address in ((0, "192.0.2.1"), (299, "192.0.2.2"), (300, "192.0.2.3")):
        clock.now = NOW + moment
        uses.see("A" * 12, None, address=address, agent="curl/8")
        uses.flush()
        found = rows.find("A" * 12)
        assert found is not None
        written.append(found.last_used)

    assert written == [NOW, NOW, NOW + 300]
    assert found is not None
    assert (found.last_address, found.last_agent) == ("192.0.2.3", "curl/8")


def test_another_process_that_wrote_is_heeded(rows: PersonalTokenRows, uses: TokenUsage, clock: Clock) -> None:
    other = TokenUsage(TokenUsageRows(rows.database), now=clock, flush_s=3600)
    other.see("A" * 12, None, address="192.0.2.1", agent="first")
    other.flush()
    clock.now += 10

    uses.see("A" * 12, None, address="192.0.2.2", agent="second")
    uses.flush()

    found = rows.find("A" * 12)
    assert found is not None
    assert found.last_agent == "first"


def test_what_a_program_says_of_itself_is_cut_and_forges_no_line(rows: PersonalTokenRows, uses: TokenUsage) -> None:
    uses.see("A" * 12, None, address="a" * 999, agent="curl\r\nX: y\x1b[31m" + "z" * 999)
    uses.flush()

    found = rows.find("A" * 12)
    assert found is not None
    assert len(found.last_address) == 64
    assert len(found.last_agent) == 256
    assert found.last_agent.startswith("curlX: y[31mz")


def test_uses_wait_while_the_store_cannot_be_asked(
    rows: PersonalTokenRows, uses: TokenUsage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise BackendUnavailable("down")

    uses.count("A" * 12)
    uses.see("A" * 12, None, address="192.0.2.1", agent="curl")
    with monkeypatch.context() as down:
        down.setattr(TokenUsageRows, "write", fail)
        uses.flush()
    uses.count("A" * 12)
    uses.flush()

    found = rows.find("A" * 12)
    assert uses.rows.of("A" * 12, since_day=0) == {20_000: 2}
    assert found is not None
    assert found.last_used == NOW


def test_the_uses_of_a_token_that_was_deleted_hold_up_nothing(rows: PersonalTokenRows, uses: TokenUsage) -> None:
    uses.count("B" * 12)
    uses.count("A" * 12)

    uses.flush()

    assert uses.rows.of("A" * 12, since_day=0) == {20_000: 1}


def test_uses_are_written_without_being_asked(rows: PersonalTokenRows) -> None:
    written = threading.Event()

    class Noted(TokenUsageRows):
        def write(self, counts: Mapping[tuple[str, int], int], last_uses: Iterable[LastUse]) -> None:
            super().write(counts, last_uses)
            written.set()

    uses = TokenUsage(Noted(rows.database), flush_s=0.01)
    uses.count("A" * 12)

    assert written.wait(10)
    assert sum(uses.rows.of("A" * 12, since_day=0).values()) == 1


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")  # forking is what is tested
def test_a_forked_worker_writes_its_own_uses(rows: PersonalTokenRows) -> None:
    uses = TokenUsage(TokenUsageRows(rows.database), flush_s=0.01)
    uses.count("A" * 12)
    uses.flush()

    child = os.fork()
    if child == 0:
        uses.count("A" * 12)
        threading.Event().wait(3)
        os._exit(0)
    os.waitpid(child, 0)

    assert sum(uses.rows.of("A" * 12, since_day=0).values()) == 2


def test_a_deleted_token_takes_its_counts_along(rows: PersonalTokenRows, uses: TokenUsage) -> None:
    uses.count("A" * 12)
    uses.flush()

    assert rows.delete_dead(NOW + 9 * DAY_S) == 1

    with rows.database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM compat_auth_personal_token_uses")) == 0
