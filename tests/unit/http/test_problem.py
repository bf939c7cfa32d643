"""Errors on the wire."""

from __future__ import annotations

import json

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
