"""Whoever asks who a caller is asks in one way: a view of an app, our API and whoami, behind the gate and without one."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bcrypt
import flask
import pytest

from compat_auth.app import Gateway
from compat_auth.authn.revocation_events import RevocationEvent, revocation_events_of
from compat_auth.backend import Backend
from compat_auth.config import parse_settings
from compat_auth.credentials import Credential
from compat_auth.errors import BackendUnavailable, TooManyRequests
from compat_auth.extension import CompatAuth, current_identity, requires_authentication
from compat_auth.outcome import Outcome
from compat_auth_backends.basic_auth import BasicAuthBackend
from support.stand_ins import basic, call, http_scope

API, WHOAMI, VIEW = "/compat-auth/api/personal-tokens", "/compat-auth/whoami", "/view"
RIGHT, WRONG = basic("alice", "wonder"), basic("alice", "wrong")
PLACES = [("gate", API), ("gate", WHOAMI), ("plain", API), ("plain", WHOAMI), ("plain", VIEW)]
EVERYWHERE = pytest.mark.parametrize(("house", "path"), PLACES, ids=["-".join(place) for place in PLACES])
PLAIN = pytest.mark.parametrize(("house", "path"), PLACES[2:], ids=[path for _, path in PLACES[2:]])


@dataclass
class Checks:
    """How often the backend was asked, and what it does before it answers."""

    number: int = 0
    before: Callable[[], object] = field(default=lambda: None)


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Checks:
    counted, authenticate = Checks(), BasicAuthBackend.authenticate

    def ask(self: BasicAuthBackend, credential: Credential) -> Outcome:
        counted.number += 1
        counted.before()
        return authenticate(self, credential)

    monkeypatch.setattr(BasicAuthBackend, "authenticate", ask)
    return counted


class House:
    """A gateway, or a Flask app that has no gate in front of it."""

    def __init__(self, kind: str, content: dict[str, Any]) -> None:
        settings = parse_settings(content, origin="test")
        self._gateway = Gateway(settings) if kind == "gate" else None
        self.app = flask.Flask("plain")
        if kind == "plain":
            CompatAuth(self.app, settings)
            self.app.add_url_rule(
                VIEW, "view", requires_authentication(lambda: {"username": current_identity.username})
            )

    async def ask(self, path: str, authorization: str) -> int:
        return (await self.answer(path, authorization))[0]

    async def answer(self, path: str, authorization: str) -> tuple[int, str]:
        """Return status and Retry-After."""
        if self._gateway is not None:
            headers = [(b"authorization", authorization.encode())]
            sent = await call(self._gateway, http_scope(path.encode(), headers))
            return sent.status, b"".join(sent.values(b"retry-after")).decode()
        answer = await asyncio.to_thread(self.app.test_client().get, path, headers={"Authorization": authorization})
        return answer.status_code, answer.headers.get("Retry-After", "")


@pytest.fixture
def content(tmp_path: Path) -> dict[str, Any]:
    hashed = bcrypt.hashpw(b"wonder", bcrypt.gensalt(4)).decode()
    (tmp_path / "users").write_text(f"alice:{hashed}\n")
    (tmp_path / "users").chmod(0o600)
    return {
        "auth_backends": ["session", "basic_auth", "personal_token"],
        "database_url": f"sqlite:///{tmp_path / 'store.db'}",
        "session": {"secret": "s" * 32},
        "htpasswd": {"file": str(tmp_path / "users")},
        "basic_auth": {"directories": ["htpasswd"]},
        "upstream": {"url": "http://127.0.0.1:9", "profile": "generic"},
        "token": {"strategy": "shared_secret", "secret": "t" * 64, "audience": "x"},
    }


@pytest.fixture
def place(house: str, content: dict[str, Any]) -> House:
    return House(house, content)


@pytest.fixture
def results(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "compat_auth.audit")

    def read() -> list[str]:
        lines = [record.getMessage() for record in caplog.records if record.name == "compat_auth.audit"]
        return [json.loads(line)["result"] for line in lines]

    return read


Results = Callable[[], list[str]]


@EVERYWHERE
async def test_a_wrong_password_is_checked_each_time_and_leaves_a_line_each_time(
    place: House, path: str, checks: Checks, results: Results
) -> None:
    statuses = [await place.ask(path, WRONG) for _ in range(2)]

    assert statuses == [401, 401]
    assert (checks.number, results()) == (2, ["reject", "reject"])


@EVERYWHERE
@pytest.mark.parametrize("authorization", ["Basic !!!", "Basic YTpi, Basic YTpi"])
async def test_a_malformed_credential_leaves_one_line_and_nobody_is_asked(
    place: House, path: str, authorization: str, checks: Checks, results: Results
) -> None:
    status = await place.ask(path, authorization)

    assert status in (400, 401)
    assert (checks.number, results()) == (0, ["reject"])


@EVERYWHERE
async def test_a_source_that_is_down_is_503_with_one_line(
    place: House, path: str, checks: Checks, results: Results
) -> None:
    def down() -> None:
        raise BackendUnavailable("down")

    checks.before = down

    status, retry_after = await place.answer(path, RIGHT)

    assert (status, retry_after) == (503, "5")
    assert results() == ["unavailable"]


@EVERYWHERE
async def test_a_caller_who_guesses_too_often_is_429_with_one_line(
    place: House, path: str, checks: Checks, results: Results
) -> None:
    def throttle() -> None:
        raise TooManyRequests("too many guesses", 7)

    checks.before = throttle

    status, retry_after = await place.answer(path, WRONG)

    assert (status, retry_after) == (429, "7")
    assert results() == ["reject"]


@EVERYWHERE
async def test_a_right_password_is_checked_once(place: House, path: str, checks: Checks, results: Results) -> None:
    statuses = [await place.ask(path, RIGHT) for _ in range(4)]

    assert statuses == [200] * 4
    assert checks.number == 1
    assert set(results()) == {"accept"}


@EVERYWHERE
async def test_another_spelling_of_the_same_credential_is_remembered_and_another_credential_is_not(
    place: House, path: str, checks: Checks
) -> None:
    await place.ask(path, RIGHT)

    again, wrong = await place.ask(path, RIGHT.replace("Basic", "bAsIc")), await place.ask(path, WRONG)

    assert (again, wrong, checks.number) == (200, 401, 2)


@EVERYWHERE
async def test_nothing_is_remembered_where_the_operator_says_so(
    house: str, content: dict[str, Any], path: str, checks: Checks
) -> None:
    place = House(house, {**content, "basic_auth": {"directories": ["htpasswd"], "cache_ttl_s": 0}})

    statuses = [await place.ask(path, RIGHT) for _ in range(3)]

    assert (statuses, checks.number) == ([200] * 3, 3)


@EVERYWHERE
async def test_requests_that_come_together_wait_for_one_check(place: House, path: str, checks: Checks) -> None:
    checks.before = lambda: time.sleep(0.3)

    statuses = await asyncio.gather(*(place.ask(path, RIGHT) for _ in range(4)))

    assert (statuses, checks.number) == ([200] * 4, 1)


@EVERYWHERE
async def test_an_error_of_the_one_check_is_everybodys(place: House, path: str, checks: Checks) -> None:
    def down() -> None:
        time.sleep(0.3)
        raise BackendUnavailable("down")

    checks.before = down

    statuses = await asyncio.gather(*(place.ask(path, RIGHT) for _ in range(4)))

    assert (statuses, checks.number) == ([503] * 4, 1)


@pytest.mark.parametrize("first", [API, WHOAMI, VIEW])
async def test_the_places_of_one_app_share_what_they_remember(
    first: str, content: dict[str, Any], checks: Checks
) -> None:
    place = House("plain", content)
    await place.ask(first, RIGHT)

    statuses = [await place.ask(path, RIGHT) for path in (API, WHOAMI, VIEW)]

    assert (statuses, checks.number) == ([200] * 3, 1)


@PLAIN
async def test_without_a_gate_each_request_leaves_a_line(place: House, path: str, results: Results) -> None:
    for _ in range(3):
        await place.ask(path, RIGHT)

    assert results() == ["accept"] * 3


@PLAIN
@pytest.mark.parametrize(("username", "checked"), [("alice", 2), ("ALICE", 2), ("bob", 1)])
async def test_without_a_gate_too_what_is_revoked_is_forgotten_at_once(
    place: House, path: str, username: str, checked: int, checks: Checks
) -> None:
    await place.ask(path, RIGHT)

    revocation_events_of(place.app).announce(RevocationEvent(username))
    status = await place.ask(path, RIGHT)

    assert (status, checks.number) == (200, checked)


@PLAIN
async def test_without_a_gate_too_a_check_is_not_believed_that_a_revocation_overtakes(
    place: House, path: str, checks: Checks
) -> None:
    checks.before = lambda: revocation_events_of(place.app).announce(RevocationEvent("alice"))
    await place.ask(path, RIGHT)
    checks.before = lambda: None

    await place.ask(path, RIGHT)

    assert checks.number == 2


@PLAIN
async def test_without_a_gate_too_nobody_waits_for_a_check_that_began_before_a_revocation(
    place: House, path: str, checks: Checks
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        go_on.wait(10)

    checks.before = wait
    with ThreadPoolExecutor(1) as pool:
        client = place.app.test_client()
        early = pool.submit(client.get, path, headers={"Authorization": RIGHT})
        begun.wait(10)
        checks.before = lambda: None
        revocation_events_of(place.app).announce(RevocationEvent("alice"))

        late = await place.ask(path, RIGHT)
        go_on.set()

    assert (late, early.result().status_code, checks.number) == (200, 200, 2)


@PLAIN
async def test_without_a_gate_too_an_answer_that_depends_on_more_than_the_credential_is_asked_for_each_time(
    place: House, path: str, checks: Checks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backend, "depends_on_credential_only", False)

    for _ in range(2):
        await place.ask(path, RIGHT)

    assert checks.number == 2
