"""Lists that are longer than a page of 3.x."""

from typing import Any

import pytest

from compat_auth.airflow.v1.resources.task_instances import MAX_BATCH
from support.v1_conversation import Conversation, refuses, says

INSTANCE: dict[str, Any] = {
    "task_id": "t",
    "dag_id": "d",
    "dag_run_id": "r",
    "map_index": -1,
    "logical_date": "2024-01-02T00:00:00Z",
    "state": "success",
    "hostname": "vm",
}


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


MAPPED = "/dags/d/dagRuns/r/taskInstances/t/listMapped"


def pages(total: int, *counts: int) -> list[Any]:
    """Return answers that hold so many mapped task instances each, counted through."""
    first, answers = 0, []
    for count in counts:
        instances = [{**INSTANCE, "map_index": number} for number in range(first, first + count)]
        answers.append(says({"task_instances": instances, "total_entries": total}))
        first += count
    return answers


def test_more_than_a_hundred_mapped_task_instances_are_read_page_by_page() -> None:
    talk = Conversation(f"GET {MAPPED}?limit=250", *pages(400, 100, 100, 50))

    found = talk.json()
    assert [each["map_index"] for each in found["task_instances"]] == list(range(250))
    assert found["total_entries"] == 400
    assert [dict(call.query)["limit"] for call in talk.calls] == ["100", "100", "50"]
    assert [dict(call.query)["offset"] for call in talk.calls] == ["0", "100", "200"]


@pytest.mark.parametrize("path", ["/dags/d/dagRuns/r/taskInstances", MAPPED])
def test_a_limit_below_nought_reads_all_of_them_because_2_x_does(path: str) -> None:
    talk = Conversation(f"GET {path}?limit=-1", *pages(201, 100, 100, 1))

    assert [each["map_index"] for each in talk.json()["task_instances"]] == list(range(201))


def test_filters_and_order_go_with_every_page() -> None:
    talk = Conversation(f"GET {MAPPED}?limit=150&state=success&order_by=-map_index", *pages(200, 100, 50))

    assert [[pair for pair in call.query if pair[0] in ("state", "order_by")] for call in talk.calls] == [
        [("state", "success"), ("order_by", "-map_index")]
    ] * 2


def test_an_upstream_that_gives_less_than_it_counts_is_not_asked_for_ever() -> None:
    talk = Conversation(f"GET {MAPPED}?limit=-1", *pages(500, 100, 0))

    assert len(talk.json()["task_instances"]) == 100


def test_a_page_that_is_refused_refuses_the_list_because_half_of_it_would_look_whole() -> None:
    talk = Conversation("GET /dags/d/dagRuns/r/taskInstances?limit=150", *pages(150, 100), refuses(503))

    assert talk.status == 503


@pytest.mark.parametrize(
    ("query", "limit", "offset"),
    [
        pytest.param("limit=250&offset=120", 250, 120, id="beyond-a-hundred"),
        pytest.param("", 100, 0, id="none"),
        pytest.param("limit=-1", MAX_BATCH, 0, id="all"),
    ],
)
def test_the_tasks_of_one_run_of_any_dag_are_read_at_once_because_a_body_may_ask_for_more_than_a_hundred(
    query: str, limit: int, offset: int
) -> None:
    talk = Conversation(f"GET /dags/~/dagRuns/r/taskInstances?{query}", *pages(250, 250))

    assert talk.lines() == ["POST /api/v2/dags/~/dagRuns/~/taskInstances/list"]
    assert talk.sent() == {"dag_run_ids": ["r"], "page_limit": limit, "page_offset": offset}
    assert len(talk.json()["task_instances"]) == 250


def test_a_limit_of_nought_finds_none_of_one_run_but_counts_them_as_2_x_does() -> None:
    talk = Conversation("GET /dags/~/dagRuns/r/taskInstances?limit=0", *pages(250, 1))

    assert talk.json() == {"task_instances": [], "total_entries": 250}
