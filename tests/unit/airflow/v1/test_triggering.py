"""Triggering runs, and changing what 3.x wants whole."""

from datetime import UTC, datetime
from typing import Any

from support.v1_conversation import Conversation, refuses, says

RUN: dict[str, Any] = {
    "dag_run_id": "r",
    "dag_id": "d",
    "logical_date": "2024-01-02T00:00:00Z",
    "run_after": "2024-01-02T00:00:00Z",
    "run_type": "manual",
    "state": "success",
    "conf": {},
}
CONNECTION = {"connection_id": "c", "conn_type": "http"}
POOL = {"name": "p", "slots": 1, "include_deferred": False}


def masks(talk: Conversation, number: int = 0) -> list[str]:
    return [value for name, value in talk.query(number) if name == "update_mask"]


def test_a_run_without_a_date_gets_one_because_3_x_would_have_none() -> None:
    before = datetime.now(UTC)

    talk = Conversation("POST /dags/d/dagRuns", says(RUN), body={})

    moment = datetime.fromisoformat(talk.sent()["logical_date"])
    assert before <= moment <= datetime.now(UTC)
    assert talk.sent()["dag_run_id"] == f"manual__{talk.sent()['logical_date']}"
    assert "run_after" not in talk.sent()


def test_a_run_of_the_same_date_has_the_same_id_so_that_a_retry_starts_no_second_one() -> None:
    body = {"execution_date": "2024-01-02T01:00:00+01:00"}

    first = Conversation("POST /dags/d/dagRuns", says(RUN), body=body)
    again = Conversation("POST /dags/d/dagRuns", refuses(409), says(RUN), body=body)

    assert first.sent()["dag_run_id"] == again.sent()["dag_run_id"] == "manual__2024-01-02T00:00:00+00:00"
    assert again.status == 409
    assert "logical date: '2024-01-02 00:00:00+00:00' already exists" in again.json()["detail"]


def test_a_run_of_the_future_waits_for_its_date_because_3_x_would_start_it_at_once() -> None:
    talk = Conversation("POST /dags/d/dagRuns", says(RUN), body={"logical_date": "2999-01-01T00:00:00Z"})

    assert talk.sent()["run_after"] == talk.sent()["logical_date"] == "2999-01-01T00:00:00+00:00"


def test_no_null_is_sent_for_conf_because_3_x_fails_on_it() -> None:
    without = Conversation("POST /dags/d/dagRuns", says(RUN), body={})
    with_null = Conversation("POST /dags/d/dagRuns", body={"conf": None})

    assert "conf" not in without.sent()
    assert with_null.status == 400


def test_a_date_without_a_zone_is_refused_because_3_x_fails_on_it() -> None:
    in_body = Conversation("POST /dags/d/dagRuns", body={"logical_date": "2024-01-02T00:00:00"})
    in_query = Conversation("GET /dags/d/dagRuns?start_date_gte=2024-01-02T00:00:00")

    assert (in_body.status, in_query.status) == (400, 400)
    assert in_body.calls == in_query.calls == []


def test_a_connection_s_type_stands_in_the_body_and_not_in_the_mask() -> None:
    talk = Conversation("PATCH /connections/c", says(CONNECTION), body={"host": "h"})

    assert talk.sent() == {"connection_id": "c", "conn_type": "generic", "host": "h"}
    assert masks(talk) == ["host"]


def test_a_connection_is_tested_under_a_name_that_nobody_has_because_3_x_mixes_in_the_stored_one() -> None:
    talk = Conversation("POST /connections/test", says({"status": True, "message": "ok"}), body=CONNECTION)

    assert talk.sent()["connection_id"] not in ("c", "")


def test_a_pool_s_fields_all_stand_in_the_body_and_only_those_sent_in_the_mask() -> None:
    talk = Conversation("PATCH /pools/p?update_mask=slots", says(POOL), body={"slots": 7})

    assert talk.sent() == {"pool": "p", "slots": 7, "include_deferred": False}
    assert masks(talk) == ["slots"]


def test_a_pool_is_not_renamed_in_silence() -> None:
    talk = Conversation("PATCH /pools/p", body={"name": "q", "slots": 7})

    assert talk.status == 400
    assert talk.calls == []
