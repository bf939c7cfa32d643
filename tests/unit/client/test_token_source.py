"""Tokens are got, kept and renewed; no network here."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import jwt
import pytest

from compat_auth.client import BearerToken, Password
from compat_auth.client.login import LoginAnswer, LoginRequest, read_answer
from compat_auth.client.origin import parse_server
from compat_auth.client.token_source import PAUSE_AFTER_REFUSAL_S, TOO_YOUNG_TO_RENEW_S, TokenSource
from compat_auth.errors import LoginRefused, LoginUnavailable

SERVER = parse_server("https://gw.example.com")
SECRET = "a secret for tests that is long enough to sign"
PASSWORD = "pässwörd"
NOON = "Mon, 01 Jan 2024 12:00:00 GMT"
NOON_S = 1704110400.0


@dataclass
class FakeTokenEndpoint:
    """Answers logins from a list, the last one again and again; its clock is the test's."""

    moment: float = NOON_S
    lifetime_s: int = 1000
    status: int = 201
    headers: dict[str, str] = field(default_factory=dict[str, str])
    asked: list[LoginRequest] = field(default_factory=list[LoginRequest])
    fails: bool = False

    def send(self, request: LoginRequest) -> LoginAnswer:
        self.asked.append(request)
        if self.fails:
            raise LoginUnavailable("no answer")
        token = jwt.encode({"exp": int(self.moment) + self.lifetime_s, "jti": str(len(self.asked))}, SECRET)
        return LoginAnswer(self.status, self.headers, json.dumps({"access_token": token}).encode())

    def keeper(self) -> TokenSource:
        return TokenSource(SERVER, Password("alice", PASSWORD), self.send, now=lambda: self.moment)


@pytest.fixture
def endpoint() -> FakeTokenEndpoint:
    return FakeTokenEndpoint()


def test_one_login_serves_until_shortly_before_the_end(endpoint: FakeTokenEndpoint) -> None:
    keeper = endpoint.keeper()
    first = keeper.obtain()
    endpoint.moment += endpoint.lifetime_s - 61

    second = keeper.obtain()
    endpoint.moment += 2
    third = keeper.obtain()

    assert (first == second, first == third) == (True, False)
    assert len(endpoint.asked) == 2


def test_a_short_token_is_not_renewed_at_each_request(endpoint: FakeTokenEndpoint) -> None:
    endpoint.lifetime_s = 20
    keeper = endpoint.keeper()

    tokens = {keeper.obtain() for _ in range(5)}

    assert len(tokens) == len(endpoint.asked) == 1


@pytest.mark.parametrize("wrong_by_s", [-86400, 86400])
def test_a_client_with_a_wrong_clock_goes_by_the_server_s(endpoint: FakeTokenEndpoint, wrong_by_s: int) -> None:
    endpoint.headers["date"] = NOON
    keeper = TokenSource(SERVER, Password("alice", PASSWORD), endpoint.send, now=lambda: endpoint.moment + wrong_by_s)
    keeper.obtain()
    endpoint.moment += 500
    keeper.obtain()
    assert len(endpoint.asked) == 1

    endpoint.moment += 500
    keeper.obtain()

    assert len(endpoint.asked) == 2


@pytest.mark.parametrize(
    ("body", "lifetime_s"),
    [
        pytest.param({"access_token": "opaque"}, None, id="opaque"),
        pytest.param({"access_token": "opaque", "expires_in": 60}, 60, id="says-so"),
        pytest.param({"access_token": "a.b.c"}, None, id="looks-like-a-jwt"),
        pytest.param({"access_token": jwt.encode({"exp": True}, SECRET)}, None, id="no-number"),
        pytest.param({"access_token": jwt.encode({"exp": int(NOON_S) - 9}, SECRET)}, 0, id="has-ended"),
        pytest.param({"access_token": jwt.encode({"exp": int(NOON_S) + 9}, SECRET)}, 9, id="jwt"),
    ],
)
def test_the_lifetime_is_what_the_answer_says(body: dict[str, object], lifetime_s: float | None) -> None:
    lease = read_answer(SERVER, LoginAnswer(200, {}, json.dumps(body).encode()), now=NOON_S)

    assert lease.lifetime_s == lifetime_s


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"access_token": ""}',
        b'{"access_token": 1}',
        b'{"access_token": "a\\r\\nX-Admin: 1"}',
        b'{"access_token": "a", "access_token": "b"}',
        b"<html>",
        json.dumps({"access_token": "a" * 16385}).encode(),
    ],
)
def test_an_answer_without_a_token_that_fits_into_a_header_is_no_token(body: bytes) -> None:
    with pytest.raises(LoginUnavailable, match="access_token"):
        read_answer(SERVER, LoginAnswer(201, {}, body), now=NOON_S)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (302, "redirect"),
        (308, "redirect"),
        (404, "gateway or an Airflow 3"),
        (429, "in 7 s"),
        (503, "in 7 s"),
        (500, "500"),
    ],
)
def test_a_login_that_cannot_be_says_what_to_do(status: int, message: str) -> None:
    with pytest.raises(LoginUnavailable, match=message):
        read_answer(SERVER, LoginAnswer(status, {"retry-after": "7"}, b"{}"), now=NOON_S)


