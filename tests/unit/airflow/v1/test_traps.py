"""What goes wrong in silence when a client of `/api/v1` is simply sent to `/api/v2`: each trap by its name."""

from datetime import UTC, datetime
from typing import Any

import pytest

from compat_auth.airflow.v1.mappers.runs import DAG_RUN, TASK_INSTANCE, XCOM
from support.v1_conversation import Conversation, says

RUN: dict[str, Any] = {
    "dag_run_id": "r",
    "dag_id": "d",
    "logical_date": "2024-01-02T00:00:00Z",
    "run_after": "2024-01-02T00:00:00Z",
    "run_type": "manual",
    "state": "success",
    "conf": {},
}
INSTANCE: dict[str, Any] = {
    "task_id": "t",
    "dag_id": "d",
    "dag_run_id": "r",
    "map_index": -1,
    "logical_date": "2024-01-02T00:00:00Z",
    "state": "success",
    "hostname": "vm",
}
ONE = "/api/v2/dags/d/dagRuns/r/taskInstances/t"


# Lists with commas


@pytest.mark.parametrize(
    ("path", "name", "values", "key"),
    [
        pytest.param("/dags?tags=a,b", "tags", ["a", "b"], "dags", id="tags"),
        pytest.param("/dags/d/dagRuns?state=queued,failed", "state", ["queued", "failed"], "dag_runs", id="state"),
        pytest.param("/datasets?dag_ids=a,b", "dag_ids", ["a", "b"], "assets", id="dag_ids"),
        pytest.param("/eventLogs?included_events=x,y", "included_events", ["x", "y"], "event_logs", id="events"),
    ],
)
def test_a_list_with_commas_goes_on_as_one_value_each_because_3_x_finds_nothing_by_it(
    path: str, name: str, values: list[str], key: str
) -> None:
    talk = Conversation(f"GET {path}", says({key: [], "total_entries": 0}))

    assert [value for known, value in talk.query() if known == name] == values


@pytest.mark.parametrize("state", ["nosuch", "shutdown"])
def test_a_state_that_3_x_does_not_know_finds_nothing_because_3_x_would_refuse_it(state: str) -> None:
    talk = Conversation(f"GET /dags/d/dagRuns?state={state}")

    assert talk.json() == {"dag_runs": [], "total_entries": 0}
    assert talk.calls == []


# Defaults


@pytest.mark.parametrize(("body", "said"), [({}, False), ({"reset_dag_runs": True}, True)])
def test_reset_dag_runs_is_said_aloud_because_3_x_resets_unless_told_not_to(body: object, said: bool) -> None:
    talk = Conversation("POST /dags/d/clearTaskInstances", says({"task_instances": []}), body=body)

    assert talk.sent()["reset_dag_runs"] is said
    assert talk.sent()["dry_run"] is True


def test_nothing_of_the_future_is_cleared_because_3_x_would_clear_it() -> None:
    every = Conversation("POST /dags/d/clearTaskInstances", says({"task_instances": []}), body={})
    of_a_run = Conversation("POST /dags/d/clearTaskInstances", says({"task_instances": []}), body={"dag_run_id": "r"})

    assert datetime.fromisoformat(every.sent()["end_date"]) <= datetime.now(UTC)
    assert "end_date" not in of_a_run.sent()


def test_a_section_that_has_only_defaults_is_found_because_3_x_looks_in_the_file_alone() -> None:
    option = {"key": "executor", "value": "LocalExecutor"}
    whole = says({"sections": [{"name": "core", "options": [option]}, {"name": "api", "options": []}]})

    talk = Conversation("GET /config?section=core", whole, accept="application/json")

    assert talk.query() == ()
    assert talk.json() == {"sections": [{"name": "core", "options": [option]}]}


def test_fields_that_3_x_has_no_more_are_not_sent_because_it_takes_none_that_it_does_not_know() -> None:
    body = {"include_subdags": True, "include_parentdag": True}

    talk = Conversation("POST /dags/d/clearTaskInstances", says({"task_instances": []}), body=body)

    assert not {"include_subdags", "include_parentdag"} & talk.sent().keys()


@pytest.mark.parametrize(
    ("request_line", "body"),
    [
        pytest.param("PATCH /dags/d/dagRuns/r/taskInstances/t/setNote", {"note": "n"}, id="note"),
        pytest.param("PATCH /dags/d/dagRuns/r/taskInstances/t", {"new_state": "failed", "dry_run": False}, id="state"),
    ],
)
def test_a_change_without_an_index_names_the_unmapped_one_because_3_x_changes_every_index(
    request_line: str, body: object
) -> None:
    talk = Conversation(request_line, says({"task_instances": [INSTANCE]}), body=body)

    assert talk.status == 200
    assert ("map_index", "-1") in talk.query()


