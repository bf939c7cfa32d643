"""Errors on the wire."""

from __future__ import annotations

import json

import pytest

from compat_auth.http.problem import airflow2_body, problem_body


def test_a_problem_takes_its_title_from_the_status() -> None:
    assert json.loads(problem_body(404)) == {"type": "about:blank", "title": "Not Found", "status": 404}


def test_a_problem_tells_title_and_detail_where_it_has_them() -> None:
    body = json.loads(problem_body(503, title="Busy", detail="später"))

    assert (body["title"], body["detail"]) == ("Busy", "später")


def test_airflow_2_has_a_body_of_its_own() -> None:
    assert airflow2_body(401).decode() == (
        "{\n"
        '  "detail": null,\n'
        '  "status": 401,\n'
        '  "title": "Unauthorized",\n'
        '  "type": "https://airflow.apache.org/docs/apache-airflow/2.11.2/stable-rest-api-ref.html'
        '#section/Errors/Unauthenticated"\n'
        "}\n"
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "BadRequest"),
        (401, "Unauthenticated"),
        (403, "PermissionDenied"),
        (404, "NotFound"),
        (405, "MethodNotAllowed"),
        (409, "AlreadyExists"),
        (500, "Unknown"),
    ],
)
def test_an_operation_of_airflow_2_gives_its_error_a_type(status: int, kind: str) -> None:
    body = json.loads(airflow2_body(status))

    assert body["type"].endswith(f"/stable-rest-api-ref.html#section/Errors/{kind}")


@pytest.mark.parametrize(("status", "routed"), [(404, False), (418, True)])
def test_an_error_of_airflow_2_without_a_type_is_about_nothing(status: int, routed: bool) -> None:
    assert json.loads(airflow2_body(status, routed=routed))["type"] == "about:blank"


def test_an_error_of_airflow_2_says_the_title_and_detail_that_it_has() -> None:
    body = json.loads(airflow2_body(404, title=None, detail="no DAG"))

    assert (body["title"], body["detail"]) == (None, "no DAG")
