"""A base URL that ends in a slash: the client gets the merged path, and nothing of its request has been used."""

from __future__ import annotations

import pytest
import requests

from support.security.gateway import Gateway, basic, parse_answers

HEAD = b" HTTP/1.1\r\nHost: gateway\r\nAuthorization: " + basic() + b"\r\n"


@pytest.mark.parametrize(
    ("target", "location"),
    [
        (b"/api/v1//dags", b"/api/v1/dags"),
        (b"//api/v2/dags?limit=1&q=%2F%2F//x", b"/api/v2/dags?limit=1&q=%2F%2F//x"),
        (b"//compat-auth//whoami", b"/compat-auth/whoami"),
        (b"//evil.example/", b"/evil.example/"),
        (b"///evil.example//", b"/evil.example/"),
        (b"//static/x", b"/static/x"),
        (b"http://gateway//evil.example/x", b"/evil.example/x"),
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"DELETE", b"OPTIONS"])
def test_a_merged_path_is_308_and_nothing_goes_on(
    gateway: Gateway, method: bytes, target: bytes, location: bytes
) -> None:
    before = gateway.log.read_text()

    received = gateway.exchange(method + b" " + target + HEAD + b"\r\n", half_close=False)

    (answer,) = parse_answers(received)
    assert answer.status == 308
    assert [value for name, value in answer.headers if name == b"location"] == [location]
    assert gateway.upstream.take() == []
    assert gateway.log.read_text() == before


def test_a_client_that_follows_nothing_reads_what_to_change(gateway: Gateway) -> None:
    url = f"http://127.0.0.1:{gateway.port}/api/v1//x"

    answer = requests.post(url, auth=("alice", "wonder:land"), allow_redirects=False, timeout=10)

    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 308
    assert answer.json()["detail"] == "path: an empty segment ('//'); take the slash off the end of the base URL"


def test_a_query_that_is_refused_is_not_sent_back(gateway: Gateway) -> None:
    received = gateway.exchange(b"GET //api/v2/x?" + b"a" * 40_000 + HEAD + b"\r\n", half_close=False)

    (answer,) = parse_answers(received)
    assert dict(answer.headers)[b"location"] == b"/api/v2/x"


def test_the_connection_goes_on_behind_a_body_that_nobody_read(gateway: Gateway) -> None:
    post = b"POST //api/v2/x" + HEAD + b"Content-Length: 5\r\n\r\nhello"

    received = gateway.exchange(post + b"GET /api/v2/y" + HEAD + b"Connection: close\r\n\r\n")

    assert [answer.status for answer in parse_answers(received)] == [308, 200]
    assert [arrived.target for arrived in gateway.upstream.take()] == [b"/api/v2/y"]


def test_a_real_client_follows_with_its_method_body_and_password(gateway: Gateway) -> None:
    url = f"http://127.0.0.1:{gateway.port}/api/v2//x"

    answer = requests.post(url, data=b"hello", auth=("alice", "wonder:land"), timeout=10)

    (arrived,) = gateway.upstream.take()
    assert answer.status_code == 200
    assert (arrived.request_line, arrived.body) == (b"POST /api/v2/x HTTP/1.1", b"hello")
    assert gateway.subject(arrived) == "alice"
