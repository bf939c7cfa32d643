"""What goes wrong in silence when a client of `/api/v1` is simply sent to `/api/v2`: each trap by its name."""

import json
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

import pytest

from compat_auth.airflow.v1.messages import Answer
from compat_auth.airflow.v1.objects.runs import DAG_RUN, TASK_INSTANCE, XCOM
from compat_auth.airflow.v1.tokens import pack, unpack
from v1_conversation import Conversation, refuses, says

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
VARIABLE = {"key": "k", "value": "v", "description": None}
CONNECTION = {"connection_id": "c", "conn_type": "http"}
POOL = {"name": "p", "slots": 1, "include_deferred": False}


def masks(talk: Conversation, number: int = 0) -> list[str]:
    return [value for name, value in talk.query(number) if name == "update_mask"]


# update_mask


@pytest.mark.parametrize("mask", ["update_mask=host,port", "update_mask=host&update_mask=port"])
def test_update_mask_goes_on_as_one_name_each_because_3_x_ignores_a_list_with_commas(mask: str) -> None:
    body = {"connection_id": "c", "conn_type": "http", "host": "h", "port": 1}

    talk = Conversation(f"PATCH /connections/c?{mask}", says(CONNECTION), body=body)

    assert talk.status == 200
    assert masks(talk) == ["host", "port"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param("/connections/c?update_mask=nosuch", CONNECTION, id="connection"),
        pytest.param("/variables/k?update_mask=nosuch", {"key": "k", "value": "v"}, id="variable"),
        pytest.param("/pools/p?update_mask=nosuch", {"name": "p", "slots": 1}, id="pool"),
        pytest.param("/dags/d?update_mask=nosuch", {"is_paused": True}, id="dag"),
    ],
)
def test_an_unknown_name_in_update_mask_is_refused_because_3_x_would_change_nothing(path: str, body: object) -> None:
    talk = Conversation(f"PATCH {path}", body=body)

    assert talk.status == 400
    assert talk.calls == []


def test_a_patch_of_nothing_changes_nothing_because_an_empty_mask_means_every_field() -> None:
    talk = Conversation("PATCH /connections/c", says(CONNECTION), body={"connection_id": "c"})

    assert talk.status == 200
    assert talk.lines() == ["GET /api/v2/connections/c"]


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

    assert datetime.fromisoformat(every.sent()["end_date"]) <= datetime.now(timezone.utc)
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


@pytest.mark.parametrize("query", ["", "?limit=0", "?limit=1000"])
def test_a_page_is_of_a_hundred_because_3_x_gives_fifty_or_none(query: str) -> None:
    talk = Conversation(f"GET /pools{query}", says({"pools": [], "total_entries": 0}))

    assert ("limit", "100") in talk.query()


def test_datasets_that_no_dag_uses_any_more_are_listed_because_3_x_leaves_them_out() -> None:
    talk = Conversation("GET /datasets", says({"assets": [], "total_entries": 0}))

    assert ("only_active", "false") in talk.query()


# Trigger


def test_a_run_without_a_date_gets_one_because_3_x_would_have_none() -> None:
    before = datetime.now(timezone.utc)

    talk = Conversation("POST /dags/d/dagRuns", says(RUN), body={})

    moment = datetime.fromisoformat(talk.sent()["logical_date"])
    assert before <= moment <= datetime.now(timezone.utc)
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


# Whole bodies


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


# Paging


def test_more_than_a_hundred_task_instances_are_read_page_by_page() -> None:
    def page(first: int, count: int) -> Any:
        instances = [{**INSTANCE, "task_id": f"t{number}"} for number in range(first, first + count)]
        return says({"task_instances": instances, "total_entries": 205})

    talk = Conversation(
        "GET /dags/d/dagRuns/r/taskInstances?limit=203&offset=1", page(1, 100), page(101, 100), page(201, 3)
    )

    found = talk.json()
    assert [each["task_id"] for each in found["task_instances"]] == [f"t{number}" for number in range(1, 204)]
    assert found["total_entries"] == 205
    assert [dict(call.query)["limit"] for call in talk.calls] == ["100", "100", "3"]
    assert [dict(call.query)["offset"] for call in talk.calls] == ["1", "101", "201"]


def test_all_providers_are_listed_because_2_x_has_no_pages_of_them() -> None:
    def page(count: int) -> Any:
        provider = {"package_name": "p", "description": "", "version": "1"}
        return says({"providers": [provider] * count, "total_entries": 130})

    talk = Conversation("GET /providers", page(100), page(30))

    assert len(talk.json()["providers"]) == 130


