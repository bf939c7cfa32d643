"""One canonicaliser for paths."""

from __future__ import annotations

import re

import pytest

from compat_auth.errors import InvalidPath
from compat_auth.http import paths
from compat_auth.http.paths import AIRFLOW_RESTS, MergedPath, Prefixes, canonical_path, canonical_query, read_path


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


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        (b"/azAZ09_-.~!$&'()*+,=:@/", True),
        (b"/", True),
        (b"/a..b/c.d", True),
        (b"", False),
        (b"//", False),
        (b"/.a", False),
        (b"/a;b", False),
        (b"/a%20", False),
        (b"/a?", False),
        (b"/a\n", False),
    ],
)
def test_a_plain_path_is_one_that_every_parser_reads_alike(path: bytes, plain: bool) -> None:
    assert bool(re.fullmatch(paths.PLAIN_PATH, path.decode("latin-1"))) == plain


@pytest.mark.parametrize("byte", range(0x80))
def test_an_escaped_ascii_character_is_decoded_where_it_is_unreserved(byte: int) -> None:
    unreserved = chr(byte).isalnum() or chr(byte) in "-._~"
    raw = b"/a%%%02xb" % byte

    if byte < 0x20 or byte in (0x5C, 0x7F):
        with pytest.raises(InvalidPath, match="control character or backslash"):
            canonical_path(raw)
    elif byte == ord("%"):
        assert canonical_path(b"/a%25-b") == b"/a%25-b"
    else:
        assert canonical_path(raw) == (b"/a%cb" % byte if unreserved else b"/a%%%02Xb" % byte)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (b"/" + b"a" * 8192, "path: longer than 8192 bytes"),
        (b"a", "path: does not begin with '/'"),
        (b"/a b", "path: a character that must be percent-encoded"),
        (b"/%2541", "path: encoded twice"),
        (b"/%4", "path: '%' without two hexadecimal digits"),
        (b"/a;//b", r"path: an empty segment \('//'\)"),
        (b"/%ff", "path: not UTF-8"),
        (b"/a/..;b", r"path: a dot segment"),
    ],
)
def test_a_refusal_says_what_is_wrong_with_the_path(read: bytes, message: str) -> None:
    with pytest.raises(InvalidPath, match=message):
        canonical_path(read)


def test_a_query_may_have_32_kibibytes_and_no_more() -> None:
    assert canonical_query(b"a" * 32768) == b"a" * 32768
    with pytest.raises(InvalidPath, match="query: longer than 32768 bytes"):
        canonical_query(b"a" * 32769)


@pytest.mark.parametrize("path", [b"/x//api/v2", b"/x//", b"//x", b"/x;a//api"])
def test_a_prefix_that_is_not_at_the_beginning_covers_nothing(path: bytes) -> None:
    assert not Prefixes(["/api/"]).cover(path)


@pytest.mark.parametrize(
    "path",
    [b"//api/v2", b"/api", b"/API", b"/api;a/v2", b"/%61pi/x", b"/api%2Fx", b"///api", b"/;a/api/v2", b"/api//x"],
)
def test_a_prefix_covers_what_a_lenient_parser_reads_below_it(path: bytes) -> None:
    assert Prefixes(["/other/", "/api/"]).cover(path)


def test_no_prefixes_cover_no_path() -> None:
    assert not Prefixes([]).cover(b"/a//b")
    assert Prefixes(["/a/", "/b"]).as_written == (b"/a/", b"/b")


def test_the_rest_of_a_path_is_data_only_where_the_upstream_takes_it() -> None:
    raw = b"/api/v1/datasets/s3://bucket/key"

    assert read_path(raw, AIRFLOW_RESTS) == b"/api/v1/datasets/s3:%2F%2Fbucket%2Fkey"
    with pytest.raises(MergedPath) as refused:
        read_path(raw)
    assert refused.value.path == b"/api/v1/datasets/s3:/bucket/key"


@pytest.mark.parametrize(
    ("raw", "rest"),
    [
        (b"/api/v2/variables//a", b"/api/v2/variables/%2Fa"),
        (b"/api/v2/variables/a//b", b"/api/v2/variables/a%2F%2Fb"),
        (b"/api/v2/variables/a/b", b"/api/v2/variables/a/b"),
    ],
)
def test_a_rest_that_has_repeated_slashes_is_encoded_as_a_whole(raw: bytes, rest: bytes) -> None:
    assert read_path(raw, AIRFLOW_RESTS) == rest


def test_repeated_slashes_before_a_rest_are_merged_beside_it() -> None:
    with pytest.raises(MergedPath) as refused:
        read_path(b"//api/v2//variables//a", AIRFLOW_RESTS)

    assert refused.value.path == b"/api/v2/variables/%2Fa"
