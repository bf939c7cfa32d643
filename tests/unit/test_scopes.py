"""What a limited credential may be used for."""

from __future__ import annotations

import pytest

from compat_auth.scopes import MAX_LENGTH, Scope, allow, needed_scopes, parse_scope

# Scopes, request, allowed.
VECTORS: list[tuple[list[str], str, bool]] = [
    ([], "GET /a", False),
    (["all"], "DELETE /anything/at/all", True),
    (["GET /a"], "GET /a", True),
    (["GET /a"], "GET /a/", True),
    (["GET /a"], "GET /a/1", False),
    (["GET /a"], "GET /ab", False),
    (["GET /a"], "HEAD /a", True),
    (["GET /a"], "POST /a", False),
    (["GET /a/"], "GET /a", False),
    (["GET /a/"], "GET /a/", False),
    (["GET /a/"], "GET /a/1", True),
    (["GET /a/"], "GET /a/1/2", True),
    (["GET /a/"], "HEAD /a/1", True),
    (["HEAD /a"], "HEAD /a", True),
    (["HEAD /a"], "GET /a", False),
    (["GET /"], "GET /", True),
    (["GET /"], "GET /x/y", True),
    (["GET /"], "HEAD /x/y", True),
    (["GET /"], "POST /x/y", False),
    (["POST /a"], "PATCH /a", False),
    (["PUT /a"], "PATCH /a", False),
    (["GET /b", "POST /a"], "POST /a", True),
    (["GET /a/b"], "GET /a%2Fb", False),
    (["GET /A"], "GET /a", False),
    (["GET /X"], "GET /X", True),
]


@pytest.mark.parametrize(("scopes", "request_line", "allowed"), VECTORS)
def test_a_scope_covers_what_its_grammar_says(scopes: list[str], request_line: str, allowed: bool) -> None:
    method, _, path = request_line.partition(" ")

    assert allow([parse_scope(scope) for scope in scopes], method, path) is allowed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ALL",
        "get /a",
        "GET",
        "GET a",
        "GET  /a",
        "GET /a b",
        "GET /a?x=1",
        "GET /a#b",
        "FETCH /a",
        "GET /a\n",
        " GET /a",
    ],
)
def test_a_scope_that_could_only_be_a_typo_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither 'all' nor"):
        parse_scope(text)


@pytest.mark.parametrize("text", ["all", "GET /a", "POST /a/b/", "GET /"])
def test_a_scope_is_spelled_as_it_was_read(text: str) -> None:
    assert str(parse_scope(text)) == text


@pytest.mark.parametrize(
    ("methods", "path", "needed"),
    [
        (["GET"], "/api/v2/dags", "GET:/api/v2/dags"),
        (["HEAD"], "/api/v2/dags/", "HEAD:/api/v2/dags"),
        (["GET"], "/", "GET:/"),
        (["GET"], "/X", "GET:/X"),
        (["POST", "DELETE", "POST"], "/a", "POST:/a DELETE:/a"),
        (["PURGE"], "/a", "all"),
        (["GET", 'X", realm="'], "/a", "GET:/a all"),
        (["GET"], "/a%22%2Fb", "GET:/a%22%2Fb"),
        (["GET"], "/" + "a" * 508, ""),
    ],
)
def test_what_a_request_needs_is_spelled_for_oauth(methods: list[str], path: str, needed: str) -> None:
    assert needed_scopes(methods, path) == needed


@pytest.mark.parametrize("path", ["/a/b", "/", "/a%2Fb", "/a/" + "b" * 400])
def test_what_a_request_is_told_to_need_covers_it(path: str) -> None:
    needed = needed_scopes(["PUT"], path).replace(":", " ", 1)

    assert allow([parse_scope(needed)], "PUT", path)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_scope_may_name_each_method_that_an_api_has(method: str) -> None:
    scope = parse_scope(f"{method} /a")

    assert (scope.method, scope.path) == (method, "/a")
    assert needed_scopes([method], "/a") == f"{method}:/a"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("get /a", r"did you mean 'GET /a'\?$"),
        ("FETCH /a", "such as 'GET /api/v2/dags'$"),
        ("GET /a b", "such as 'GET /api/v2/dags'$"),
        ("get a", "such as 'GET /api/v2/dags'$"),
        # Upper case would not make it right.
        ("GET /{a", "such as 'GET /api/v2/dags'$"),
    ],
)
def test_the_error_says_what_was_probably_meant(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        parse_scope(text)


def test_the_longest_scope_is_named_as_needed_and_a_longer_one_is_not() -> None:
    longest = "/" + "a" * (MAX_LENGTH - len("GET /"))

    assert needed_scopes(["GET"], longest) == f"GET:{longest}"
    assert needed_scopes(["GET"], longest + "a") == ""
    assert needed_scopes(["GET", "DELETE"], longest) == ""


@pytest.mark.parametrize(
    ("scope", "path", "allowed"),
    [
        ("GET /a%2Fb", "/a%2fb", False),
        ("GET /a/b", "/a%62", False),
        ("GET /d/{id}/x", "/d/1/x", True),
        ("GET /d/{id}/x", "/d/1/y", False),
        ("GET /d/{id}/x", "/d//x", False),
        ("GET /d/{id}/x", "/d/1/2/x", False),
        ("GET /d/{id}/x/", "/d/1/x", False),
        ("GET /d/{id}/x/", "/d/1/x/2", True),
        ("GET /d/{id}/x/", "/d/1/x/2/3", True),
        ("GET /d/{id}/x/", "/d/1/y/2", False),
        ("GET /{id}", "/", False),
    ],
)
def test_a_segment_in_braces_is_any_one_segment_and_the_others_are_themselves(
    scope: str, path: str, allowed: bool
) -> None:
    assert allow([parse_scope(scope)], "GET", path) is allowed


def test_the_scope_that_limits_nothing_has_neither_method_nor_path() -> None:
    assert parse_scope("all") == Scope("", "")