@pytest.mark.parametrize(
    ("request_line", "body"),
    [
        pytest.param("PATCH /dags/d/dagRuns/r/taskInstances/t/setNote", {"note": "n"}, id="note"),
        pytest.param("PATCH /dags/d/dagRuns/r/taskInstances/t", {"new_state": "failed", "dry_run": False}, id="state"),
    ],
)
def test_a_change_that_has_been_made_is_no_failure_because_3_0_answers_with_the_instance_itself(
    request_line: str, body: object
) -> None:
    talk = Conversation(request_line, says(INSTANCE), body=body)

    assert talk.status == 200
    assert talk.json()["task_id"] == "t"


def test_a_change_of_state_is_only_tried_by_default_as_in_2_x() -> None:
    talk = Conversation(
        "PATCH /dags/d/dagRuns/r/taskInstances/t", says({"task_instances": [INSTANCE]}), body={"new_state": "failed"}
    )

    assert talk.lines() == [f"PATCH {ONE}/dry_run"]


def test_xcom_values_are_text_unless_the_client_says_otherwise_because_3_x_has_the_other_default() -> None:
    entry = {"key": "k", "timestamp": "2024-01-02T00:00:00Z", "value": "1"}

    talk = Conversation("GET /dags/d/dagRuns/r/taskInstances/t/xcomEntries/k", says(entry))

    assert ("stringify", "true") in talk.query()


@pytest.mark.parametrize(
    ("query", "sent"), [("", "false"), ("?deserialize=false", "false"), ("?deserialize=true", "true")]
)
def test_an_xcom_is_deserialized_where_the_client_asks_for_it_and_airflow_lets_it(query: str, sent: str) -> None:
    entry = {"key": "k", "timestamp": "2024-01-02T00:00:00Z", "value": "1"}

    talk = Conversation(f"GET /dags/d/dagRuns/r/taskInstances/t/xcomEntries/k{query}", says(entry))

    assert ("deserialize", sent) in talk.query()


@pytest.mark.parametrize("query", ["", "?limit=0", "?limit=1000"])
def test_a_page_is_of_a_hundred_because_3_x_gives_fifty_or_none(query: str) -> None:
    talk = Conversation(f"GET /pools{query}", says({"pools": [], "total_entries": 0}))

    assert ("limit", "100") in talk.query()


def test_datasets_that_no_dag_uses_any_more_are_listed_because_3_x_leaves_them_out() -> None:
    talk = Conversation("GET /datasets", says({"assets": [], "total_entries": 0}))

    assert ("only_active", "false") in talk.query()


# What strict clients take


@pytest.mark.parametrize(
    ("mapper", "found", "name", "value"),
    [
        pytest.param(DAG_RUN, {**RUN, "conf": None}, "conf", {}, id="conf"),
        pytest.param(TASK_INSTANCE, {**INSTANCE, "hostname": None}, "hostname", "", id="hostname"),
        pytest.param(TASK_INSTANCE, {**INSTANCE, "unixname": None}, "unixname", "", id="unixname"),
    ],
)
def test_no_null_stands_where_a_strict_client_takes_none(mapper: Any, found: Any, name: str, value: object) -> None:
    assert mapper(found)[name] == value


@pytest.mark.parametrize(
    ("new", "old", "by_hand"),
    [
        ("asset_triggered", "dataset_triggered", False),
        ("asset_materialization", "manual", True),
        ("operator_triggered", "manual", True),
        ("of_a_later_version", "manual", True),
        ("scheduled", "scheduled", False),
        ("backfill", "backfill", False),
    ],
)
def test_a_kind_of_run_that_2_x_does_not_know_is_one_that_it_knows(new: str, old: str, by_hand: bool) -> None:
    run = DAG_RUN({**RUN, "run_type": new})

    assert run["run_type"] == old
    assert run["external_trigger"] is by_hand


@pytest.mark.parametrize("state", ["awaiting_input", "of_a_later_version"])
def test_a_state_of_a_task_that_2_x_does_not_know_is_one_that_it_knows(state: str) -> None:
    assert TASK_INSTANCE({**INSTANCE, "state": state})["state"] == "deferred"


