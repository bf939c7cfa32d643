"""`update_mask` in all its forms: what a client names is what changes."""

import pytest

from support.v1_conversation import Conversation, says

VARIABLE = {"key": "k", "value": "v", "description": None}
CONNECTION = {"connection_id": "c", "conn_type": "http"}
POOL = {"name": "p", "slots": 1, "include_deferred": False}
DAG = {"dag_id": "d", "is_paused": True}
USER = {"first_name": "A", "last_name": "B", "username": "u", "email": "u@example.com"}


def masks(talk: Conversation, number: int = 0) -> list[str]:
    return [value for name, value in talk.query(number) if name == "update_mask"]


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


@pytest.mark.parametrize(
    ("path", "body", "sent"),
    [
        pytest.param(
            "/connections/c?{host,port}", {**CONNECTION, "host": "h", "port": 1}, ["host", "port"], id="connection"
        ),
        pytest.param("/variables/k?{value,description}", {**VARIABLE}, ["value", "description"], id="variable"),
        pytest.param("/variables/k?{val}", {**VARIABLE}, ["value"], id="variable-by-its-column"),
        pytest.param(
            "/pools/p?{slots,include_deferred}",
            {"slots": 7, "include_deferred": True},
            ["slots", "include_deferred"],
            id="pool",
        ),
        pytest.param("/dags/d?{is_paused}", {"is_paused": True}, ["is_paused"], id="dag"),
        pytest.param("/dags?dag_id_pattern=d&{is_paused}", {"is_paused": True}, ["is_paused"], id="dags"),
        pytest.param("/roles/r?{name,actions}", {"name": "r", "actions": []}, ["name,actions"], id="role"),
        pytest.param("/users/u?{email,roles}", {**USER, "roles": []}, ["email,roles"], id="user"),
    ],
)
@pytest.mark.parametrize("form", ["commas", "repeated"])
def test_a_mask_in_either_form_reaches_each_operation_as_3_x_reads_it(
    path: str, body: dict[str, object], sent: list[str], form: str
) -> None:
    names = path.partition("{")[2].rstrip("}").split(",")
    written = [",".join(names)] if form == "commas" else names
    target = path.partition("{")[0] + "&".join(f"update_mask={name}" for name in written)
    of_fab = "/users/" in path or "/roles/" in path
    found = says({**DAG, **CONNECTION, **VARIABLE, **POOL, **USER, "dags": [], "total_entries": 0})

    talk = Conversation(f"PATCH {target}", *([says({"actions": []})] if of_fab else []), found, body=body)

    assert talk.status == 200
    # FAB alone takes one text with commas.
    assert masks(talk, -1) == sent


@pytest.mark.parametrize(
    ("path", "body", "fields"),
    [
        pytest.param("/connections/c", {"host": "h", "login": None}, ["host", "login"], id="connection"),
        pytest.param("/variables/k", {"key": "k", "value": "v"}, ["value"], id="variable"),
        pytest.param("/pools/p", {"name": "p", "slots": 7}, ["slots", "include_deferred"], id="pool"),
        pytest.param("/dags/d", {"is_paused": True}, ["is_paused"], id="dag"),
        pytest.param("/dags/d/dagRuns/r", {"state": "failed"}, ["state"], id="state-of-a-run"),
        pytest.param("/dags/d/dagRuns/r/setNote", {"note": "n"}, ["note"], id="note-of-a-run"),
    ],
)
def test_without_a_mask_what_the_client_sends_is_named_because_3_x_would_change_every_field(
    path: str, body: dict[str, object], fields: list[str]
) -> None:
    talk = Conversation(f"PATCH {path}", says({**DAG, **CONNECTION, **VARIABLE, **POOL}), body=body)

    assert talk.status == 200
    assert masks(talk) == fields


@pytest.mark.parametrize("path", ["/connections/c?update_mask=", "/variables/k?update_mask="])
def test_an_empty_mask_counts_as_none_because_3_x_takes_it_for_every_field(path: str) -> None:
    body = {"host": "h"} if "connections" in path else {"key": "k", "value": "v"}

    talk = Conversation(f"PATCH {path}", says({**CONNECTION, **VARIABLE}), body=body)

    assert masks(talk) == (["host"] if "connections" in path else ["value"])
