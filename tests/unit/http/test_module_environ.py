"""What modules of Airflow 2 see of a request, and what an answer about it is remembered by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from compat_auth.credentials import (
    Absent,
    Bearer,
    Unrecognised,
    credential_key,
    parse_in_any_spelling,
)
from compat_auth.errors import AmbiguousCredentials, BackendUnavailable, MalformedCredentials
from compat_auth.http.body import BodyBudget, HeldBody
from compat_auth.http.headers import take_in
from compat_auth.http.request import GateRequest, Shown
from compat_auth.outcome import MODULE_ENVIRON, MODULE_PEER, ONLY_ASKED_ABOUT
from compat_auth.peer import FROM_SOCKET, PEER, Peer

HOST = (b"host", b"gateway.example")
LENGTH = (b"content-length", b"4")
SAID = Peer("10.0.0.1", (("x-user", "alice"),))


def request(*headers: tuple[bytes, bytes], **changed: Any) -> GateRequest:
    scope = {"client": ("10.0.0.1", 5), "root_path": "/air"}
    return GateRequest(scope, take_in([HOST, *headers]), "POST", b"/api/x", b"a=1", "192.0.2.1", **changed)


def test_a_module_sees_the_body_and_the_connection() -> None:
    environ = request(LENGTH, body=b"body").module_environ(with_cookies=True)

    assert environ["wsgi.input"].read() == b"body"
    assert (environ["CONTENT_LENGTH"], environ[MODULE_PEER], environ["REMOTE_ADDR"]) == ("4", "10.0.0.1", "192.0.2.1")
    assert MODULE_ENVIRON not in environ
    assert PEER not in environ


@pytest.mark.parametrize(
    ("headers", "body", "length"),
    [([], b"", None), ([LENGTH], b"", "0"), ([], b"body", "4"), ([LENGTH], None, None)],
    ids=["none", "said-to-be-empty", "unsaid", "not-here"],
)
def test_a_module_sees_a_length_where_there_is_a_body(
    headers: list[tuple[bytes, bytes]], body: bytes | None, length: str | None
) -> None:
    environ = request(*headers, body=body).module_environ(with_cookies=True)

    assert environ.get("CONTENT_LENGTH") == length
    assert environ["wsgi.input"].read() == (body or b"")


def test_a_module_sees_what_a_proxy_says_once_about_the_caller() -> None:
    said = [(b"x-auth-user", b"alice"), (b"x-auth-groups", b"a"), (b"x-auth-groups", b"b"), (b"x_auth_mail", b"m")]

    environ = request(identity_headers=said).module_environ(with_cookies=True)

    assert environ["HTTP_X_AUTH_USER"] == "alice"
    assert "HTTP_X_AUTH_GROUPS" not in environ
    assert "HTTP_X_AUTH_MAIL" not in environ


@pytest.mark.parametrize("name", [b"x-forwarded-for", b"x-real-ip"])
def test_a_module_sees_no_connection_where_a_header_may_have_chosen_it(name: bytes) -> None:
    asked = request((name, b"192.0.2.9, 10.0.0.1"))
    from_socket = request((name, b"192.0.2.9, 10.0.0.1"))
    from_socket.scope = {**from_socket.scope, "extensions": {FROM_SOCKET: True}}

    found = [each.module_environ(with_cookies=True)[MODULE_PEER] for each in (asked, from_socket)]

    assert found == ["", "10.0.0.1"]


def test_a_module_sees_no_connection_where_the_server_tells_none() -> None:
    asked = request()
    asked.scope = {"client": None}

    assert asked.module_environ(with_cookies=True)[MODULE_PEER] == ""


def test_a_backend_sees_the_connection_and_not_the_body() -> None:
    asked = request(LENGTH, (b"content-type", b"text/plain"), (b"cookie", b"a=1"), body=b"body", peer=SAID)

    environ = asked.environ(with_cookies=False)

    assert environ[PEER] is SAID
    assert environ["wsgi.input"].read() == b""
    assert (environ["CONTENT_TYPE"], environ["SCRIPT_NAME"]) == ("text/plain", "/air")
    for name in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH", "CONTENT_LENGTH", "HTTP_COOKIE", ONLY_ASKED_ABOUT):
        assert name not in environ
    assert environ[MODULE_ENVIRON]()["wsgi.input"].read() == b"body"
    assert "HTTP_COOKIE" not in environ[MODULE_ENVIRON]()


def test_a_module_sees_the_cookies_that_a_backend_sees() -> None:
    environ = request((b"cookie", b"a=1")).environ(with_cookies=True)

    assert environ["HTTP_COOKIE"] == environ[MODULE_ENVIRON]()["HTTP_COOKIE"] == "a=1"


def test_a_credential_that_is_only_asked_about_is_marked() -> None:
    assert request(only_asked_about=True).environ(with_cookies=True)[ONLY_ASKED_ABOUT] is True


@pytest.mark.parametrize(("scheme", "port"), [("http", "80"), ("https", "443")])
def test_a_host_without_a_port_has_the_port_of_its_scheme(scheme: str, port: str) -> None:
    environ = request(scheme=scheme).environ(with_cookies=True)

    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("gateway.example", port)
    assert (environ["wsgi.url_scheme"], environ["HTTP_HOST"]) == (scheme, "gateway.example")
    assert (environ["QUERY_STRING"], environ["SERVER_PROTOCOL"]) == ("a=1", "HTTP/1.1")


def key(authorization: str | None = "Bearer t", **changed: Any) -> bytes:
    headers = [] if authorization is None else [(b"authorization", authorization.encode())]
    acts_for = changed.pop("acts_for", "")
    asked = request(*headers, **changed)
    asked.intake.acts_for = acts_for
    return asked.shown.key()


def test_an_answer_is_remembered_for_the_credential_and_all_that_is_beside_it() -> None:
    keys = [
        key(),
        key("Bearer u"),
        key(acts_for="bob"),
        key(acts_for="carol"),
        key(peer=SAID),
        key(peer=Peer("10.0.0.1", (("x-user", "bob"),))),
        key(only_asked_about=True),
        key(only_asked_about=True, peer=SAID),
        key(acts_for="bob", peer=SAID),
    ]

    assert len(set(keys)) == len(keys)
    assert key() == key("bearer  t") == credential_key("BEARER t")
    assert key(acts_for="bob") == key("bearer t", acts_for="bob")


def test_what_a_request_shows_follows_its_headers_and_its_connection() -> None:
    asked = request((b"authorization", b"Bearer t"))
    first = asked.shown
    same = asked.shown
    asked.peer = SAID
    other_end = asked.shown
    asked.only_asked_about = True
    only_asked = asked.shown
    asked.intake = replace(asked.intake, authorization=b"Bearer u")

    assert first is same
    assert len({id(one) for one in (first, other_end, only_asked, asked.shown)}) == 4
    assert asked.shown.credential() == Bearer("u")


@pytest.mark.parametrize(
    ("value", "credential"),
    [
        (None, Absent()),
        ("Bearer t", Bearer("t")),
        ("Basic !!!", Unrecognised("Basic")),
        (" Token a b", Unrecognised("Token")),
        ("Bearer a b", Unrecognised("Bearer")),
    ],
)
def test_a_module_may_read_a_value_with_a_grammar_of_its_own(value: str | None, credential: object) -> None:
    shown = Shown(value)
    parsed_before = _credential_or_error(shown)
    shown.allow_any_spelling()

    assert parse_in_any_spelling(value) == shown.credential() == credential
    assert parsed_before in (credential, MalformedCredentials)


def _credential_or_error(shown: Shown) -> object:
    try:
        return shown.credential()
    except MalformedCredentials:
        return MalformedCredentials


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("Basic", MalformedCredentials),
        ("Basic  ", MalformedCredentials),
        ("=x y", MalformedCredentials),
        ("Basic !\x01", MalformedCredentials),
        ("Bearer a, Bearer b", AmbiguousCredentials),
    ],
)
def test_what_no_module_could_read_stays_refused(value: str, error: type[Exception]) -> None:
    shown = Shown(value)
    for _ in range(2):
        with pytest.raises(error):
            shown.credential()
        shown.allow_any_spelling()

    with pytest.raises(error):
        parse_in_any_spelling(value)


def test_what_is_parsed_already_is_not_parsed_in_another_spelling() -> None:
    shown = Shown("Basic !!!")

    shown.allow_any_spelling()

    with pytest.raises(MalformedCredentials):
        shown.credential()


async def test_a_held_body_is_at_hand_once_it_was_read() -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": b"body", "more_body": False}

    held = HeldBody(receive, "192.0.2.1", BodyBudget(10), 5)
    asked = request(LENGTH, (b"cookie", b"a=1"), body=None, held=held)
    presented = asked.presented()
    before = presented.body_at_hand()
    assert presented.hold_body is not None

    await presented.hold_body()

    assert (before, presented.body_at_hand(), asked.body) == (False, True, b"body")
    assert (presented.method, presented.path, presented.client, presented.cookies) == (
        "POST",
        "/api/x",
        "192.0.2.1",
        True,
    )


def test_a_body_that_does_not_come_here_cannot_be_held() -> None:
    presented = request(body=None).presented()

    assert (presented.hold_body, presented.body_at_hand(), presented.cookies) == (None, False, False)


async def test_a_body_that_was_forwarded_cannot_be_held_any_more() -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": b"body", "more_body": True}

    held = HeldBody(receive, "192.0.2.1", BodyBudget(10), 5)
    await held()

    with pytest.raises(BackendUnavailable, match="read already"):
        await held.hold()
