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


@pytest.mark.parametrize("api", ["/api/v1", "/api/v2"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
def test_the_bundle_of_a_dag_covers_each_method_in_both_apis(method: str, api: str) -> None:
    scopes = parse_scopes(("dags:daily",))

    assert allow(scopes, method, f"{api}/dags/daily")
    assert allow(scopes, method, f"{api}/dags/daily/dagRuns")
    assert not allow(scopes, method, f"{api}/dags")
    assert not allow(scopes, method, f"{api}/variables/daily")


@pytest.mark.parametrize("api", ["/api/v1", "/api/v2"])
def test_to_trigger_is_to_start_any_run_and_to_read_that_run(api: str) -> None:
    assert [str(scope) for scope in parse_scopes(("trigger",)) if api in scope.path] == [
        f"POST {api}/dags/{{dag_id}}/dagRuns",
        f"GET {api}/dags/{{dag_id}}/dagRuns/{{dag_run_id}}",
    ]


def test_a_dag_may_have_every_name_that_airflow_allows() -> None:
    assert allow(parse_scopes(("dags:a.b-c_d~1",)), "GET", "/api/v2/dags/a.b-c_d~1")
    assert allow(parse_scopes(("dags:" + "d" * 250,)), "GET", "/api/v2/dags/" + "d" * 250)
    with pytest.raises(ValueError, match="no DAG's id"):
        parse_scopes(("dags:" + "d" * 251,))


def test_a_credential_has_from_one_to_fifty_scopes() -> None:
    fifty = tuple(f"GET /{number}" for number in range(50))

    assert [str(scope) for scope in parse_scopes(fifty)] == list(fifty)
    assert len(parse_scopes(("GET /a",))) == 1
    for scopes in ((), (*fifty, "GET /50")):
        with pytest.raises(ValueError, match=r"^scopes: 1 to 50 of them$"):
            parse_scopes(scopes)


def test_a_scope_has_at_most_512_characters() -> None:
    longest = "GET /" + "a" * 507

    assert str(parse_scopes((longest,))[0]) == longest
    with pytest.raises(ValueError, match=r"^scopes: none longer than 512 characters$"):
        parse_scopes(("read", longest + "a"))


def test_a_scope_that_is_named_twice_counts_once() -> None:
    assert parse_scopes(("GET /a", "read", "GET /a", "GET /")) == (parse_scope("GET /a"), parse_scope("GET /"))
