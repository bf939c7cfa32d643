"""The verdicts of the runner, on exchanges made by hand."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from corpora.judge import Request, Site, believed_in, judge, leads_elsewhere
from corpora.wire import Answer, Exchange, parse_answers

SITE = Site("http://gateway")
REQUEST = Request("headers", "a", b"", who="alice", method="GET", targets=("/api/x",))
ALICE = ["Authorization", "Basic " + base64.b64encode(b"alice:secret").decode()]
MALLORY = ["Authorization", "Basic " + base64.b64encode(b"mallory:s").decode()]


def answered(status: int, *headers: tuple[str, str]) -> Exchange:
    return Exchange((Answer(status, headers, b""),), is_closed=False, is_silent=False)


CLOSED = Exchange((), is_closed=True, is_silent=False)
SILENT = Exchange((), is_closed=False, is_silent=True)


def arrived(*headers: list[str], **changed: Any) -> dict[str, Any]:
    plain = {"method": "GET", "target": "/api/x", "version": "HTTP/1.1", "body": "", "complete": True}
    return {**plain, "headers": [["Host", "a"], *headers], **changed}


@pytest.mark.parametrize(
    ("request_", "exchange", "upstream", "verdict"),
    [
        pytest.param(REQUEST, answered(400), [], "refused", id="refused"),
        pytest.param(REQUEST, CLOSED, [], "refused", id="closed"),
        pytest.param(REQUEST, answered(501), [], "refused", id="not-implemented"),
        pytest.param(REQUEST, answered(308, ("location", "/api/x")), [], "refused", id="redirect"),
        pytest.param(REQUEST, answered(308, ("location", "//evil/x")), [], "let through", id="foreign-redirect"),
        pytest.param(REQUEST, SILENT, [], "hang", id="hang"),
        pytest.param(REQUEST, answered(502), [], "server error", id="bad-gateway"),
        pytest.param(REQUEST, answered(500), [arrived(ALICE)], "server error", id="arrived-and-failed"),
        pytest.param(REQUEST, answered(200), [arrived(ALICE)], "passed", id="passed"),
        pytest.param(REQUEST, answered(200), [arrived(ALICE, complete=False)], "refused", id="only-a-start-arrived"),
        pytest.param(REQUEST, answered(200), [arrived(ALICE), arrived(ALICE)], "let through", id="two-arrived"),
        pytest.param(REQUEST, answered(200), [arrived(ALICE, MALLORY)], "let through", id="two-identities"),
        pytest.param(REQUEST, answered(200), [arrived(MALLORY)], "let through", id="another-identity"),
        pytest.param(REQUEST, answered(200), [arrived()], "let through", id="identity-lost"),
        pytest.param(REQUEST, answered(200), [arrived(ALICE, ["Host", "b"])], "let through", id="two-hosts"),
        pytest.param(
            REQUEST,
            answered(200),
            [arrived(ALICE, ["Content-Length", "1"], ["Transfer-Encoding", "chunked"])],
            "let through",
            id="two-framings",
        ),
        pytest.param(REQUEST, answered(200), [arrived(ALICE, target="/api/y")], "ambiguous", id="another-target"),
        pytest.param(REQUEST, answered(200), [arrived(ALICE, method="PUT")], "ambiguous", id="another-method"),
        pytest.param(
            replace(REQUEST, body=b"a"), answered(200), [arrived(ALICE, body="b")], "ambiguous", id="another-body"
        ),
        pytest.param(replace(REQUEST, readings=2), answered(200), [arrived(ALICE)], "ambiguous", id="two-readings"),
        pytest.param(
            replace(REQUEST, may_arrive=False), answered(200), [arrived()], "let through", id="without-a-credential"
        ),
        pytest.param(
            replace(REQUEST, may_arrive=False), answered(401), [arrived()], "let through", id="refused-too-late"
        ),
        pytest.param(
            replace(REQUEST, forged=(("X-User", "mallory"),)),
            answered(200),
            [arrived(ALICE, ["x_user", "a, mallory"])],
            "let through",
            id="forged-header",
        ),
        pytest.param(
            replace(REQUEST, without_cookies=True),
            answered(200),
            [arrived(ALICE, ["Cookie", "a=b;_token=c"])],
            "let through",
            id="second-login",
        ),
    ],
)
def test_a_verdict_says_what_happened(
    request_: Request, exchange: Exchange, upstream: list[dict[str, Any]], verdict: str
) -> None:
    assert judge(request_, exchange, upstream, SITE).verdict == verdict


def test_a_header_of_applications_that_is_lost_is_told() -> None:
    wanted = replace(REQUEST, wanted=(("x-trace", "1"),))

    found = judge(wanted, answered(200), [arrived(ALICE)], SITE)

    assert (found.verdict, found.detail) == ("passed", "did not arrive: x-trace")


def test_the_header_that_the_upstream_believes_may_be_another() -> None:
    site = Site("http://gateway", ("x-remote-user",))

    verdicts = [
        judge(REQUEST, answered(200), [arrived(["X-Remote-User", name])], site).verdict for name in ("alice", "mallory")
    ]

    assert verdicts == ["passed", "let through"]


@pytest.mark.parametrize(
    "place",
    [
        "//evil",
        "/\\evil",
        "https://evil/",
        "\\\\evil",
        "/\t/evil",
        "javascript:x",
        "///evil",
        "//[",
        "http://gateway@evil",
    ],
)
def test_a_place_that_a_browser_reads_as_another_is_found(place: str) -> None:
    assert leads_elsewhere(place, "http://gateway")


@pytest.mark.parametrize("place", ["/", "/a//b", "a", "?next=//evil", "http://gateway/a", "#//evil"])
def test_a_place_of_the_same_host_is_none(place: str) -> None:
    assert not leads_elsewhere(place, "http://gateway")


def test_a_header_names_a_user_of_basic_or_the_subject_of_a_jwt() -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"sub": "alice"}).encode()).rstrip(b"=").decode()

    assert [believed_in(value) for value in (ALICE[1], f"Bearer a.{claims}.b", "Basic !", "Bearer a", "bob")] == [
        "alice",
        "alice",
        "Basic !",
        "Bearer a",
        "bob",
    ]


@pytest.mark.parametrize(
    ("received", "statuses"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 400 Bad\r\n\r\n", [200], id="length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", [], id="not-complete"),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\nHTTP/1.0 304 N\r\n\r\n", [204, 304], id="no-body"
        ),
        pytest.param(b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", [200], id="chunks"),
        pytest.param(b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n5\r\na", [], id="half-a-chunk"),
        pytest.param(b"<html>", [], id="http-0.9"),
    ],
)
def test_complete_answers_are_found(received: bytes, statuses: list[int]) -> None:
    assert [answer.status for answer in parse_answers(received)] == statuses


def test_the_end_of_a_connection_ends_a_body() -> None:
    (answer,) = parse_answers(b"HTTP/1.1 400 Bad\r\n\r\nno", is_closed=True)

    assert (answer.status, answer.body) == (400, b"no")