# Nothing there


@pytest.mark.parametrize(
    ("path", "key"),
    [
        pytest.param("/dags/nosuch/dagRuns", "dag_runs", id="runs"),
        pytest.param("/dags/nosuch/dagRuns/r/taskInstances", "task_instances", id="task-instances"),
        pytest.param("/dags/d/dagRuns/r/taskInstances/t/tries", "task_instances", id="tries"),
    ],
)
def test_a_list_of_what_is_not_there_is_empty_because_2_x_does_not_look_for_its_owner(path: str, key: str) -> None:
    talk = Conversation(f"GET {path}", refuses(404, "not found"))

    assert talk.status == 200
    assert talk.json() == {key: [], "total_entries": 0}


@pytest.mark.parametrize(
    ("request_line", "body"),
    [
        ("GET /dags/d/dagRuns?start_date_gte=2000-01-01T00:00:00Z", None),
        ("POST /dags/~/dagRuns/list", {"start_date_gte": "2000-01-01T00:00:00Z"}),
    ],
)
def test_what_has_not_begun_is_no_answer_to_when_it_began_because_3_x_says_now(request_line: str, body: object) -> None:
    begun = {**RUN, "dag_run_id": "begun", "start_date": "2024-01-02T00:00:00Z"}

    talk = Conversation(request_line, says({"dag_runs": [RUN, begun], "total_entries": 2}), body=body)

    assert [run["dag_run_id"] for run in talk.json()["dag_runs"]] == ["begun"]
    assert talk.json()["total_entries"] == 1


def test_a_route_that_is_not_there_is_no_empty_list() -> None:
    talk = Conversation("GET /dags/d/dagRuns", says({"error": "API route not found"}, 404))

    assert talk.status == 404


def test_no_queued_event_is_404_because_2_x_says_so_and_3_x_an_empty_list() -> None:
    talk = Conversation("GET /dags/d/datasets/queuedEvent", says({"queued_events": [], "total_entries": 0}))

    assert talk.status == 404
    assert talk.json()["detail"] == "Queue event with dag_id: `d` was not found"


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


# Logs


def test_a_log_is_text_for_who_takes_anything_and_goes_through_unheld() -> None:
    log = "/dags/d/dagRuns/r/taskInstances/t/logs/1"
    line = b'{"timestamp":"2024-01-02T03:04:05.678Z","level":"info","event":"\xc3\xa4","filename":"f.py","lineno":7}\n'

    talk = Conversation(f"GET {log}", says(INSTANCE), refuses(404))

    streamed = talk.calls[1]
    assert streamed.accept == "application/x-ndjson"
    assert streamed.rewriter is not None
    said = [streamed.rewriter.feed(line[:20]), streamed.rewriter.feed(line[20:]), streamed.rewriter.end()]
    assert said == [b"vm\n", "[2024-01-02T03:04:05.678+0000] {f.py:7} INFO - ä\n".encode(), b""]
    assert talk.status == 200
    assert b"try 1 of the task is not known" in talk.reply.body


def test_a_log_as_json_always_has_a_token_and_its_end_is_an_empty_content() -> None:
    log = "/dags/d/dagRuns/r/taskInstances/t/logs/1"
    whole = says({"content": [{"event": "hello"}], "continuation_token": None})

    first = Conversation(f"GET {log}", says(INSTANCE), whole, accept="application/json")
    token = first.json()["continuation_token"]
    last = Conversation(f"GET {log}?token={token}", says(INSTANCE), accept="application/json")

    assert first.json()["content"] == "[('vm', 'hello')]"
    assert last.json() == {"content": "[('vm', '')]", "continuation_token": token}


def test_the_upstream_s_token_for_the_rest_of_a_log_comes_back_to_it() -> None:
    log = "/dags/d/dagRuns/r/taskInstances/t/logs/1"
    part = says({"content": [], "continuation_token": "theirs"})

    first = Conversation(f"GET {log}", says(INSTANCE), part, accept="application/json")
    token = first.json()["continuation_token"]
    second = Conversation(f"GET {log}?token={token}", says(INSTANCE), part, accept="application/json")

    assert ("token", "theirs") in second.query(1)


