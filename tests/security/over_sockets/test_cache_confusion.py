"""What is remembered belongs to exactly one credential, and ends in time."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import lru_cache
from typing import ClassVar

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compat_auth.authn.chain import Chain
from compat_auth.backend import Backend, CredentialKind
from compat_auth.credentials import Basic, Credential
from compat_auth.errors import CompatAuthError
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.decision import Granted, Refused
from compat_auth.http.request import Presented, Shown
from compat_auth.identity import Identity, Token
from compat_auth.outcome import Accept, Outcome, Reject
from support.security.gateway import USERS, Gateway, basic
from support.stand_ins import Issuing

PASSWORDS = {"alice": "secret", "bob": "secret", "Alice": "Secret", "alice2": "secret "}


class Recording(Backend):
    """Knows four users with confusable names and passwords."""

    name = "recording"
    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Basic})

    def __init__(self) -> None:
        self.asked = 0
        self.passwords = dict(PASSWORDS)
        self.reusable_s = 60.0

    def authenticate(self, credential: Credential) -> Outcome:
        self.asked += 1
        assert isinstance(credential, Basic)
        if self.passwords.get(credential.username) != credential.password:
            return Reject("wrong")
        return Accept(Identity(credential.username, self.name), reusable_s=self.reusable_s)


class Bench:
    """A decider with a loop of its own, and tokens that live as long as told."""

    def __init__(self) -> None:
        self.backend = Recording()
        self.ttl_s = 600.0
        app = Flask("bench")
        self.decider = Decider(Chain((self.backend,)), app, Issuing(self._obtain), threads=2)
        self.loop = asyncio.new_event_loop()

    def _obtain(self, identity: Identity, _credential: Credential, _yielded: Token | None, _fresh: bool) -> Token:
        return Token(f"for-{identity.username}", int(time.time() + self.ttl_s))

    def ask(self, authorization: bytes) -> str:
        """Return whom a value is, "refused", or the name of an error."""
        presented = Presented(Shown(authorization.decode()), False, "GET", "/api/", "127.0.0.1", lambda _: {
            "REQUEST_METHOD": "GET", "SERVER_NAME": "x", "SERVER_PORT": "80", "wsgi.url_scheme": "http", "PATH_INFO": "/",
        })  # fmt: skip

        async def decide() -> str:
            granted = self.decider.recall(presented.shown, lambda: presented)
            try:
                decision = granted or await self.decider.decide(presented)
            except CompatAuthError as error:
                return type(error).__name__
            if isinstance(decision, Granted):
                assert decision.bearer == f"Bearer for-{decision.identity.username}".encode()
                return decision.identity.username
            return "refused" if isinstance(decision, Refused) else "unclaimed"

        return self.loop.run_until_complete(decide())

    def close(self) -> None:
        self.decider.close()
        self.loop.close()


@pytest.fixture
def bench() -> Generator[Bench]:
    with closing(Bench()) as bench:
        yield bench


def pair(username: str, password: str) -> bytes:
    return base64.b64encode(f"{username}:{password}".encode())


def spell(scheme: bytes, blanks: bytes, encoded: bytes, padding: bytes, tail: bytes) -> bytes:
    return scheme + blanks + encoded.rstrip(b"=") + padding + tail


confusable = st.builds(
    spell,
    st.sampled_from([b"Basic", b"basic", b"BASIC", b"Bearer", b"Basi"]),
    st.sampled_from([b" ", b"  ", b"\t", b""]),
    st.builds(pair, st.sampled_from([*PASSWORDS, "alice ", ""]), st.sampled_from(["secret", "Secret", "secret ", ""])),
    st.sampled_from([b"", b"=", b"==", b"==="]),
    st.sampled_from([b"", b" ", b",", b"\t"]),
)


@lru_cache
def alone(value: bytes) -> str:
    """Return the answer where nothing else was ever asked."""
    with closing(Bench()) as cold:
        return cold.ask(value)


@given(values=st.lists(confusable, min_size=2, max_size=12))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_near_identical_credentials_never_share_an_answer(values: list[bytes]) -> None:
    with closing(Bench()) as warm:
        answers = [warm.ask(value) for value in (*values, *values)]

    assert answers == [alone(value) for value in (*values, *values)]


def test_a_refused_password_is_never_remembered_as_accepted(bench: Bench) -> None:
    wrong, right = b"Basic " + pair("alice", "wrong"), b"Basic " + pair("alice", "secret")

    answers = [bench.ask(value) for value in (wrong, right, wrong, right, wrong)]

    assert answers == ["refused", "alice", "refused", "alice", "refused"]


def test_a_grant_does_not_outlive_its_token(bench: Bench) -> None:
    bench.ttl_s = 11.0

    bench.ask(b"Basic " + pair("alice", "secret"))
    first = bench.backend.asked
    time.sleep(1.3)
    bench.ask(b"Basic " + pair("alice", "secret"))

    # The token's last ten seconds are left for the request that carries it.
    assert (first, bench.backend.asked) == (1, 2)


@pytest.mark.parametrize(("reusable_s", "ttl_s"), [(0.0, 600.0), (60.0, 10.0), (60.0, -5.0), (-1.0, 600.0)])
def test_what_must_not_be_reused_is_checked_each_time(bench: Bench, reusable_s: float, ttl_s: float) -> None:
    bench.backend.reusable_s, bench.ttl_s = reusable_s, ttl_s

    for _ in range(3):
        bench.ask(b"Basic " + pair("alice", "secret"))

    assert bench.backend.asked == 3


def test_a_changed_password_closes_the_door_when_its_time_is_over(bench: Bench) -> None:
    bench.backend.reusable_s = 0.5
    value = b"Basic " + pair("alice", "secret")

    before = bench.ask(value)
    bench.backend.passwords["alice"] = "another"
    time.sleep(0.6)
    after = bench.ask(value)

    assert (before, after) == ("alice", "refused")


def test_mixed_users_at_once_each_arrive_as_themselves(gateway: Gateway) -> None:
    random.seed(1)
    jobs = [(random.choice([*USERS]), random.random() < 0.2) for _ in range(600)]  # noqa: S311  # not a secret

    def call(job: tuple[int, tuple[str, bool]]) -> int:
        number, (name, wrong) = job
        password = USERS[random.choice([other for other in USERS if other != name])] if wrong else None  # noqa: S311
        return gateway.ask(f"/api/{number}", (b"Authorization", basic(name, password))).status

    with ThreadPoolExecutor(200) as pool:
        statuses = list(pool.map(call, enumerate(jobs)))

    arrived = gateway.upstream.take()
    assert statuses == [401 if wrong else 200 for _, wrong in jobs]
    assert len(arrived) == statuses.count(200)
    for one in arrived:
        assert gateway.subject(one) == jobs[int(one.target.removeprefix(b"/api/"))][0]


def test_one_connection_that_changes_its_user_has_one_identity_at_a_time(gateway: Gateway) -> None:
    names = ["alice", "zoë", "alice", "user1", "zoë"]

    with gateway.connect() as connection:
        for name in names:
            connection.sendall(b"GET /api/x HTTP/1.1\r\nHost: gateway\r\nAuthorization: " + basic(name) + b"\r\n\r\n")
            received = b""
            while not received.endswith(b"hello"):
                received += connection.recv(65536)

    assert [gateway.subject(one) for one in gateway.upstream.take()] == names


def test_the_identity_of_whoami_is_that_of_the_credential(gateway: Gateway) -> None:
    names = ["alice", "zoë", "user2"] * 3

    answers = [gateway.ask("/compat-auth/whoami", (b"Authorization", basic(name))) for name in names]

    assert [json.loads(answer.rest)["username"] for answer in answers] == names
