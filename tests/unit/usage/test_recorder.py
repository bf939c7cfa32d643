"""Requests are counted in memory, exactly, and stored in batches."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

from compat_auth.errors import BackendUnavailable
from compat_auth.identity import Identity
from compat_auth.store.migration import open_store
from compat_auth.store.tables.usage import DAY_S, USAGE, UsageKey, UsageRow, UsageRows
from compat_auth.telemetry import counts
from compat_auth.usage.evidence import Use, used_by
from compat_auth.usage.recorder import UsageRecorder, prune_usage, storable_name

NOW = 20_000 * DAY_S + 100
ALICE = Identity("alice", backend="basic_auth")


class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


class Away(UsageRows):
    """A store that is away for a while."""

    is_away = True

    def add(self, rows: Sequence[UsageRow]) -> None:
        if self.is_away:
            raise BackendUnavailable("away")
        super().add(rows)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Away]:
    rows = Away(open_store(f"sqlite:///{tmp_path / 'store.db'}"))
    with rows.database.write():
        pass
    rows.is_away = False
    yield rows
    rows.close()


def stored(rows: UsageRows) -> list[tuple[object, ...]]:
    columns = [column for column in USAGE.c if column.name not in ("day", "first_seen", "last_seen")]
    with rows.database.read() as connection:
        return [tuple(row) for row in connection.execute(select(*columns))]


def ask(recorder: UsageRecorder, path: str = "/api/v1/dags", identity: Identity | None = ALICE) -> None:
    recorder.count("GET", path, identity=identity, agent=b"curl/8", address="10.1.2.3")


def test_sums_of_two_writers_add_up(rows: Away, clock: Clock) -> None:
    one, other = UsageRecorder(rows, now=clock), UsageRecorder(rows, now=clock)

    for recorder in (one, other, one):
        ask(recorder)
        recorder.flush()

    assert stored(rows) == [("alice", "basic_auth", "curl", "10.1.2.0/24", "GET /api/v1/dags", "granted", 3, 0)]


def test_a_row_says_when_it_was_first_and_last_seen(rows: Away, clock: Clock) -> None:
    recorder = UsageRecorder(rows, now=clock)

    for now in (NOW + 50, NOW, NOW + 20):
        clock.now = now
        ask(recorder)
        recorder.flush()

    with rows.database.read() as connection:
        found = connection.execute(select(USAGE.c.day, USAGE.c.first_seen, USAGE.c.last_seen)).one()
    assert tuple(found) == (20_000, NOW, NOW + 50)


def test_of_an_unknown_caller_neither_name_nor_address_is_kept(rows: Away, clock: Clock) -> None:
    recorder = UsageRecorder(rows, now=clock)

    for number in range(100):
        recorder.count(
            "GET",
            f"/api/v2/x{number}/{number}",
            identity=None,
            agent=b"Evil-%d/1" % number,
            address=f"10.1.{number}.3",
            is_refused=True,
            is_error=True,
        )
    recorder.flush()

    assert stored(rows) == [("", "", "other", "", "GET /api/v2/", "refused", 100, 100)]


def test_a_store_that_is_away_costs_nothing_that_was_counted(rows: Away, clock: Clock) -> None:
    recorder = UsageRecorder(rows, now=clock)
    rows.is_away = True

    ask(recorder)
    recorder.flush()
    ask(recorder)
    recorder.flush()
    rows.is_away = False
    recorder.flush()

    assert [row[-2] for row in stored(rows)] == [2]


def test_beyond_the_bound_requests_are_summed_without_their_details(
    rows: Away, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = UsageRecorder(rows, now=clock, max_pending=3)

    for number in range(10):
        ask(recorder, identity=Identity(f"user{number}", backend="basic_auth"))
    recorder.flush()

    found = {(row[0], row[4]): int(str(row[-2])) for row in stored(rows)}
    assert sum(found.values()) == 10
    assert found["", "other"] == recorder.folded == 7
    assert "7 requests are counted without user and operation" in caplog.text


def test_nothing_is_lost_between_a_writer_and_many_threads(rows: Away, clock: Clock) -> None:
    recorder = UsageRecorder(rows, now=clock)

    def ask_often() -> None:
        for _ in range(2_000):
            ask(recorder)

    threads = [threading.Thread(target=ask_often) for _ in range(4)]

    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        recorder.flush()
    recorder.flush()

    assert [row[-2] for row in stored(rows)] == [8_000]


def test_a_store_that_was_never_made_stays_unmade(tmp_path: Path, clock: Clock) -> None:
    rows = UsageRows(open_store(f"sqlite:///{tmp_path / 'store.db'}"))
    recorder = UsageRecorder(rows, now=clock)

    ask(recorder)
    recorder.close()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["zo\0ë", "\ud800", "x" * 10_000, "ä" * 511, "name\nwith\r\nlines", "'; DROP TABLE compat_auth_usage; --"],
    ids=["nul", "surrogate", "long", "long-in-bytes", "lines", "sql"],
)
def test_any_name_of_a_user_can_be_stored(name: str, rows: Away, clock: Clock) -> None:
    recorder = UsageRecorder(rows, now=clock)

    ask(recorder, identity=Identity(name, backend="basic_auth"))
    recorder.flush()

    ((found, *_),) = stored(rows)
    assert found == storable_name(name)
    assert len(storable_name(name).encode()) <= 512


def test_two_long_names_stay_two() -> None:
    assert storable_name("x" * 1000 + "a") != storable_name("x" * 1000 + "b")


def test_old_days_are_deleted_once_a_day(rows: Away, clock: Clock) -> None:
    recorder = UsageRecorder(rows, now=clock, retention_days=30)
    ask(recorder)
    recorder.flush()

    clock.now += 31 * DAY_S
    ask(recorder, path="/api/v2/dags")
    recorder.flush()

    assert [row[4] for row in stored(rows)] == ["GET /api/v2/dags"]
    assert prune_usage(rows, 20_032, retention_days=1) == 0


def test_used_by_says_who_used_what(rows: Away, clock: Clock) -> None:
    recorder = UsageRecorder(rows, now=clock)
    bob = Identity("bob", backend="kerberos")
    for identity, path in (
        (ALICE, "/api/v1/dags"),
        (ALICE, "/api/v1/dags"),
        (bob, "/api/v2/dags/x"),
        (None, "/api/v1/x"),
    ):
        ask(recorder, path, identity)
    recorder.count("GET", "/api/v2/pools", identity=bob, is_refused=True)
    recorder.flush()

    everything = used_by(rows.database, now=NOW)
    old_api = used_by(rows.database, operation="/api/v1/", now=NOW)
    kerberos = used_by(rows.database, backend="kerberos", principal="bob", now=NOW)

    use = Use("alice", "basic_auth", "curl", "GET /api/v1/dags", 2, NOW)
    assert everything[0] == use
    assert {(one.principal, one.operation) for one in old_api} == {("alice", use.operation), ("", "GET /api/v1/")}
    assert [(one.principal, one.operation) for one in kerberos] == [("bob", "GET /api/v2/dags/{dag_id}")]
    assert used_by(rows.database, days=1, now=NOW + DAY_S) == []
    assert used_by(rows.database, operation="/api/_1/", now=NOW) == []


def counted(rows: UsageRows) -> dict[tuple[object, ...], object]:
    """Return the requests by backend, client, operation and outcome."""
    return {(row[1], row[2], row[4], row[5]): row[6] for row in stored(rows)}


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_the_upstream_refuses_leaves_one_row_whatever_it_asks_for(
    status: int, rows: Away, clock: Clock
) -> None:
    recorder = UsageRecorder(rows, now=clock)

    for agent in (b"curl/8", b"Wget/1", b"okhttp/4", b""):
        for path in ("/api/v2/dags", "/api/v2/pools", "/api/v2/dags/x", "/api/v2/anything"):
            recorder.count_upstreams("GET", path, status=status, agent=agent)
    recorder.flush()

    assert counted(rows) == {("upstream", "other", "GET /api/v2/", "refused"): 16}
    assert used_by(rows.database, now=NOW) == []


@pytest.mark.parametrize("status", [None, 0, 404, 405, 422, 500])
def test_nobody_chooses_the_operation_of_a_token_that_the_upstream_has_not_accepted(
    status: int | None, rows: Away, clock: Clock
) -> None:
    recorder = UsageRecorder(rows, now=clock)

    for path in ("/api/v1/dags", "/api/v1/pools/x", "/api/v1/anything"):
        recorder.count_upstreams("GET", path, status=status, agent=b"curl/8")
    recorder.flush()

    assert counted(rows) == {("upstream", "curl", "GET /api/v1/", "granted"): 3}


def test_a_page_that_the_upstream_shows_anybody_names_no_operation(rows: Away, clock: Clock) -> None:
    recorder = UsageRecorder(rows, now=clock)

    for word in ("one", "two", "three"):
        recorder.count_upstreams("GET", f"/{word}/x", status=200, agent=b"curl/8")
    recorder.count_upstreams("GET", "/api/v2/dags/etl", status=200, agent=b"curl/8")
    recorder.flush()

    assert counted(rows) == {
        ("upstream", "curl", "GET /", "granted"): 3,
        ("upstream", "curl", "GET /api/v2/dags/{dag_id}", "granted"): 1,
    }


def test_who_acts_for_another_user_counts_as_the_one_whose_login_it_is(rows: Away, clock: Clock) -> None:
    recorder = UsageRecorder(rows, now=clock)
    acting = Identity("alice", backend="basic_auth", actor="robot")

    ask(recorder, identity=acting)
    recorder.count_lane(acting, "10.1.2.3")
    recorder.flush()

    assert [row[0] for row in stored(rows)] == ["robot", "robot"]


class Holds:
    """A lock that knows how many keys were looked up in each hold."""

    def __init__(self) -> None:
        self.is_held = False
        self.keys: list[int] = []
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()
        self.is_held = True
        self.keys.append(0)

    def __exit__(self, *_: object) -> None:
        self.is_held = False
        self._lock.release()


def test_no_request_waits_for_more_than_one_sum_while_the_store_is_away(
    rows: Away, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds = Holds()

    class Key(UsageKey):
        def __hash__(self) -> int:
            if holds.is_held:
                holds.keys[-1] += 1
            return super().__hash__()

    monkeypatch.setattr("compat_auth.usage.recorder.UsageKey", Key)
    recorder = UsageRecorder(rows, now=clock)
    monkeypatch.setattr(recorder, "_lock", holds)
    rows.is_away = True

    for _ in range(3):
        for number in range(200):
            ask(recorder, identity=Identity(f"user{number}", backend="basic_auth"))
        recorder.flush()
    rows.is_away = False
    recorder.flush()

    assert max(holds.keys) <= 4
    assert [row[-2] for row in stored(rows)] == [3] * 200


def test_an_outage_keeps_no_more_different_sums_than_the_bound(rows: Away, clock: Clock) -> None:
    recorder = UsageRecorder(rows, now=clock, max_pending=3)
    rows.is_away = True
    before = sum(value[0] for value in counts.usage_folded.snapshot().values())

    for number in range(9):
        ask(recorder, identity=Identity(f"user{number}", backend="basic_auth"))
        recorder.flush()
    ask(recorder, identity=Identity("user0", backend="basic_auth"))
    recorder.flush()
    rows.is_away = False
    recorder.flush()

    found = {str(row[0]): row[-2] for row in stored(rows)}
    assert found == {"user0": 2, "user1": 1, "user2": 1, "": 6}
    assert sum(value[0] for value in counts.usage_folded.snapshot().values()) - before == recorder.folded == 6
