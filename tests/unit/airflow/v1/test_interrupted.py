"""What is told of a request that was interrupted, and what a retry does."""

import json
from typing import Any
from urllib.parse import quote

from compat_auth.airflow.v1.messages import Answer
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
POOL = {"name": "p", "slots": 1, "include_deferred": False}


def test_a_run_that_has_not_ended_is_ended_and_deleted_because_2_x_deletes_it() -> None:
    talk = Conversation("DELETE /dags/d/dagRuns/r", refuses(409), says(RUN), says(None, 204))

    assert talk.status == 204
    assert [line.partition(" ")[0] for line in talk.lines()] == ["DELETE", "PATCH", "DELETE"]


def test_an_upstream_that_dies_between_two_calls_leaves_an_answer_that_says_what_is_done() -> None:
    talk = Conversation("DELETE /dags/d/dagRuns/r", refuses(409), says(RUN), refuses(502))

    assert talk.status == 502
    assert talk.json()["detail"] == (
        "Done: set the run's state to failed. Not known whether done: delete the run. Send the request again to complete it."
    )


def test_a_refusal_between_two_calls_leaves_an_answer_that_says_what_is_done_and_why_the_rest_is_not() -> None:
    talk = Conversation("DELETE /dags/d/dagRuns/r", refuses(409), says(RUN), refuses(409, "it runs again"))

    assert talk.status == 409
    assert talk.json()["detail"] == (
        "Done: set the run's state to failed. Not done: delete the run (it runs again). "
        "Send the request again to complete it."
    )


def test_an_upstream_that_dies_before_anything_is_written_leaves_an_answer_that_says_so() -> None:
    talk = Conversation("POST /datasets/events", refuses(502), body={"dataset_uri": "s3://a"})

    assert talk.status == 502
    assert talk.json()["detail"] == "Nothing was changed. Send the request again."


def test_a_change_whose_answer_cannot_be_read_is_told_as_done() -> None:
    talk = Conversation("PATCH /dags/d/dagRuns/r/setNote", Answer(200, b"{"), body={"note": "n"})

    assert talk.status == 502
    assert talk.json()["detail"] == (
        "Done: PATCH /api/v2/dags/d/dagRuns/r. Only its answer could not be read (the upstream's answer does not fit its API)."
    )


def test_a_second_event_is_warned_of_because_nobody_can_tell_two_of_them_apart() -> None:
    found = says({"assets": [{"id": 3, "uri": "s3://a"}], "total_entries": 1})

    talk = Conversation("POST /datasets/events", found, refuses(504), body={"dataset_uri": "s3://a"})

    assert talk.json()["detail"] == (
        "Not known whether done: record an event of dataset 3. "
        "Check whether it was done before you send the request again: a second request would do it again."
    )


def test_a_run_whose_answer_was_lost_is_looked_for_because_a_retry_would_start_another() -> None:
    talk = Conversation("POST /dags/d/dagRuns", refuses(502), says(RUN), body={})

    assert talk.status == 200
    assert talk.calls[1].method == "GET"
    assert talk.calls[1].path.endswith(quote(talk.sent()["dag_run_id"], safe=""))


def test_a_run_that_nobody_can_look_for_is_named_so_that_the_client_can() -> None:
    talk = Conversation("POST /dags/d/dagRuns", refuses(502), refuses(502), body={})

    assert talk.status == 502
    assert talk.json()["detail"].startswith(f"Not known whether done: start run {talk.sent()['dag_run_id']!r}. Check ")


def test_a_run_that_the_client_has_named_is_not_looked_for_because_a_retry_starts_no_other() -> None:
    talk = Conversation("POST /dags/d/dagRuns", refuses(502), body={"dag_run_id": "r"})

    assert talk.status == 502
    assert talk.json()["detail"] == "Not known whether done: start run 'r'. Send the request again to complete it."


def test_a_retry_completes_what_was_half_done() -> None:
    talk = Conversation("DELETE /dags/d/dagRuns/r", says(None, 204))

    assert talk.status == 204


def test_an_answer_is_json_that_any_client_can_read() -> None:
    talk = Conversation("GET /pools", says({"pools": [POOL], "total_entries": 1, "of_a_later_version": 1}))

    assert json.loads(talk.reply.body).keys() == {"pools", "total_entries"}
