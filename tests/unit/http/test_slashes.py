"""Two slashes in a row: what is data, what a client gets redirected for, and what is refused."""

from __future__ import annotations

import time
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compat_auth.errors import InvalidPath
from compat_auth.http.paths import AIRFLOW_RESTS, MergedPath, read_path

TASK = b"dags/d/dagRuns/r/taskInstances/t/"
DATA = [
    (b"/api/v1/datasets/", b"s3://bucket/key"),
    (b"/api/v1/datasets/queuedEvent/", b"s3://bucket/key"),
    (b"/api/v1/dags/d/datasets/queuedEvent/", b"s3://bucket/key"),
    (b"/api/v1/variables/", b"a//b"),
    (b"/api/v1/" + TASK + b"xcomEntries/", b"a//b/c"),
    (b"/api/v2/variables/", b"a//b"),
    (b"/api/v2/variables/", b"/a"),
    (b"/api/v2/variables/", b"a//"),
    (b"/api/v2/pools/", b"a//b"),
    (b"/api/v2/assets/1/state-store/", b"a//b"),
    (b"/api/v2/" + TASK + b"xcomEntries/", b"a//b"),
    (b"/api/v2/" + TASK + b"state-store/", b"a//b"),
    (b"/execution/variables/", b"a//b"),
    (b"/execution/connections/", b"a//b"),
    (b"/execution/xcoms/d/r/t/", b"a//b/item/0"),
    (b"/execution/store/ti/1/", b"a//b"),
    (b"/team/airflow/api/v2/variables/", b"a//b"),
]


@pytest.mark.parametrize(("head", "rest"), DATA)
def test_a_rest_that_the_upstream_takes_as_data_goes_on_with_its_slashes_encoded(head: bytes, rest: bytes) -> None:
    path = read_path(head + rest, AIRFLOW_RESTS)

    assert path == head + rest.replace(b"/", b"%2F")
    assert unquote(path.decode()) == (head + rest).decode()
    assert read_path(path, AIRFLOW_RESTS) == path


@pytest.mark.parametrize(
    ("raw", "merged"),
    [
        (b"//", b"/"),
        (b"//dags", b"/dags"),
        (b"////evil.example/x", b"/evil.example/x"),
        (b"/api/v1//dags", b"/api/v1/dags"),
        (b"/api/v1/dags//", b"/api/v1/dags/"),
        (b"/api///v2//d%61gs", b"/api/v2/dags"),
        (b"/api/v1//datasets/s3://bucket/key", b"/api/v1/datasets/s3:%2F%2Fbucket%2Fkey"),
        (b"/api/v1//variables/a/b", b"/api/v1/variables/a/b"),
        (b"/api/v1/datasets//x", b"/api/v1/datasets/x"),
        (b"/api/v1/datasets/queuedEvent//x", b"/api/v1/datasets/queuedEvent/x"),
        (b"/api/v2/connections//x", b"/api/v2/connections/x"),
        (b"/api/v2/dags/a//b", b"/api/v2/dags/a/b"),
        (b"/API/v2/variables/a//b", b"/API/v2/variables/a/b"),
    ],
)
def test_an_empty_segment_that_is_no_data_is_merged(raw: bytes, merged: bytes) -> None:
    with pytest.raises(MergedPath) as refused:
        read_path(raw, AIRFLOW_RESTS)

    assert refused.value.path == merged


def test_without_knowledge_of_the_upstream_nothing_is_data() -> None:
    with pytest.raises(MergedPath) as refused:
        read_path(b"/api/v1/datasets/s3://bucket/key")

    assert refused.value.path == b"/api/v1/datasets/s3:/bucket/key"


@pytest.mark.parametrize(
    "raw",
    [
        b"/api/v1//../x",
        b"/api/.//x",
        b"/api/v1/datasets/s3://bucket/../key",
        b"/api/v2/variables/a//%2e%2e/b",
        b"/api/v2/variables/a//..;x/b",
        b"/api/v2/variables/a//%252F",
        b"/api/v2/variables/a//%5cb",
        b"//evil.example\\x",
        b"//a%0d%0ab",
        b"x//y",
        b"/api/v2/variables/" + b"a//" * 3000,
    ],
)
def test_what_is_refused_without_an_empty_segment_is_refused_with_one(raw: bytes) -> None:
    with pytest.raises(InvalidPath) as refused:
        read_path(raw, AIRFLOW_RESTS)

    assert not isinstance(refused.value, MergedPath)


@given(raw=st.lists(st.sampled_from(["/", "api", "v1", "v2", "variables", "datasets", "a", "%2F", "s3:", ".", ";"])))
@settings(max_examples=2000, deadline=None)
def test_a_merged_path_is_canonical_and_names_no_host(raw: list[str]) -> None:
    try:
        path = read_path(b"/" + "".join(raw).encode(), AIRFLOW_RESTS)
    except MergedPath as merged:
        path = merged.path
    except InvalidPath:
        path = b"/refused"

    assert read_path(path, AIRFLOW_RESTS) == path
    assert path.startswith(b"/")
    assert b"//" not in path


@pytest.mark.parametrize(
    "raw",
    [
        b"/a" * 4000 + b"//",
        b"/" * 8000,
        b"/api/v1" * 1000 + b"//",
        b"/dags/d/dagRuns" * 500 + b"//",
        b"//api/v1/dags" * 600,
    ],
)
def test_a_long_path_is_read_in_no_time(raw: bytes) -> None:
    began = time.perf_counter()

    with pytest.raises(InvalidPath):
        read_path(raw, AIRFLOW_RESTS)

    assert time.perf_counter() - began < 0.1
