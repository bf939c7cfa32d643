"""Airflow's tasks as a gateway knows them: by the keys that it shares with Airflow, and by what Airflow's API says."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import jwt
import pytest

from compat_auth.app import create_app
from compat_auth.composition.tasks import UpstreamTasks
from compat_auth.config.loading import parse_settings
from compat_auth.errors import BackendUnavailable, ConfigError, InvalidToken
from compat_auth.tasks import TASK_AUDIENCE
from compat_auth.tokens.jose.jwt import SHARED_SECRET_KID, shared_secret_verifier

SECRET = "s" * 64
EXECUTION = "urn:airflow.apache.org:task"
NUMBER = "01a22b8d-dbe4-76eb-ae60-5cbe4d9b5b91"
RULE = {"dag": "sales.*", "account": "bot", "scopes": ["trigger"]}


def sign(audience: object = EXECUTION, *, secret: str = SECRET, **claims: Any) -> str:
    now = int(time.time())
    content = {"sub": NUMBER, "aud": audience, "iat": now, "nbf": now, "exp": now + 600} | claims
    return jwt.encode(content, secret, algorithm="HS512", headers={"kid": SHARED_SECRET_KID})


def row(number: str = NUMBER, **changed: Any) -> dict[str, Any]:
    return {
        "id": number,
        "dag_id": "sales.dåily",
        "task_id": "push",
        "dag_run_id": "manual__2026-11-30T08:00:00+00:00",
        "map_index": -1,
        "try_number": 1,
        "state": "running",
        "dag_version": {"bundle_name": "ours"},
        **changed,
    }


class Api:
    """Airflow's API, as a list of task instances."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = list(rows)
        self.asked: list[str] = []
        self.status = 200
        self.body: bytes | None = None

    def get(self, path: str) -> tuple[int, bytes]:
        self.asked.append(path)
        if self.status != 200 or self.body is not None:
            return self.status, self.body or b"{}"
        url = urlsplit(path)
        if url.path.endswith("/~/taskInstances"):
            query = parse_qs(url.query)
            start, count = int(query["offset"][0]), int(query["limit"][0])
            running = [found for found in self.rows if found["state"] == "running"]
            return 200, json.dumps({"task_instances": running[start : start + count]}).encode()
        at = [found for found in self.rows if found["task_id"] == url.path.split("/")[8]]
        return (200, json.dumps(at[0]).encode()) if at else (404, b"")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def tasks_of(api: Api, monkeypatch: pytest.MonkeyPatch | None = None, clock: Clock | None = None) -> UpstreamTasks:
    keys: Mapping[str, Any] = {SHARED_SECRET_KID: shared_secret_verifier(SECRET)}
    if monkeypatch is not None and clock is not None:
        monkeypatch.setattr(time, "monotonic", clock)
    return UpstreamTasks(lambda: keys, (EXECUTION,), None, api.get)


def test_the_tokens_of_airflow_and_of_the_plugin_are_verified() -> None:
    tasks = tasks_of(Api())

    execution = tasks.read(sign(jti="a", scope="execution"))
    own = tasks.read(sign(TASK_AUDIENCE, jti="b", try_number=2))

    assert (execution.instance_id, execution.token_id, execution.try_number) == (NUMBER, "a", None)
    assert (own.instance_id, own.token_id, own.try_number) == (NUMBER, "b", 2)


@pytest.mark.parametrize(
    "token",
    [
        sign(secret="x" * 64),
        sign("apache-airflow"),
        sign(scope="workload"),
        sign(scope="callback"),
        sign(sub="admin"),
        sign(sub=""),
        sign(exp=1),
        sign(TASK_AUDIENCE),
        sign(TASK_AUDIENCE, try_number=True),
        sign([EXECUTION, TASK_AUDIENCE]),
        "a.b.c",
    ],
)
def test_any_other_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidToken):
        tasks_of(Api()).read(token)


def test_a_task_is_found_among_those_that_run_and_then_at_its_own_place(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api(*(row(str(uuid4()), task_id="x") for _ in range(230)), row())
    clock = Clock()
    tasks = tasks_of(api, monkeypatch, clock)

    found = tasks.find(NUMBER)
    at_once = tasks.find(NUMBER)
    clock.now += 1.1
    api.rows[-1]["state"] = "success"
    later = tasks.find(NUMBER)

    assert found is not None
    assert found == at_once
    assert (found.dag_id, found.bundle, found.state) == ("sales.dåily", "ours", "running")
    assert later is not None
    assert later.state == "success"
    assert [path.partition("?")[0] for path in api.asked] == [
        *["/api/v2/dags/~/dagRuns/~/taskInstances"] * 3,
        "/api/v2/dags/sales.d%C3%A5ily/dagRuns/manual__2026-11-30T08%3A00%3A00%2B00%3A00/taskInstances/push",
    ]


def test_the_next_try_at_the_same_place_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    api, clock = Api(row()), Clock()
    tasks = tasks_of(api, monkeypatch, clock)
    assert tasks.find(NUMBER) is not None

    api.rows[0] = row(str(uuid4()), try_number=2)
    clock.now += 1.1

    assert tasks.find(NUMBER) is None


def test_a_mapped_task_has_its_own_place(monkeypatch: pytest.MonkeyPatch) -> None:
    api, clock = Api(row(map_index=3)), Clock()
    tasks = tasks_of(api, monkeypatch, clock)
    tasks.find(NUMBER)
    clock.now += 1.1

    tasks.find(NUMBER)

    assert api.asked[-1].endswith("/taskInstances/push/3")


def test_an_unknown_task_is_nobody_s_and_not_asked_about_again_at_once() -> None:
    api = Api(row())
    tasks = tasks_of(api)

    assert [tasks.find(str(UNKNOWN)) for _ in range(3)] == [None] * 3
    assert len(api.asked) == 1


UNKNOWN = uuid4()


@pytest.mark.parametrize(
    ("status", "body"),
    [(403, b""), (500, b""), (200, b"<html>"), (200, b"[]"), (200, b"{}"), (200, b'{"task_instances": 1}')],
)
def test_an_answer_that_is_none_is_not_a_no(status: int, body: bytes) -> None:
    api = Api()
    api.status, api.body = status, body

    with pytest.raises(BackendUnavailable):
        tasks_of(api).find(NUMBER)


def test_a_task_in_another_form_is_not_guessed_at() -> None:
    with pytest.raises(BackendUnavailable, match="another form"):
        tasks_of(Api(row(map_index=None))).find(NUMBER)


def test_too_many_running_tasks_are_an_outage_and_no_refusal() -> None:
    with pytest.raises(BackendUnavailable, match="more than 2000 tasks run"):
        tasks_of(Api(*(row(str(uuid4())) for _ in range(2100)))).find(NUMBER)


@pytest.mark.parametrize(
    ("token", "state_username", "complaint"),
    [
        ({"strategy": "exchange"}, "viewer", "verifies tasks' tokens with the keys"),
        ({"strategy": "shared_secret", "secret": SECRET}, "", "state_username: missing; name a user"),
    ],
)
def test_a_gateway_that_cannot_know_tasks_does_not_start(
    token: dict[str, str], state_username: str, complaint: str
) -> None:
    content = {
        "auth_backends": ["airflow_task"],
        "upstream": {"url": "http://127.0.0.1:9", "profile": "airflow-simple"},
        "token": token,
        "airflow_task": {"rules": [RULE], "state_username": state_username},
    }

    with pytest.raises(ConfigError, match=complaint):
        create_app(parse_settings(content, origin="test"))
