"""Many requests at once: bounds on guesses hold, and work that anybody can ask for holds nothing else up."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast
from urllib.parse import urlencode

import pytest

from compat_auth.api.oauth.introspection import TokenPages
from compat_auth.api.oauth.token_endpoint import PATHS, TokenEndpoint
from compat_auth.composition.gate import GateParts
from compat_auth.credentials import Bearer, Credential
from compat_auth.crypto.personal_token_format import make_text
from compat_auth.errors import TooManyRequests
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.middleware import Gate, Page
from compat_auth.identity import Identity, Token
from compat_auth.outcome import Accept, Outcome, Reject
from compat_auth.personal_tokens.throttling import TokenThrottle
from compat_auth.tokens.issued import IssuedTokens
from compat_auth.web.throttling import TokenAttempts
from support.stand_ins import Behind, Sent, accepting, basic, call, http_scope, make_decider, make_gate, scripted

FORM = (b"content-type", b"application/x-www-form-urlencoded")
JSON = (b"content-type", b"application/json")
ENOUGH = 20


class SlowPasswords:
    """Takes a while for each password, and counts them; only one is right."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.looked_at = 0

    def __call__(self, credential: Credential) -> Outcome:
        with self.lock:
            self.looked_at += 1
        time.sleep(0.01)
        if getattr(credential, "password", getattr(credential, "token", "")) == "wonder":
            return Accept(Identity("alice", "first"))
        return Reject("wrong")