@pytest.mark.parametrize("state", ["removed_in_4", "paused"])
def test_a_state_of_a_run_that_2_x_does_not_know_is_one_that_has_not_ended(state: str) -> None:
    assert DAG_RUN({**RUN, "state": state})["state"] == "running"


def test_a_run_without_a_logical_date_has_the_time_after_which_it_ran() -> None:
    run = DAG_RUN({**RUN, "logical_date": None, "run_after": "2024-05-06T00:00:00Z"})
    instance = TASK_INSTANCE({**INSTANCE, "logical_date": None, "run_after": "2024-05-06T00:00:00Z"})
    xcom = XCOM({"key": "k", "logical_date": None, "timestamp": "2024-05-06T00:00:00Z"})

    expected = "2024-05-06T00:00:00+00:00"
    assert run["logical_date"] == run["execution_date"] == expected
    assert instance["execution_date"] == xcom["execution_date"] == expected


def test_dates_end_with_their_offset_because_an_old_python_cannot_read_a_z() -> None:
    run = DAG_RUN({**RUN, "start_date": "2024-01-02T03:04:05.678901Z", "end_date": None})

    assert run["start_date"] == "2024-01-02T03:04:05.678901+00:00"
    assert run["end_date"] is None


def test_a_backoff_is_a_truth_value_because_3_2_made_a_factor_of_it() -> None:
    talk = Conversation("GET /dags/d/tasks/t", says({"task_id": "t", "retry_exponential_backoff": 2.0}))

    assert talk.json()["retry_exponential_backoff"] is True


# Names that are addresses


def test_a_dataset_is_found_by_its_whole_address_among_those_that_only_look_like_it() -> None:
    assets = [{"id": number, "uri": uri} for number, uri in ((7, "s3://b/key1"), (8, "s3://b/key"), (9, "s3://b/key"))]

    talk = Conversation("GET /datasets/s3%3A%2F%2Fb%2Fkey", says({"assets": assets, "total_entries": 3}))

    assert talk.json()["id"] == 8


def queued(asset: int, second: int, dag: str = "d") -> dict[str, Any]:
    return {"asset_id": asset, "dag_id": dag, "created_at": f"2026-01-01T00:00:0{second}Z", "dag_display_name": dag}


def test_a_dataset_waits_once_for_a_dag_however_many_of_its_events_3_4_lists() -> None:
    events = [queued(8, 2), queued(8, 1), queued(9, 3), queued(8, 4)]
    uris = says({"id": 8, "uri": "u"}), says({"id": 9, "uri": "w"})

    talk = Conversation("GET /dags/d/datasets/queuedEvent", says({"queued_events": events, "total_entries": 4}), *uris)

    assert [(event["uri"], event["created_at"][17:19]) for event in talk.json()["queued_events"]] == [
        ("u", "01"),
        ("w", "03"),
    ]
    assert talk.json()["total_entries"] == 2


def test_a_dataset_waits_once_for_each_dag() -> None:
    assets = says({"assets": [{"id": 8, "uri": "u"}], "total_entries": 1})
    events = [queued(8, 2, "a"), queued(8, 1, "a"), queued(8, 3, "b")]

    talk = Conversation("GET /datasets/queuedEvent/u", assets, says({"queued_events": events, "total_entries": 3}))

    assert [(event["dag_id"], event["created_at"][17:19]) for event in talk.json()["queued_events"]] == [
        ("a", "01"),
        ("b", "03"),
    ]
    assert talk.json()["total_entries"] == 2


def test_the_event_of_one_dataset_and_dag_is_the_oldest() -> None:
    assets = says({"assets": [{"id": 8, "uri": "u"}], "total_entries": 1})
    events = says({"queued_events": [queued(8, 2), queued(8, 1)], "total_entries": 2})

    talk = Conversation("GET /dags/d/datasets/queuedEvent/u", assets, events)

    assert talk.json()["created_at"][17:19] == "01"


def test_queued_events_of_every_asset_with_the_address_are_deleted() -> None:
    assets = says({"assets": [{"id": 8, "uri": "u"}, {"id": 9, "uri": "u"}], "total_entries": 2})

    talk = Conversation("DELETE /datasets/queuedEvent/u", assets, says(None, 204), says(None, 204))

    assert talk.status == 204
    assert talk.lines()[1:] == ["DELETE /api/v2/assets/8/queuedEvents", "DELETE /api/v2/assets/9/queuedEvents"]
