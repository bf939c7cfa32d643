"""Usage on a real PostgreSQL: partitions by month, sums of several writers, and pruning."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from compat_auth.identity import Identity
from compat_auth.store.migration import open_store
from compat_auth.store.tables.usage import DAY_S, UsageRows, month_of
from compat_auth.usage.evidence import used_by
from compat_auth.usage.recorder import UsageRecorder, prune_usage
from compat_auth.usage.report import Filters, export, make_report
from support.peers.postgres import Postgres

pytestmark = pytest.mark.peer

# 2026-11-30.
DAY = 20_787
ALICE = Identity("alice", backend="basic_auth")


@pytest.fixture
def rows(postgres: Postgres) -> Iterator[UsageRows]:
    name = f"usage_{uuid.uuid4().hex}"
    engine = create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    rows = UsageRows(open_store(make_url(postgres.url).set(database=name).render_as_string(hide_password=False)))
    yield rows
    rows.close()


def partitions(rows: UsageRows) -> list[str]:
    with rows.database.read() as connection:
        found = connection.execute(
            text("SELECT relname FROM pg_class WHERE relname ~ '^compat_auth_usage_[0-9]' AND relkind = 'r' ORDER BY 1")
        )
        return list(found.scalars())


def record(rows: UsageRows, day: int, times: int = 1, identity: Identity = ALICE) -> None:
    recorder = UsageRecorder(rows, now=lambda: day * DAY_S + 5.0, retention_days=3660)
    for _ in range(times):
        recorder.count("GET", "/api/v1/dags", identity=identity, agent=b"curl/8", address="10.1.2.3")
    recorder.flush()


def test_each_month_is_a_partition_made_a_month_ahead(rows: UsageRows) -> None:
    record(rows, DAY)
    record(rows, DAY + 1)
    record(rows, DAY - 400)

    assert month_of(DAY) == ("2026_11", 20_758, 20_788)
    assert partitions(rows) == [
        f"compat_auth_usage_{month}" for month in ("2025_10", "2025_11", "2026_11", "2026_12", "2027_01")
    ]
    assert [(use.principal, use.count) for use in used_by(rows.database, days=500, now=(DAY + 1) * DAY_S)] == [
        ("alice", 3)
    ]


def test_writers_that_make_the_same_partition_at_once_lose_nothing(rows: UsageRows) -> None:
    threads = [threading.Thread(target=record, args=(rows, DAY + number % 3, 50)) for number in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [row["count"] for row in rows.sums("principal")] == [400]


def test_pruning_drops_whole_months_and_deletes_the_days_of_the_rest(rows: UsageRows) -> None:
    for day in (DAY - 100, DAY - 2, DAY):
        record(rows, day)

    deleted = prune_usage(rows, DAY, retention_days=1)

    assert deleted == 3
    assert partitions(rows) == ["compat_auth_usage_2026_11", "compat_auth_usage_2026_12"]
    assert [row["count"] for row in rows.sums("day", order="day")] == [1]
    record(rows, DAY - 100)
    assert [row["count"] for row in rows.sums("day", order="day")] == [1, 1]


def test_the_report_of_a_postgresql_says_the_same(rows: UsageRows) -> None:
    for ago in range(20):
        record(rows, DAY - ago, times=ago + 1)
    record(rows, DAY, identity=Identity("b%_'\\", backend="kerberos"))

    report = make_report(rows, Filters(days=30), DAY * DAY_S + 10)

    assert {one.name: one.count for one in report.backends} == {"basic_auth": 210, "kerberos": 1}
    assert [row["principal"] for row in report.affected["kerberos"]] == ["b%_'\\"]
    assert [row["count"] for row in report.old_operations] == [211]
    assert [row["count"] for row in export(rows, Filters(days=30, user="alice"), DAY * DAY_S)] == [210]
