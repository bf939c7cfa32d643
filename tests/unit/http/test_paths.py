"""One canonicaliser for paths."""

from __future__ import annotations

import pytest

from compat_auth.errors import InvalidPath
from compat_auth.http import paths
from compat_auth.http.paths import Prefixes, canonical_path, canonical_query


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        (b"/", b"/"),
        (b"/api/v2/dags", b"/api/v2/dags"),
        (b"/api/v2/dags/", b"/api/v2/dags/"),
        (b"/a/.well-known", b"/a/.well-known"),
        (b"/a/...", b"/a/..."),
        (b"/%61pi/v2", b"/api/v2"),
        (b"/a%2fb", b"/a%2Fb"),
        (b"/a%3ab+c", b"/a%3Ab+c"),
        (b"/zo\xc3\xab", b"/zo%C3%AB"),
        (b"/zo%c3%ab", b"/zo%C3%AB"),
        (b"/a;v=1", b"/a;v=1"),
        (b"/a%20b", b"/a%20b"),
        (b"/s3%3A%2F%2Fbucket%2Fkey", b"/s3%3A%2F%2Fbucket%2Fkey"),
    ],
)
def test_a_path_has_one_spelling(raw: bytes, canonical: bytes) -> None:
    assert canonical_path(raw) == canonical


@pytest.mark.parametrize("raw", [b"/api/v2/dags", b"/%61%2fb", b"/zo\xc3\xab;x=%20"])
def test_the_canonical_spelling_is_its_own(raw: bytes) -> None:
    once = canonical_path(raw)

    assert canonical_path(once) == once


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"*",
        b"api",
        b"http://a/b",
        b"//",
        b"/a//b",
        b"/.",
        b"/..",
        b"/a/../b",
        b"/a/./b",
        b"/%2e%2e/b",
        b"/a/%2E/b",
        b"/a/..;x=1/b",
        b"/a/..%3bx/b",
        b"/a/.;/b",
        b"/a%2f..%2fb",
        b"/a\\b",
        b"/a%5cb",
        b"/a%00b",
        b"/a%0ab",
        b"/a%7fb",
        b"/a%252fb",
        b"/a%2",
        b"/a%zz",
        b"/a b",
        b"/a?b",
        b"/a#b",
        b"/a<b",
        b"/a\x00b",
        b"/\xff",
        b"/%ff",
        b"/a\n",
        b"/" + b"a" * 8192,
    ],
)
def test_a_path_with_two_readings_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidPath):
        canonical_path(raw)


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        (b"", b""),
        (b"limit=1&order_by=-id", b"limit=1&order_by=-id"),
        (b"q=zo\xc3\xab", b"q=zo%C3%AB"),
        (b"q=%252F", b"q=%252F"),
    ],
)
def test_a_query_keeps_its_meaning(raw: bytes, canonical: bytes) -> None:
    assert canonical_query(raw) == canonical


@pytest.mark.parametrize("raw", [b"a b", b"a\x00", b"a\n", b"a#b", b"\x7f"])
def test_a_query_that_ends_a_request_line_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidPath):
        canonical_query(raw)


@pytest.mark.parametrize("path", [b"/api/v2/dags", b"/api/", b"/api%2Fv2", b"/api", b"/API/x", b"/api;a=1/x"])
def test_a_prefix_covers_every_reading_of_a_path(path: bytes) -> None:
    assert Prefixes(["/api/"]).cover(path)


@pytest.mark.parametrize("path", [b"/", b"/apix", b"/ui%2Fapi/"])
def test_a_prefix_covers_nothing_else(path: bytes) -> None:
    assert not Prefixes(["/api/"]).cover(path)


def test_a_path_may_have_as_many_bytes_as_the_bound_and_no_more() -> None:
    longest = b"/" + b"a" * (paths.MAX_PATH_BYTES - 1)

    assert paths.canonical_path(longest) == longest
    with pytest.raises(InvalidPath, match="longer than"):
        paths.canonical_path(longest + b"a")
