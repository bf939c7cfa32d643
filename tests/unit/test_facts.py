"""The facts of a request: a gate's say what Flask's request says."""

from __future__ import annotations

from typing import ClassVar

import flask
import pytest
from hypothesis import given
from hypothesis import strategies as some
from werkzeug.wrappers import Request

from compat_auth.errors import RequestRefused
from compat_auth.facts import RequestFacts, answers_without_flask, asked_about, client_address, request_facts
from compat_auth.http.asgi import RawHeaders
from compat_auth.http.headers import take_in
from compat_auth.http.request import GateRequest
from compat_auth.outcome import ONLY_ASKED_ABOUT
from compat_auth.peer import Peer, request_peer

APP = flask.Flask("facts")
NAMES = (
    *(
        "origin",
        "sec-fetch-site",
        "user-agent",
        "upgrade",
        "content-type",
        "content-length",
        "transfer-encoding",
        "host",
    ),
    *("x-request-id", "x-forwarded-for", "x-forwarded-user"),
    *("cookie", "authorization", "x-compat-auth-csrf", "x_compat_auth_csrf", "x-a", "x.a", "accept", "referer"),
)
VALUES = some.text(some.characters(min_codepoint=32, max_codepoint=255), max_size=12).map(
    lambda text: text.encode("latin-1")
)
HEADERS = some.lists(
    some.tuples(some.sampled_from([name.encode() for name in NAMES if name != "host"]), VALUES), max_size=8
)
HOSTS = some.sampled_from(
    [
        b"gateway.example",
        b"gateway.example:80",
        b"gateway.example:443",
        b"gateway.example:8443",
        b"[::1]:8080",
        b"[::1]",
    ]
)


def gate_request(headers: RawHeaders, host: bytes, method: str = "GET", scheme: str = "http") -> GateRequest:
    intake = take_in([(b"host", host), *headers])
    request = GateRequest({"type": "http"}, intake, method, b"/api/x", b"", "192.0.2.7", scheme)
    request.request_id = b"made-by-the-gate"
    return request


def said_by(facts: RequestFacts) -> tuple[object, ...]:
    spellings = [name for known in NAMES for name in (known, known.title(), known.replace("-", "_"))]
    cookies = [facts.cookies(name) for name in ("a", "session", "")]
    headers = [facts.header(name) for name in spellings]
    return (facts.method, facts.scheme, facts.client, facts.host, headers, cookies)


def by_flask(request: GateRequest, *, with_cookies: bool = True) -> tuple[object, ...]:
    with APP.request_context(request.environ(with_cookies)):
        return said_by(request_facts())


@given(HEADERS, HOSTS, some.sampled_from(["GET", "POST"]), some.sampled_from(["http", "https"]), some.booleans())
def test_a_gate_says_of_any_request_what_flask_says(
    headers: RawHeaders, host: bytes, method: str, scheme: str, with_cookies: bool
) -> None:
    try:
        request = gate_request(headers, host, method, scheme)
    except RequestRefused:
        return

    found = said_by(request.facts(APP, with_cookies))

    assert found == by_flask(request, with_cookies=with_cookies)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param([(b"cookie", b"session=1; a=2"), (b"cookie", b"session=3")], ["1", "3"], id="two-cookies"),
        pytest.param([(b"cookie", b"other=1")], [], id="another-cookie"),
        pytest.param([], [], id="none"),
    ],
)
def test_cookies_keep_their_order(sent: RawHeaders, expected: list[str]) -> None:
    facts = gate_request(sent, b"gateway.example").facts(APP, with_cookies=True)

    assert facts.cookies("session") == expected


def test_cookies_are_left_out_beside_another_credential() -> None:
    request = gate_request([(b"cookie", b"session=1")], b"gateway.example")

    facts = request.facts(APP, with_cookies=False)

    assert (facts.cookies("session"), facts.header("Cookie")) == ([], None)


@pytest.mark.parametrize("sent", [[], [(b"x-request-id", b"of-the-caller")]], ids=["none", "the-caller-has-one"])
def test_the_id_of_the_request_is_the_one_that_the_gate_gave_it(sent: RawHeaders) -> None:
    facts = gate_request(sent, b"gateway.example").facts(APP, with_cookies=True)

    assert facts.header("X-Request-Id") == facts.header("x_request_id") == "made-by-the-gate"


def test_no_flask_request_is_made_for_the_common_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    request = gate_request([(b"origin", b"http://gateway.example")], b"gateway.example")
    monkeypatch.setattr(GateRequest, "environ", None)

    facts = request.facts(APP, with_cookies=True)

    assert (facts.method, facts.client, facts.header("Origin")) == ("GET", "192.0.2.7", "http://gateway.example")


def test_a_gates_facts_go_before_a_flask_request_around_them() -> None:
    request = gate_request([], b"gateway.example")
    request.only_asked_about = True
    request.peer = Peer("10.0.0.5", (("x-forwarded-user", "alice"),))

    with APP.test_request_context("/", environ_base={"REMOTE_ADDR": "127.0.0.1"}):
        with asked_about(request.facts(APP, with_cookies=False)):
            inside = (client_address(), request_peer(), ONLY_ASKED_ABOUT in request_facts().environ)
        after = client_address()

    assert inside == ("192.0.2.7", request.peer, True)
    assert after == "127.0.0.1"


def test_without_facts_and_without_flask_nobody_calls() -> None:
    address = client_address()

    assert address == ""
    with pytest.raises(RuntimeError):
        _ = request_facts().method


class Says:
    answers_without_flask: ClassVar[bool] = True


class Inherits(Says):
    pass


class Computes:
    def __init__(self, answer: object) -> None:
        self.answer = answer

    def answers_without_flask(self) -> object:
        return self.answer


@pytest.mark.parametrize(
    ("thing", "expected"),
    [
        pytest.param(Says(), True, id="says-so"),
        pytest.param(Inherits(), False, id="inherits-it"),
        pytest.param(Computes(answer=True), True, id="computes-it"),
        pytest.param(Computes(answer=False), False, id="computes-no"),
        pytest.param(Computes(answer="yes"), False, id="says-something-else"),
        pytest.param(object(), False, id="says-nothing"),
    ],
)
def test_only_a_class_that_says_so_itself_answers_without_flask(thing: object, expected: bool) -> None:
    found = answers_without_flask(thing)

    assert found is expected


def test_the_environment_of_a_gate_is_read_by_werkzeug_alone() -> None:
    request = gate_request([(b"cookie", b'a="q\\"uoted"')], b"gateway.example:80")

    facts = request.facts(APP, with_cookies=True)

    assert facts.host == Request(request.environ(with_cookies=True)).host == "gateway.example"