def test_many_threads_log_in_once(endpoint: FakeTokenEndpoint) -> None:
    keeper = endpoint.keeper()
    together = threading.Barrier(16, timeout=60)

    def ask() -> str:
        together.wait()
        return keeper.obtain()

    with ThreadPoolExecutor(16) as pool:
        tokens = {call.result() for call in [pool.submit(ask) for _ in range(16)]}

    assert (len(tokens), len(endpoint.asked)) == (1, 1)


def test_many_threads_whose_token_is_refused_log_in_once_more(endpoint: FakeTokenEndpoint) -> None:
    keeper = endpoint.keeper()
    refused = keeper.obtain()
    endpoint.moment += TOO_YOUNG_TO_RENEW_S
    together = threading.Barrier(16, timeout=60)

    def ask() -> str | None:
        together.wait()
        return keeper.renew(refused)

    with ThreadPoolExecutor(16) as pool:
        tokens = {call.result() for call in [pool.submit(ask) for _ in range(16)]}

    assert (len(tokens), len(endpoint.asked)) == (1, 2)
    assert refused not in tokens


def test_a_new_token_that_is_refused_is_not_renewed(endpoint: FakeTokenEndpoint) -> None:
    keeper = endpoint.keeper()
    refused = keeper.obtain()

    renewed = keeper.renew(refused)

    assert renewed is None
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_password_is_not_tried_again_and_again(endpoint: FakeTokenEndpoint, status: int) -> None:
    endpoint.status = status
    keeper = endpoint.keeper()

    for _ in range(5):
        with pytest.raises(LoginRefused, match=str(status)):
            keeper.obtain()

    assert len(endpoint.asked) == 1


def test_a_refused_credential_gets_another_chance_after_a_minute(endpoint: FakeTokenEndpoint) -> None:
    endpoint.status = 401
    keeper = endpoint.keeper()
    with pytest.raises(LoginRefused):
        keeper.obtain()
    endpoint.status = 201
    endpoint.moment += PAUSE_AFTER_REFUSAL_S

    token = keeper.obtain()

    assert token


def test_a_token_that_is_still_good_is_used_while_it_cannot_be_renewed(endpoint: FakeTokenEndpoint) -> None:
    keeper = endpoint.keeper()
    first = keeper.obtain()
    endpoint.moment += endpoint.lifetime_s - 30
    endpoint.fails = True

    second, third = keeper.obtain(), keeper.obtain()

    assert (first, first) == (second, third)
    assert len(endpoint.asked) == 2


def test_a_token_that_has_ended_is_not_used_though_it_cannot_be_renewed(endpoint: FakeTokenEndpoint) -> None:
    keeper = endpoint.keeper()
    keeper.obtain()
    endpoint.moment += endpoint.lifetime_s
    endpoint.fails = True

    with pytest.raises(LoginUnavailable):
        keeper.obtain()


def test_a_token_that_was_refused_is_not_used_though_it_cannot_be_renewed(endpoint: FakeTokenEndpoint) -> None:
    keeper = endpoint.keeper()
    refused = keeper.obtain()
    endpoint.moment += TOO_YOUNG_TO_RENEW_S
    endpoint.fails = True

    with pytest.raises(LoginUnavailable):
        keeper.renew(refused)
    with pytest.raises(LoginUnavailable):
        keeper.obtain()


def test_the_password_goes_as_json_and_stays_out_of_every_repr(endpoint: FakeTokenEndpoint) -> None:
    keeper = endpoint.keeper()
    token = keeper.obtain()

    (request,) = endpoint.asked
    shown = repr((Password("alice", PASSWORD), request, keeper._kept, BearerToken(token)))
    assert json.loads(request.body) == {"username": "alice", "password": PASSWORD}
    assert request.url == "https://gw.example.com/auth/token"
    assert [secret for secret in (PASSWORD, json.dumps(PASSWORD)[1:-1], token) if secret in shown] == []


def test_a_bearer_token_may_come_fresh_from_a_function(endpoint: FakeTokenEndpoint) -> None:
    fresh = iter(["first", "second"])
    keeper = TokenSource(SERVER, BearerToken(lambda: next(fresh)), endpoint.send, now=lambda: endpoint.moment)
    keeper.obtain()
    endpoint.moment += endpoint.lifetime_s

    keeper.obtain()

    assert [request.headers["Authorization"] for request in endpoint.asked] == ["Bearer first", "Bearer second"]


def test_a_personal_token_that_was_replaced_is_read_again_after_a_401(endpoint: FakeTokenEndpoint) -> None:
    fresh = iter(["cat_pat_first", "cat_pat_second"])
    keeper = TokenSource(SERVER, BearerToken(lambda: next(fresh)), endpoint.send, now=lambda: endpoint.moment)
    first = keeper.obtain()
    endpoint.moment += 3600

    second = keeper.renew(first)

    assert (first, second, endpoint.asked) == ("cat_pat_first", "cat_pat_second", [])


@pytest.mark.parametrize("value", ["", "a b", "a\r\nX-Admin: 1", "tökén"])
def test_a_token_that_does_not_fit_into_a_header_is_not_sent(endpoint: FakeTokenEndpoint, value: str) -> None:
    keeper = TokenSource(SERVER, BearerToken(value), endpoint.send)

    with pytest.raises(LoginRefused) as refusal:
        keeper.obtain()

    assert endpoint.asked == []
    assert value == "" or value not in str(refusal.value)
