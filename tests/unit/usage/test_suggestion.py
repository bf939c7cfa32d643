"""A suggestion covers every recorded request, and nothing that the requests did not use."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from compat_auth.airflow_api.permission import uncovered
from compat_auth.airflow_api.reach import OPERATIONS
from compat_auth.identity import Identity
from compat_auth.scopes import MAX_SCOPES, parse_scopes
from compat_auth.store.migration import open_store
from compat_auth.store.tables.usage import DAY_S, UsageRows
from compat_auth.usage.recorder import UsageRecorder
from compat_auth.usage.suggestion import suggest, suggest_scopes

NOW = 20_000 * DAY_S
ALICE = Identity("alice", backend="basic_auth")
REQUESTS = (
    ("GET", "/api/v1/dags", None),
    ("GET", "/api/v1/dags/etl/dagRuns", None),
    ("POST", "/api/v1/dags/etl/dagRuns", b"{}"),
    ("GET", "/api/v2/variables/team%2Fkey", None),
    ("GET", "/api/v2/variables/team/key", None),
    ("PATCH", "/api/v2/dags/bulk", b'{"actions": [{"action": "update", "entities": [{"dag_id": "etl"}]}]}'),
    ("POST", "/api/v2/dags/~/dagRuns/list", b'{"dag_ids": ["etl", "other"]}'),
    ("HEAD", "/api/v2/pools", None),
    ("DELETE", "/graph/x/y", None),
    ("GET", "/api/v2/dags/etl/dagRuns/scheduled__2024-01-01T00%3A00%3A00%2B00%3A00", None),
)


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[UsageRows]:
    rows = UsageRows(open_store(f"sqlite:///{tmp_path / 'store.db'}"))
    with rows.database.write():
        pass
    yield rows
    rows.close()


def test_replayed_against_the_suggestion_no_recorded_request_is_refused(rows: UsageRows) -> None:
    recorder = UsageRecorder(rows, now=lambda: NOW)
    for method, path, _ in REQUESTS:
        recorder.count(method, path, identity=ALICE)
    recorder.flush()

    found = suggest(rows.database, "alice", now=NOW)

    scopes = parse_scopes(found.scopes)
    assert [(path, uncovered(scopes, [method], path, body)) for method, path, body in REQUESTS] == [
        (path, None) for _, path, _ in REQUESTS
    ]
    assert uncovered(scopes, ["DELETE"], "/api/v1/dags/etl", None) is not None
    assert uncovered(scopes, ["GET"], "/api/v2/connections", None) is not None


def test_one_request_of_every_operation_still_fits_into_a_token(rows: UsageRows) -> None:
    requests = [
        (one.method, "/".join((one.base, *("x" if part.startswith("{") else part for part in one.segments))))
        for one in OPERATIONS
    ]
    recorder = UsageRecorder(rows, now=lambda: NOW)
    for method, path in requests:
        recorder.count(method, path, identity=ALICE)
    recorder.flush()

    found = suggest(rows.database, "alice", now=NOW)

    scopes = parse_scopes(found.scopes)
    assert len(found.scopes) <= MAX_SCOPES
    assert [path for method, path in requests if uncovered(scopes, [method], path, None) is not None] == []


def test_a_scope_that_another_one_includes_is_left_out() -> None:
    operations = ["GET /api/v2/dags/{dag_id}", "HEAD /api/v2/dags/{dag_id}", "GET /api/v2/dags/{name}", "lane", "other"]

    assert suggest_scopes(operations) == ("GET /api/v2/dags/{dag_id}",)


def test_the_command_of_a_suggestion_is_one_safe_line(rows: UsageRows) -> None:
    name = "o'brien; rm -rf /"
    recorder = UsageRecorder(rows, now=lambda: NOW)
    recorder.count("GET", "/api/v1/dags", identity=Identity(name, backend="basic_auth"))
    recorder.flush()

    words = shlex.split(suggest(rows.database, name, now=NOW).command)

    assert words == [
        "compat-auth", "tokens", "create", "--user", name, "--name", "LABEL", "--scope", "GET /api/v1/dags"
    ]  # fmt: skip


def test_a_user_without_requests_gets_no_suggestion_and_refused_requests_count_for_nothing(rows: UsageRows) -> None:
    recorder = UsageRecorder(rows, now=lambda: NOW)
    recorder.count("DELETE", "/api/v1/dags/x", identity=ALICE, is_refused=True)
    recorder.flush()

    found = suggest(rows.database, "alice", now=NOW)

    assert (found.scopes, found.command) == ((), "")


def test_a_suggestion_warns_of_the_lane_and_of_wide_scopes(rows: UsageRows) -> None:
    recorder = UsageRecorder(rows, now=lambda: NOW)
    recorder.count_lane(ALICE, "10.1.2.3")
    recorder.count("GET", "/", identity=ALICE)
    recorder.flush()

    found = suggest(rows.database, "alice", now=NOW)

    assert found.scopes == ("GET /",)
    assert ["lane" in note for note in found.notes] == [True, False]


def test_a_suggestion_that_has_not_seen_all_says_so(rows: UsageRows, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = UsageRecorder(rows, now=lambda: NOW)
    for path in ("/api/v1/dags", "/api/v1/pools", "/api/v1/pools"):
        recorder.count("GET", path, identity=ALICE)
    recorder.flush()
    monkeypatch.setattr("compat_auth.usage.suggestion.MAX_USES", 1)

    found = suggest(rows.database, "alice", now=NOW)

    assert found.scopes == ("GET /api/v1/pools",)
    assert "only the 1 most frequent" in found.notes[0]
