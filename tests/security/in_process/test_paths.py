"""One reading of a path: a corpus, and four other parsers' opinions."""

from __future__ import annotations

from typing import TypedDict, cast
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.requests import Request as StarletteRequest
from werkzeug.test import EnvironBuilder
from yarl import URL

from compat_auth.errors import InvalidPath
from compat_auth.http.paths import Prefixes, canonical_path, canonical_query
from corpora.cases import cases
from corpora.readings import readings


class Case(TypedDict):
    path: str
    canonical: str | None
    why: str


CORPUS = cast("list[Case]", cases("paths"))
REFUSED = [case for case in CORPUS if case["canonical"] is None]
ACCEPTED = [(case["path"].encode("latin-1"), case["canonical"]) for case in CORPUS if case["canonical"] is not None]
IDS = [path.decode("latin-1")[:40] for path, _ in ACCEPTED]


def segments(path: bytes) -> list[str]:
    """Return our own reading: real slashes part the path, then each segment is decoded once."""
    return [unquote(segment.decode("ascii"), errors="strict") for segment in path.split(b"/")[1:]]


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    assert len(REFUSED) >= 100
    assert len(ACCEPTED) >= 60


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case["path"][:40] or "empty")
def test_a_path_with_two_readings_is_refused(case: Case) -> None:
    with pytest.raises(InvalidPath):
        canonical_path(case["path"].encode("latin-1"))


@pytest.mark.parametrize(("path", "canonical"), ACCEPTED, ids=IDS)
def test_a_path_with_one_reading_has_one_spelling(path: bytes, canonical: str) -> None:
    once = canonical_path(path)

    assert once == canonical.encode()
    assert canonical_path(once) == once


@pytest.mark.parametrize(("path", "canonical"), ACCEPTED, ids=IDS)
def test_four_other_parsers_see_the_path_that_we_see(path: bytes, canonical: str) -> None:
    ours = canonical_path(path)
    decoded = "/" + "/".join(segments(ours))

    environ = EnvironBuilder(path=canonical.replace(";", "%3B")).get_environ()
    scope: dict[str, object] = {
        "type": "http",
        "path": unquote(canonical),
        "raw_path": ours,
        "query_string": b"",
        "headers": [],
    }
    sent = URL("http://upstream" + canonical, encoded=True)
    split = urlsplit("http://upstream" + canonical)

    assert environ["PATH_INFO"].encode("latin-1").decode() == decoded
    assert (
        StarletteRequest({**scope, "server": ("upstream", 80), "scheme": "http", "root_path": ""}).scope["path"]
        == decoded
    )
    assert sent.raw_path == canonical
    assert URL(str(sent)).path == decoded
    assert (split.path, split.query, split.fragment) == (canonical, "", "")


parts = [
    "/",
    "/",
    "api",
    "API",
    "%61pi",
    "v2",
    "%2F",
    "%2f",
    ";a=b",
    "%3B",
    ".",
    "..",
    "%2e",
    "%5c",
    "\\",
    "x",
    "%25",
    "2F",
]


@given(path=st.lists(st.sampled_from(parts), min_size=1, max_size=8).map(lambda words: "/" + "".join(words)))
@settings(max_examples=2000, deadline=None)
@example(path="/api%2Fv2")
@example(path="/%2Fapi/x")
@example(path="/api;a=b/x")
@example(path="/%3Bx/api/y")
@example(path="/API/x")
@example(path="/api")
@example(path="/;a/api/x")
def test_no_spelling_leads_around_the_fence(path: str) -> None:
    try:
        canonical = canonical_path(path.encode())
    except InvalidPath:
        canonical = b"/api/refused"

    covered = Prefixes(["/api/"]).cover(canonical)

    inside = any(reading.startswith("/api/") for reading in readings(canonical.decode()))
    assert covered or not inside


@pytest.mark.parametrize(
    "path", ["/", "/apix", "/apix/", "/x/api/", "/ap/i", "/static/api.js", "/ui/api%2Fx", "/auth/token"]
)
def test_what_is_outside_the_fence_stays_outside(path: str) -> None:
    assert not Prefixes(["/api/"]).cover(canonical_path(path.encode()))


@given(query=st.binary(max_size=40))
@settings(max_examples=300, deadline=None)
def test_a_canonical_query_stays_as_it_is_and_never_leaves_its_place(query: bytes) -> None:
    try:
        once = canonical_query(query)
    except InvalidPath:
        once = b""

    assert canonical_query(once) == once
    assert URL("http://upstream/x?" + once.decode("ascii"), encoded=True).raw_query_string == once.decode("ascii")
