"""The operation of a request is a scope that covers it, and one of a bounded number."""

from __future__ import annotations

import itertools

import pytest

from compat_auth.airflow_api.permission import uncovered
from compat_auth.airflow_api.reach import OPERATIONS
from compat_auth.scopes import parse_scope
from compat_auth.usage.operations import family_of, operation_of

_VALUES = ("etl", "~", "bulk", "a%2Fb", "scheduled__2024-01-01T00%3A00%3A00", "list", "ä".encode().hex())


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        pytest.param("GET", "/api/v2/dags", "GET /api/v2/dags", id="collection"),
        pytest.param("GET", "/api/v2/dags/", "GET /api/v2/dags", id="final-slash"),
        pytest.param("GET", "/api/v2/dags/etl", "GET /api/v2/dags/{dag_id}", id="object"),
        pytest.param("HEAD", "/api/v2/dags/etl", "HEAD /api/v2/dags/{dag_id}", id="head"),
        pytest.param("GET", "/api/v1/dags/etl/dagRuns", "GET /api/v1/dags/{dag_id}/dagRuns", id="old-api"),
        pytest.param("GET", "/api/v2/dags/bulk", "GET /api/v2/dags/{dag_id}", id="object-named-as-an-operation"),
        pytest.param("PATCH", "/api/v2/dags/bulk", "PATCH /api/v2/dags/{name}", id="names-more-in-its-body"),
        pytest.param("GET", "/api/v2/variables/a/b", "GET /api/v2/variables/{variable_key}/", id="key-with-a-slash"),
        pytest.param("GET", "/api/v2/variables/a%2Fb", "GET /api/v2/variables/", id="encoded-slash"),
        pytest.param("GET", "/api/v2/dags/etl/new/thing", "GET /api/v2/dags/{dag_id}/", id="unknown-below-a-template"),
        pytest.param("GET", "/api/v2/brand-new", "GET /api/v2/", id="unknown-collection"),
        pytest.param("POST", "/auth/token", "POST /auth/token", id="token-endpoint"),
        pytest.param("GET", "/graph/a", "GET /graph/", id="another-upstream"),
        pytest.param("GET", "/eyJhbGciOiJIUzI1NiJ9.e30.x", "GET /", id="a-token-in-the-path"),
        pytest.param("GET", "/", "GET /", id="root"),
        pytest.param("BREW", "/pot", "all", id="unknown-method"),
    ],
)
def test_an_operation_is_the_narrowest_template(method: str, path: str, operation: str) -> None:
    assert operation_of(method, path) == operation


def test_every_operation_covers_its_request_whatever_the_names_in_the_path_are() -> None:
    missed: list[tuple[str, str, str]] = []
    for one, value in itertools.product(OPERATIONS, _VALUES):
        segments = [value if segment.startswith("{") else segment for segment in one.segments]
        path = "/".join((one.base, *segments))
        operation = operation_of(one.method, path)
        if uncovered((parse_scope(operation),), (one.method,), path, None) is not None:
            missed.append((one.method, path, operation))

    assert missed == []


def test_paths_of_a_scanner_make_a_bounded_number_of_operations() -> None:
    names = ["".join(letters) for letters in itertools.product("abcdefghij", repeat=4)]

    found = {operation_of("GET", path) for name in names for path in (f"/{name}", f"/api/v2/dags/{name}/{name}")}

    assert len(found) <= 66


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/api/v1/dags/secret", "GET /api/v1/"),
        ("/api/v2/dags", "GET /api/v2/"),
        ("/x", "GET /"),
    ],
)
def test_of_an_unknown_caller_only_the_api_is_kept(path: str, operation: str) -> None:
    assert family_of("GET", path) == operation
