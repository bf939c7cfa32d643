"""Errors in the words of 2.11; what is not there at all."""

from typing import Any

import pytest

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


@pytest.mark.parametrize(
    ("upstream", "status", "detail"),
    [
        pytest.param(refuses(422, [{"type": "x", "loc": ["body", "a"], "msg": "m"}]), 400, "m - 'a'", id="422"),
        pytest.param(refuses(404, ["none"]), 404, "none", id="list"),
        pytest.param(refuses(409, {"reason": "Unique"}), 409, "Unique", id="object"),
        pytest.param(refuses(403, "Forbidden"), 403, None, id="403"),
        pytest.param(refuses(403, "Invalid JWT token"), 401, None, id="token"),
        pytest.param(refuses(500, "SELECT"), 500, None, id="500"),
        pytest.param(says("x", 302), 502, "the upstream's answer does not belong to its API", id="redirect"),
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


@pytest.mark.parametrize("request_line", ["GET /users", "GET /roles", "GET /permissions", "DELETE /users/viewer"])
def test_a_fab_provider_that_takes_no_token_is_told_from_a_wrong_password(request_line: str) -> None:
    refusal = says({"detail": None, "status": 401, "title": "Unauthorized", "type": "about:blank"}, 401)

    talk = Conversation(request_line, refusal, refusal)

    assert talk.status == 401
    assert "accepts neither for users, roles and permissions" in talk.json()["detail"]


@pytest.mark.parametrize("message", ["Not authenticated", "Invalid JWT token", "Token Expired"])
def test_a_token_that_is_not_good_is_not_blamed_on_the_fab_provider(message: str) -> None:
    talk = Conversation("GET /users", refuses(401, message), refuses(401, message))

    assert talk.status == 401
    assert talk.json()["detail"] is None


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
