"""Names for scopes that belong together."""

from __future__ import annotations

import pytest

from compat_auth.scopes import allow, is_subset, parse_scope, parse_scopes

# Scopes, request, allowed.
VECTORS: list[tuple[list[str], str, bool]] = [
    (["read"], "GET /api/v2/dags", True),
    (["read"], "HEAD /api/v1/dags/x", True),
    (["read"], "POST /api/v2/dags/x/dagRuns", False),
    (["trigger"], "POST /api/v2/dags/x/dagRuns", True),
    (["trigger"], "POST /api/v1/dags/x/dagRuns", True),
    (["trigger"], "GET /api/v2/dags/x/dagRuns/manual__1", True),
    (["trigger"], "GET /api/v2/dags/x/dagRuns", False),
    (["trigger"], "POST /api/v2/dags/x/clearTaskInstances", False),
    (["trigger"], "DELETE /api/v2/dags/x/dagRuns/manual__1", False),
    (["trigger"], "POST /api/v2/dags//dagRuns", False),
    (["trigger"], "POST /api/v2/dags/x/y/dagRuns", False),
    # Servers that decode before they route read four segments here.
    (["trigger"], "POST /api/v2/dags/x%2Fy/dagRuns", False),
    (["GET /api/v2/dags/{dag_id}"], "GET /api/v2/dags/x%2FdagRuns", False),
    (["GET /api/v2/dags/{dag_id}/"], "GET /api/v2/dags/x/dagRuns/1", True),
    (["GET /api/v2/dags/{dag_id}/"], "GET /api/v2/dags/x", False),
    (["GET /api/v2/dags/{dag_id}/"], "GET /api/v2/dags/x/", False),
    (["GET /a%2Fb"], "GET /a%2Fb", True),
    (["GET /a/"], "GET /a/x%2Fy", True),
    (["GET /a/b/"], "GET /a/b%2Fc", False),
    (["dags:daily"], "GET /api/v2/dags/daily", True),
    (["dags:daily"], "PATCH /api/v1/dags/daily", True),
    (["dags:daily"], "POST /api/v2/dags/daily/dagRuns", True),
    (["dags:daily"], "GET /api/v2/dags/daily_report", False),
    (["dags:daily"], "GET /api/v2/dags", False),
    (["dags:daily"], "GET /api/v2/dags/~/dagRuns", False),
    (["dags:daily"], "GET /api/v2/dags/other/dagRuns", False),
    (["dags:täglich"], "GET /api/v2/dags/t%C3%A4glich/tasks", True),
]


@pytest.mark.parametrize(("scopes", "request_line", "allowed"), VECTORS)
def test_a_bundle_covers_what_it_says(scopes: list[str], request_line: str, allowed: bool) -> None:
    method, _, path = request_line.partition(" ")

    assert allow(parse_scopes(tuple(scopes)), method, path) is allowed


@pytest.mark.parametrize("text", ["dags:", "dags:~", "dags:.", "dags:..", "dags:a/b", "dags:a%2Fb", "dags:a b", "Read"])
def test_a_bundle_of_no_dag_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="scope"):
        parse_scopes((text,))


@pytest.mark.parametrize("text", ["GET /a{b}", "GET /{a}b", "GET /{}", "GET /{a", "GET /{a b}", "GET /{{a}}"])
def test_braces_are_for_whole_segments(text: str) -> None:
    with pytest.raises(ValueError, match="scope"):
        parse_scope(text)


# Child, parent, whether the parent may make it.
SUBSETS: list[tuple[list[str], list[str], bool]] = [
    (["GET /a"], ["all"], True),
    (["all"], ["all"], True),
    (["all"], ["GET /", "POST /", "PUT /", "PATCH /", "DELETE /"], False),
    (["GET /a"], ["GET /"], True),
    (["HEAD /a"], ["GET /a"], True),
    (["GET /a"], ["HEAD /a"], False),
    (["GET /a/"], ["GET /a/"], True),
    (["GET /a/b/"], ["GET /a/"], True),
    (["GET /a/"], ["GET /a"], False),
    (["GET /a"], ["GET /a/"], False),
    (["GET /"], ["GET /a/"], False),
    (["GET /"], ["GET /"], True),
    (["POST /a"], ["GET /a"], False),
    (["GET /a", "POST /b"], ["GET /a"], False),
    (["GET /d/x"], ["GET /d/{id}"], True),
    (["GET /d/{id}"], ["GET /d/x"], False),
    (["GET /d/{other}"], ["GET /d/{id}"], True),
    (["GET /d/x/"], ["GET /d/{id}"], False),
    (["GET /d/x/"], ["GET /d/{id}/"], True),
    (["dags:x"], ["dags:x"], True),
    (["dags:x"], ["trigger"], False),
    (["trigger"], ["read"], False),
]


@pytest.mark.parametrize(("child", "parent", "allowed"), SUBSETS)
def test_a_child_gets_no_more_than_its_parent_has(child: list[str], parent: list[str], allowed: bool) -> None:
    assert is_subset(parse_scopes(tuple(child)), parse_scopes(tuple(parent))) is allowed