@pytest.mark.parametrize(
    "token", ["x", "WzEsImxvZyIsM10", pack("dag", "d")], ids=["text", "no-text-in-it", "other-kind"]
)
def test_a_log_token_of_somebody_else_is_refused(token: str) -> None:
    talk = Conversation(
        f"GET /dags/d/dagRuns/r/taskInstances/t/logs/1?token={token}", says(INSTANCE), accept="application/json"
    )

    assert talk.status == 400


# Files


def test_a_file_token_leads_back_to_its_dag_and_needs_no_secret_because_it_opens_nothing() -> None:
    token = pack("dag", "d/ä")

    talk = Conversation(f"GET /dagSources/{token}", says({"content": "import this"}), accept="application/json")

    assert unpack("dag", token) == "d/ä"
    assert talk.lines() == ["GET /api/v2/dagSources/d%2F%C3%A4"]
    assert talk.json() == {"content": "import this"}


def test_a_file_token_of_a_2_x_server_is_not_known() -> None:
    talk = Conversation("GET /dagSources/Ii90bXAvZGFncy9hLnB5Ig.7GgRUQjF2Zq3mLMFSlCY411xTGo")

    assert talk.status == 404
    assert talk.calls == []


# Variables


def test_a_secret_that_is_written_back_as_it_was_shown_stays() -> None:
    masked = says({**VARIABLE, "value": "***"})

    talk = Conversation("PATCH /variables/k", masked, masked, body={"key": "k", "value": "***", "description": "new"})

    assert talk.status == 200
    assert talk.lines() == ["GET /api/v2/variables/k", "PATCH /api/v2/variables/k"]
    assert masks(talk, 1) == ["description"]


@pytest.mark.parametrize("status", [401, 403, 500, 502])
def test_a_secret_that_nobody_can_look_at_now_is_not_overwritten_with_its_mask(status: int) -> None:
    body = {"key": "password", "value": "***"}

    talk = Conversation("POST /variables", refuses(status), body=body)

    assert talk.status >= 400
    assert talk.lines() == ["GET /api/v2/variables/password"]


def test_a_secret_beside_a_changed_member_is_not_destroyed() -> None:
    shown = says({**VARIABLE, "value": '{"password": "***", "n": 1}'})
    body = {"key": "k", "value": '{"password": "***", "n": 2}'}

    patched = Conversation("PATCH /variables/k", shown, body=body)
    posted = Conversation("POST /variables", shown, body=body)

    assert (patched.status, posted.status) == (400, 400)
    assert patched.lines() == posted.lines() == ["GET /api/v2/variables/k"]


def test_stars_that_stand_for_no_secret_are_a_value_like_any_other() -> None:
    plain = says({**VARIABLE, "value": "plain"})

    talk = Conversation("PATCH /variables/k", plain, plain, body={"key": "k", "value": "*** loud ***"})

    assert talk.sent(1)["value"] == "*** loud ***"
    assert masks(talk, 1) == ["value"]


def test_a_variable_that_is_there_is_replaced_because_a_post_of_2_x_does_both() -> None:
    talk = Conversation("POST /variables", refuses(409), says(VARIABLE), body={"key": "a/b", "value": "v"})

    assert talk.lines() == ["POST /api/v2/variables", "PATCH /api/v2/variables/a%2Fb"]
    assert talk.status == 200
    assert talk.json() == {"key": "a/b", "value": "v"}
    assert masks(talk, 1) == ["value", "description"]
    assert talk.sent(1)["description"] is None


# Errors


@pytest.mark.parametrize(
    ("upstream", "status", "detail"),
    [
        pytest.param(refuses(422, [{"type": "x", "loc": ["body", "a"], "msg": "m"}]), 400, "m - 'a'", id="422"),
        pytest.param(refuses(404, ["none"]), 404, "none", id="list"),
        pytest.param(refuses(409, {"reason": "Unique"}), 409, "Unique", id="object"),
        pytest.param(refuses(403, "Forbidden"), 403, None, id="403"),
        pytest.param(refuses(403, "Invalid JWT token"), 401, None, id="token"),
        pytest.param(refuses(500, "SELECT"), 500, None, id="500"),
        pytest.param(says("x", 302), 502, "the upstream answered what its API does not know", id="redirect"),
    ],
)
def test_an_error_is_problem_json_in_the_words_of_2_11(upstream: Any, status: int, detail: str | None) -> None:
    talk = Conversation("GET /plugins", upstream)

    assert talk.reply.content_type == "application/problem+json"
    problem = talk.json()
    assert (talk.status, problem["status"], problem["detail"]) == (status, status, detail)
    assert problem.keys() == {"detail", "status", "title", "type"}