class Given:
    """The upstream's tokens: none is known, and the upstream is as slow as the test wants."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.told = 0

    def revoke(self, _token: str) -> bool:
        return False

    def find(self, _token: str) -> None:
        return None

    def revoke_upstream(self, _token: str) -> bool:
        self.told += 1
        assert self.go.wait(10)
        return False

    def may_be_valid(self, _token: str) -> bool:
        return False


@pytest.fixture
def given() -> Iterator[Given]:
    given = Given()
    yield given
    given.go.set()


def gate_of(decider: Decider, given: Given) -> Gate:

    def issue(*_: Any) -> Token:
        return Token("jwt", 4_000_000_000)

    def pages(parts: GateParts) -> dict[str, Page]:
        oauth = TokenPages(
            cast("IssuedTokens", given),
            TokenAttempts(ENOUGH, 100),
            None,
            decider=decider,
            identification=parts.identification,
            authorization=parts.authorization,
            refusals=parts.refusals,
        )
        instance = TokenEndpoint(
            parts.endpoint(), issue, TokenAttempts(ENOUGH, 1000), "apache-airflow", 400, words_of_airflow=False
        )
        return {**oauth.pages(), **dict.fromkeys(PATHS, instance)}

    return make_gate(Behind(), decider, pages=pages)


async def statuses(count: int, ask: Callable[[int], Any]) -> Counter[int]:
    sent: list[Sent] = await asyncio.gather(*(ask(number) for number in range(count)))
    return Counter(one.status for one in sent)


@pytest.mark.parametrize("client", ["192.0.2.{0}", "2001:db8::{0:x}", "::ffff:192.0.2.1"], ids=["v4", "v6", "mapped"])
async def test_of_guesses_at_once_for_a_token_no_more_are_looked_at_than_one_after_the_other(
    client: str, given: Given
) -> None:
    passwords = SlowPasswords()
    gate = gate_of(make_decider(scripted("first", passwords)), given)

    def guess(number: int) -> Any:
        body = json.dumps({"username": "alice", "password": f"guess{number}"}).encode()
        address = client.format(number if ":" in client else 1)
        return call(gate, http_scope(b"/auth/token", [JSON], method="POST", client=address), body)

    found = await statuses(150, guess)

    assert passwords.looked_at == ENOUGH
    assert found == {401: ENOUGH, 429: 150 - ENOUGH}


async def test_right_logins_at_once_all_get_their_token(given: Given) -> None:
    gate = gate_of(make_decider(scripted("first", SlowPasswords())), given)

    def log_in(number: int) -> Any:
        body = json.dumps({"username": f"user{number}", "password": "wonder"}).encode()
        return call(gate, http_scope(b"/auth/token", [JSON], method="POST"), body)

    assert await statuses(100, log_in) == {201: 100}


async def test_of_guesses_at_once_by_introspection_no_more_are_looked_at(given: Given) -> None:
    passwords = SlowPasswords()
    gate = gate_of(make_decider(scripted("first", passwords)), given)

    def guess(number: int) -> Any:
        headers = [FORM, (b"authorization", basic("alice", f"guess{number}").encode())]
        return call(gate, http_scope(b"/compat-auth/introspect", headers, method="POST"), b"token=x")

    found = await statuses(150, guess)

    assert passwords.looked_at == ENOUGH
    assert found == {401: ENOUGH, 429: 150 - ENOUGH}


async def test_of_guesses_at_once_by_revocation_no_more_are_looked_at(given: Given) -> None:
    given.go.set()
    tokens = SlowPasswords()
    gate = gate_of(make_decider(scripted("first", tokens, takes=frozenset({Bearer}))), given)

    def guess(number: int) -> Any:
        body = urlencode({"token": f"guess{number}"}).encode()
        return call(gate, http_scope(b"/compat-auth/revoke", [FORM], method="POST"), body)

    found = await statuses(150, guess)

    assert tokens.looked_at == given.told == ENOUGH
    assert found == {200: ENOUGH, 429: 150 - ENOUGH}


def test_of_personal_tokens_at_once_no_more_are_looked_at() -> None:
    guesses, looked_at = TokenThrottle(5), list[str]()

    def guess(_number: int) -> int:
        text = make_text()
        try:
            with guesses.check(text, "2001:db8::1") as look:
                looked_at.append(text.id)
                time.sleep(0.01)
                look.is_guess = True
        except TooManyRequests:
            return 429
        return 401

    with ThreadPoolExecutor(40) as threads:
        answers = list(threads.map(guess, range(40)))

    assert len(looked_at) == answers.count(401) == 5


async def test_revocations_that_wait_for_the_upstream_hold_no_other_request_up(given: Given) -> None:
    gate = gate_of(make_decider(accepting(), threads=4), given)

    def revoke(number: int) -> Any:
        body = urlencode({"token": f"a.b.{number}"}).encode()
        scope = http_scope(b"/compat-auth/revoke", [FORM], method="POST", client=f"192.0.{number}.1")
        return call(gate, scope, body)

    waiting = [asyncio.ensure_future(revoke(number)) for number in range(32)]
    await asyncio.sleep(0.1)
    started = time.monotonic()
    answer = await call(gate, http_scope(headers=[(b"authorization", basic("alice", "x").encode())]))
    took_s = time.monotonic() - started
    given.go.set()
    revoked = await asyncio.gather(*waiting)

    assert answer.status == 200
    assert took_s < 0.5
    assert {one.status for one in revoked} == {200}


async def test_addresses_of_one_ipv6_customer_are_one_caller_in_line(given: Given) -> None:
    held = threading.Event()

    def says(_credential: Credential) -> Outcome:
        assert held.wait(10)
        return Accept(Identity("alice", "first"))

    decider = make_decider(scripted("first", says, alike=False), threads=4)
    gate = gate_of(decider, given)

    def ask(client: str) -> Any:
        headers = [(b"authorization", basic("alice", client).encode())]
        return asyncio.ensure_future(call(gate, http_scope(headers=headers, client=client)))

    waiting = [ask(f"2001:db8::{number:x}") for number in range(32)]
    await asyncio.sleep(0.1)
    lines = dict(decider.lanes.chain.turns._lines)
    held.set()
    await asyncio.gather(*waiting)

    assert list(lines) == ["2001:db8::/64"]
