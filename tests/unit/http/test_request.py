"""A request at the gate, and how Flask backends see it."""

from __future__ import annotations

import pytest
from flask import Flask
from werkzeug.wrappers import Request

from compat_auth.errors import MalformedCredentials
from compat_auth.http.asgi import RawHeaders
from compat_auth.http.headers import take_in
from compat_auth.http.request import GateRequest
from compat_auth.outcome import ONLY_ASKED_ABOUT
from compat_auth.peer import PEER
from support.stand_ins import http_scope


def gate_request(headers: RawHeaders, *, path: bytes = b"/api/x", host: bytes = b"gateway.example:8443") -> GateRequest:
    scope = http_scope(path, headers, host=host)
    return GateRequest(scope, take_in(scope["headers"]), "POST", path, b"limit=1", "192.0.2.7")


def seen_by_flask(request: GateRequest, *, with_cookies: bool = True) -> Request:
    return Request(request.presented().environ(with_cookies))


def test_a_backend_sees_the_request_of_the_caller() -> None:
    request = gate_request(
        [(b"x-a", b"1"), (b"x-a", b"2"), (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"authorization", b"Bearer abc")],
        path=b"/api/zo%C3%AB%2Fx",
    )

    seen = seen_by_flask(request)

    assert (seen.method, seen.path, seen.query_string) == ("POST", "/api/zoë/x", b"limit=1")
    assert seen.headers["X-A"] == "1,2"
    assert dict(seen.cookies) == {"a": "1", "b": "2"}
    assert seen.headers["Authorization"] == "Bearer abc"
    assert seen.remote_addr == "192.0.2.7"
    assert seen.url.startswith("http://gateway.example:8443/api/")


@pytest.mark.parametrize("sent", [[(b"x_acme", b"admin")], [(b"x-acme", b"alice"), (b"x_acme", b"admin")]])
def test_a_header_with_an_underscore_is_not_taken_for_the_one_with_a_hyphen(sent: RawHeaders) -> None:
    request = gate_request(sent)

    seen = seen_by_flask(request)

    assert seen.headers.getlist("X-Acme") == [value.decode() for name, value in sent if name == b"x-acme"]


def test_a_backend_does_not_wait_for_a_body() -> None:
    seen = seen_by_flask(gate_request([(b"content-length", b"5")]))

    assert seen.get_data() == b""
    assert "Content-Length" not in seen.headers


def test_cookies_are_left_out_where_they_must_not_be_seen() -> None:
    seen = seen_by_flask(gate_request([(b"cookie", b"session=1")]), with_cookies=False)

    assert "Cookie" not in seen.headers


@pytest.mark.parametrize(
    ("host", "server"),
    [
        (b"gateway.example", ("gateway.example", 80)),
        (b"gateway.example:8443", ("gateway.example", 8443)),
        (b"[2001:db8::1]:8443", ("2001:db8::1", 8443)),
        (b"[::1]", ("::1", 80)),
    ],
)
def test_the_server_is_the_host_of_the_request(host: bytes, server: tuple[str, int]) -> None:
    seen = seen_by_flask(gate_request([], host=host))

    assert seen.server == server
    assert seen.host == host.decode()


def test_over_https_the_port_is_443() -> None:
    request = gate_request([], host=b"gateway.example")
    request.scheme = "https"

    assert seen_by_flask(request).server == ("gateway.example", 443)


def test_what_a_decision_depends_on_is_text() -> None:
    presented = gate_request([(b"authorization", b"Basic YTpi"), (b"cookie", b"a=1")]).presented()

    assert (presented.shown.authorization, presented.cookies, presented.path) == ("Basic YTpi", True, "/api/x")


def test_nothing_presented_is_nothing() -> None:
    presented = gate_request([]).presented()

    assert (presented.shown.authorization, presented.cookies) == (None, False)


def test_a_credential_outside_ascii_is_malformed() -> None:
    request = gate_request([(b"authorization", "Basic zoë".encode())])

    with pytest.raises(MalformedCredentials):
        request.presented()


def test_a_request_does_not_show_what_it_holds() -> None:
    assert "hunter2" not in repr(gate_request([(b"authorization", b"Bearer hunter2"), (b"cookie", b"s=hunter2")]))


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        pytest.param([b"a=1;b=2", b"c=3"], {"a": "1", "b": "2", "c": "3"}, id="pairs"),
        pytest.param([b"a=1; b; =2; c = 3; d=4 5; e=6"], {"a": "1", "e": "6"}, id="no-pairs-between"),
        pytest.param([b'a=" x "; b="1\\073\\""; c="'], {"a": " x ", "b": '1;"'}, id="quoted"),
        pytest.param([b"a=\xc3\xab; b=\xff; c=1"], {"c": "1"}, id="beyond-ascii"),
        pytest.param([b"a=" + b" " * 9000 + b'"; b=1'], {"b": "1"}, id="blanks"),
        pytest.param([b'"; a=1'], {"a": "1"}, id="lone-quote"),
    ],
)
def test_a_backend_sees_only_cookies_of_rfc_6265(sent: list[bytes], seen: dict[str, str]) -> None:
    request = gate_request([(b"cookie", value) for value in sent])

    assert dict(seen_by_flask(request).cookies) == seen
    assert request.intake.cookies == sent


def test_a_backend_sees_one_blank_for_a_run_of_them() -> None:
    seen = seen_by_flask(gate_request([(b"accept", b"a/b \t ;  q=0.1"), (b"authorization", b"Bearer \t abc")]))

    assert (seen.headers["Accept"], seen.headers["Authorization"]) == ("a/b ; q=0.1", "Bearer abc")


@pytest.mark.parametrize("name", [b"content-length", b"transfer-encoding"])
def test_no_header_about_the_body_reaches_a_backend(name: bytes) -> None:
    environ = gate_request([(name, b"chunked" if name == b"transfer-encoding" else b"5")]).presented().environ(True)

    assert "HTTP_TRANSFER_ENCODING" not in environ
    assert "HTTP_CONTENT_LENGTH" not in environ
    assert "CONTENT_LENGTH" not in environ


@pytest.mark.parametrize(
    ("host", "name", "port"),
    [(b"[::1]:8080", "::1", "8080"), (b"[::1]", "::1", "80"), (b"a.example:81", "a.example", "81"), (b"a", "a", "80")],
)
def test_name_and_port_of_the_server_are_those_of_the_host(host: bytes, name: str, port: str) -> None:
    environ = gate_request([], host=host).presented().environ(True)

    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (name, port)


@pytest.mark.parametrize("asked", [True, False])
def test_the_facts_of_a_request_say_what_its_environment_says(asked: bool) -> None:
    request = gate_request([(b"x-a", b"1  2"), (b"x-a", b"3"), (b"cookie", b"a=1")])
    request.only_asked_about = asked
    presented = request.presented()
    assert presented.facts is not None

    facts = presented.facts(Flask("facts"), True)
    environ = presented.environ(True)

    assert facts.header("x-a") == "1 2,3" == environ["HTTP_X_A"]
    assert facts.header("x-b") is None
    assert facts.cookies("a") == ["1"]
    assert facts.host == "gateway.example:8443"
    assert facts.environ == {name: environ[name] for name in (PEER, ONLY_ASKED_ABOUT) if name in environ}
    assert (ONLY_ASKED_ABOUT in facts.environ) == asked