@pytest.mark.parametrize(
    ("request_line", "body", "detail"),
    [
        ("GET /dags?nosuch=1", None, "Extra query parameter(s) nosuch not in spec"),
        ("GET /dags?limit=x", None, "Wrong type, expected 'integer' for query parameter 'limit'"),
        ("POST /pools", {"name": 3}, "3 is not of type 'string' - 'name'"),
        ("POST /pools", {"name": "a", "slots": 1, "nosuch": 1}, "{'nosuch': ['Unknown field.']}"),
        ("POST /pools", {"name": "a"}, "Missing required property(ies): ['slots']"),
        ("POST /dags/d/dagRuns", {"state": "failed"}, "Property is read-only - 'state'"),
    ],
)
def test_a_request_that_does_not_fit_is_refused_as_2_11_does_and_goes_nowhere(
    request_line: str, body: object, detail: str
) -> None:
    talk = Conversation(request_line, body=body)

    assert talk.status == 400
    assert talk.json()["detail"] == detail
    assert talk.calls == []


# Names that are addresses


def test_a_dataset_is_found_by_its_whole_address_among_those_that_only_look_like_it() -> None:
    assets = [{"id": number, "uri": uri} for number, uri in ((7, "s3://b/key1"), (8, "s3://b/key"), (9, "s3://b/key"))]

    talk = Conversation("GET /datasets/s3%3A%2F%2Fb%2Fkey", says({"assets": assets, "total_entries": 3}))

    assert talk.json()["id"] == 8


def test_queued_events_of_every_asset_with_the_address_are_deleted() -> None:
    assets = says({"assets": [{"id": 8, "uri": "u"}, {"id": 9, "uri": "u"}], "total_entries": 2})

    talk = Conversation("DELETE /datasets/queuedEvent/u", assets, says(None, 204), says(None, 204))

    assert talk.status == 204
    assert talk.lines()[1:] == ["DELETE /api/v2/assets/8/queuedEvents", "DELETE /api/v2/assets/9/queuedEvents"]


# Users


def test_without_fab_users_are_what_2_11_says_without_fab() -> None:
    talk = Conversation("GET /users", says({"detail": "Not Found"}, 404))

    assert talk.status == 400
    assert "FabAuthManager" in talk.json()["detail"]


def test_permissions_are_actions_because_fab_3_lists_each_with_every_resource() -> None:
    pairs = [{"action": {"name": name}, "resource": {"name": "DAGs"}} for name in ("read", "edit", "read")]

    talk = Conversation(
        "GET /permissions?limit=1", says({}, 200), says({"actions": pairs, "total_entries": len(pairs)})
    )

    assert talk.json() == {"actions": [{"name": "read"}], "total_entries": 2}


# Half done


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
    assert talk.json()["detail"] == "Nothing is changed. Send the request again."


def test_a_change_whose_answer_cannot_be_read_is_told_as_done() -> None:
    talk = Conversation("PATCH /dags/d/dagRuns/r/setNote", Answer(200, b"{"), body={"note": "n"})

    assert talk.status == 502
    assert talk.json()["detail"] == (
        "Done: PATCH /api/v2/dags/d/dagRuns/r. Only its answer cannot be told (the upstream's answer does not fit its API)."
    )


def test_a_second_event_is_warned_of_because_nobody_can_tell_two_of_them_apart() -> None:
    found = says({"assets": [{"id": 3, "uri": "s3://a"}], "total_entries": 1})

    talk = Conversation("POST /datasets/events", found, refuses(504), body={"dataset_uri": "s3://a"})

    assert talk.json()["detail"] == (
        "Not known whether done: record an event of dataset 3. "
        "Look whether it has been done before you send the request again: that would do it a second time."
    )


def test_a_run_whose_answer_was_lost_is_looked_for_because_a_retry_would_start_another() -> None:
    talk = Conversation("POST /dags/d/dagRuns", refuses(502), says(RUN), body={})

    assert talk.status == 200
    assert talk.calls[1].method == "GET"
    assert talk.calls[1].path.endswith(quote(talk.sent()["dag_run_id"], safe=""))


def test_a_run_that_nobody_can_look_for_is_named_so_that_the_client_can() -> None:
    talk = Conversation("POST /dags/d/dagRuns", refuses(502), refuses(502), body={})

    assert talk.status == 502
    assert talk.json()["detail"].startswith(f"Not known whether done: start run {talk.sent()['dag_run_id']!r}. Look ")


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
