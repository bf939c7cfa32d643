"""The head of an answer for the client, and where the answer ends."""

from __future__ import annotations

import pytest

from compat_auth.gateway.fast.upstream.answer_head import answer_head

LENGTH = (b"Content-Length", b"5")
CHUNKED = (b"Transfer-Encoding", b"chunked")


@pytest.mark.parametrize(
    ("status", "headers", "method", "is_chunked", "ends_with_connection"),
    [
        pytest.param(200, [LENGTH], b"GET", False, False, id="length"),
        pytest.param(200, [CHUNKED], b"GET", True, False, id="chunked"),
        pytest.param(200, [], b"GET", True, True, id="until-the-end"),
        pytest.param(200, [], b"HEAD", False, False, id="head"),
        pytest.param(200, [LENGTH], b"HEAD", False, False, id="head-with-length"),
        pytest.param(204, [], b"GET", False, False, id="204"),
        pytest.param(304, [LENGTH], b"GET", False, False, id="304"),
    ],
)
def test_the_framing_follows_from_status_method_and_headers(
    status: int, headers: list[tuple[bytes, bytes]], method: bytes, *, is_chunked: bool, ends_with_connection: bool
) -> None:
    head = answer_head(status, headers, method, closes=False)

    assert head is not None
    assert (head.is_chunked, head.ends_with_connection) == (is_chunked, ends_with_connection)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        pytest.param(199, [LENGTH], id="interim"),
        pytest.param(600, [LENGTH], id="beyond-599"),
        pytest.param(200, [LENGTH, LENGTH], id="length-twice"),
        pytest.param(200, [LENGTH, CHUNKED], id="length-and-chunked"),
        pytest.param(200, [CHUNKED, CHUNKED], id="chunked-twice"),
        pytest.param(200, [(b"Transfer-Encoding", b"gzip, chunked")], id="two-codings"),
        pytest.param(200, [(b"Transfer-Encoding", b"identity")], id="unknown-coding"),
        pytest.param(200, [(b"Content-Length", b"+5")], id="signed-length"),
        pytest.param(200, [(b"Content-Length", b"")], id="empty-length"),
        pytest.param(200, [(b"Content-Length", b"9" * 20)], id="huge-length"),
        pytest.param(200, [LENGTH, (b"X-A", b"a\r\nb")], id="line-break-in-value"),
        pytest.param(200, [LENGTH, (b"X A", b"a")], id="blank-in-name"),
        pytest.param(200, [LENGTH, (b"", b"a")], id="no-name"),
    ],
)
def test_an_answer_that_two_parsers_could_read_differently_is_unusual(
    status: int, headers: list[tuple[bytes, bytes]]
) -> None:
    assert answer_head(status, headers, b"GET", closes=False) is None


def test_a_connection_that_ends_is_announced() -> None:
    head = answer_head(200, [LENGTH, (b"Connection", b"keep-alive")], b"GET", closes=True)

    assert head is not None
    assert head.data == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n"
