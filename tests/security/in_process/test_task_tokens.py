"""Tasks that want more than their rule says: other tasks' tokens, ended and made-up ones, other paths, other DAG names."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode
from uuid import uuid4

import jwt
import pytest

from compat_auth.airflow.composition import compose
from compat_auth.http.asgi import ASGIApp
from compat_auth.store.migration import open_store
from compat_auth.store.tables.role_accounts import RoleAccount, RoleAccountRows
from compat_auth.tasks import TASK_AUDIENCE
from support.airflow_stand_ins import Conf, SigningAuthManager, activate
from support.airflow_task_stand_ins import EXECUTION, SECRET, Tasks, install, sign
from support.stand_ins import Behind, Sent, basic, call, http_scope

RULES = [
    {"dag": "sales.*", "task": "push*", "account": "op", "scopes": ["trigger", "GET /api/v2/dags/"]},
    {"dag": "ops.**", "bundle": "ops", "account": "op", "scopes": ["read"]},
    {"dag": "lost", "account": "nobody", "scopes": ["read"]},
    {"dag": "wide", "account": "op", "scopes": ["GET /", "POST /", "DELETE /"]},
]
SETTINGS = f"""
[api]
[api_auth]
[execution_api]
jwt_audience = {EXECUTION}
[compat_auth]
auth_backends = airflow_task,basic_auth,personal_token,session
session__secret = {"s" * 40}
airflow_task__rules = {json.dumps(RULES)}
"""
CONNECTION = "/execution/connections/compat_auth"
RUNS = "/api/v2/dags/tiny/dagRuns"


class SimpleAuthManager(SigningAuthManager):
    """Known by its name."""


class World:
    """Airflow's application with the plugin around it, its task instances, and what stands behind."""

    def __init__(self, door: ASGIApp, behind: Behind, tasks: Tasks) -> None:
        self.door, self.behind, self.tasks = door, behind, tasks

    async def ask(self, path: str, *headers: tuple[bytes, bytes], method: str = "GET", body: bytes = b"") -> Sent:
        self.behind.scopes.clear()
        scope = http_scope(path.encode(), [*headers], method=method)
        return await call(self.door, {**scope, "root_path": "", "state": {}}, body)

    async def status(self, token: str, path: str = RUNS, method: str = "POST") -> int:
        return (await self.ask(path, bearer(token), method=method)).status

    async def token_of(self, instance_id: str) -> str:
        sent = await self.ask(CONNECTION, bearer(sign(EXECUTION, sub=instance_id)))
        assert sent.status == 200, sent.body
        return str(json.loads(sent.body)["password"])

    @property
    def has_reached_airflow(self) -> bool:
        return bool(self.behind.scopes)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[World]:
    activate(monkeypatch, SimpleAuthManager())
    tasks = Tasks(tmp_path / "airflow.db")
    install(monkeypatch, tasks)
    behind = Behind()
    door = compose(lifespan_or(behind), Conf(SETTINGS, {}), {"AIRFLOW_HOME": str(tmp_path)})
    messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    started = asyncio.Event()

    async def send(_message: Any) -> None:
        started.set()

    life = asyncio.ensure_future(door({"type": "lifespan"}, cast("Any", messages.get), send))
    await messages.put({"type": "lifespan.startup"})
    await started.wait()
    yield World(door, behind, tasks)
    await messages.put({"type": "lifespan.shutdown"})
    await life
    tasks.engine.dispose()


def lifespan_or(behind: Behind) -> ASGIApp:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
        else:
            await behind(scope, receive, send)

    return app


def bearer(token: str) -> tuple[bytes, bytes]:
    return (b"authorization", f"Bearer {token}".encode())


async def test_a_running_task_gets_a_connection_and_acts_as_its_rule_s_account(world: World) -> None:
    instance = world.tasks.add()

    sent = await world.ask(CONNECTION, bearer(sign(EXECUTION, sub=instance)))
    found = json.loads(sent.body)
    as_bearer = await world.ask(RUNS, bearer(found["password"]), method="POST")
    passed = jwt.decode(world.behind.values(b"authorization")[0][7:], options={"verify_signature": False})

    assert (sent.status, found["login"], found["host"]) == (200, "op", "http://gateway.example")
    assert sent.values(b"cache-control") == [b"no-store"]
    assert (as_bearer.status, passed["sub"], passed["aud"]) == (200, "op", "apache-airflow")
    pair = (b"authorization", basic("op", found["password"]).encode())
    assert (await world.ask(RUNS, pair, method="POST")).status == 200


async def test_the_execution_token_itself_opens_what_the_rule_says_while_the_task_runs(world: World) -> None:
    instance = world.tasks.add()
    token = sign(EXECUTION, sub=instance, scope="execution")

    assert await world.status(token) == 200
    assert await world.status(token, "/api/v2/dags/tiny", "GET") == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v2/variables"),
        ("DELETE", "/api/v2/dags/tiny"),
        ("POST", "/api/v2/connections"),
        ("GET", "/compat-auth/api/personal-tokens"),
        ("POST", "/compat-auth/api/personal-tokens"),
        ("POST", "/auth/token"),
        ("POST", "/auth/token/cli"),
    ],
)
async def test_a_task_gets_no_wider_than_its_scopes_and_nothing_that_outlives_it(
    world: World, method: str, path: str
) -> None:
    instance = world.tasks.add()

    statuses = [await world.status(token, path, method) for token in await both_tokens(world, instance)]

    assert set(statuses) <= {401, 403}
    assert not world.has_reached_airflow


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_task_makes_no_personal_token_however_wide_its_scopes_are(world: World, method: str) -> None:
    instance = world.tasks.add(dag_id="wide")
    body = json.dumps({"name": "afterwards", "scopes": ["GET /"]}).encode()
    json_type = (b"content-type", b"application/json")

    sent = [
        await world.ask("/compat-auth/api/personal-tokens", bearer(token), json_type, method=method, body=body)
        for token in await both_tokens(world, instance)
    ]

    assert [answer.status for answer in sent] == [403, 403]


async def revoke(world: World, token: str) -> None:
    form = (b"content-type", b"application/x-www-form-urlencoded")
    body = urlencode({"token": token}).encode()
    assert (await world.ask("/compat-auth/revoke", form, method="POST", body=body)).status == 200


async def test_a_revoked_token_is_dead_in_each_place_where_it_was_good(world: World) -> None:
    ours, execution = await both_tokens(world, world.tasks.add())
    other = await world.token_of(world.tasks.add())

    for token in (ours, execution):
        await revoke(world, token)

    for token in (ours, execution):
        pair = (b"authorization", basic("op", token).encode())
        assert await world.status(token) == 401
        assert (await world.ask(RUNS, pair, method="POST")).status == 401
        assert not world.has_reached_airflow
    assert (await world.ask(CONNECTION, bearer(execution))).status == 403
    assert (await world.ask(RUNS, (b"authorization", basic("op", other).encode()), method="POST")).status == 200


@pytest.mark.parametrize("state", ["success", "failed", "up_for_retry", "deferred", "queued", "restarting", None])
async def test_the_tokens_are_dead_once_the_task_does_not_run(world: World, state: str | None) -> None:
    instance = world.tasks.add()
    tokens = await both_tokens(world, instance)

    world.tasks.change(instance, state=state)

    assert [await world.status(token) for token in tokens] == [401, 401]
    refused = await world.ask(CONNECTION, bearer(tokens[1]))
    assert (refused.status, world.has_reached_airflow) == (403, False)


async def test_a_role_account_opens_to_its_tasks_and_to_no_password(world: World, tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/compat_auth.db")
    RoleAccountRows(store).add(RoleAccount("op", "role:OP", int(time.time())))
    store.close()
    token = await world.token_of(world.tasks.add())

    assert await world.status(token) == 200
    password = (b"authorization", basic("op", "öp").encode())
    assert (await world.ask(RUNS, password, method="POST")).status == 401


async def test_a_cleared_task_s_first_token_does_not_work_for_the_next_try(world: World) -> None:
    instance = world.tasks.add()
    token = await world.token_of(instance)

    world.tasks.change(instance, try_number=2)

    assert await world.status(token) == 401


async def test_an_archived_try_is_over_whatever_state_its_row_has(world: World) -> None:
    instance = world.tasks.add()
    tokens = await both_tokens(world, instance)

    world.tasks.change(instance, working_set=None)

    assert [await world.status(token) for token in tokens] == [401, 401]


@pytest.mark.parametrize(
    "changed",
    [
        {"dag_id": "sales"},
        {"dag_id": "salesforce.daily"},
        {"dag_id": "Sales.daily"},
        {"dag_id": "sales.eu.daily"},
        {"dag_id": "my.sales.daily"},
        {"dag_id": "salesXdaily"},
        {"task_id": "pull"},
        {"task_id": "group.push"},
        {"task_id": "push.nested"},
        {"dag_id": "ops.daily", "bundle": "ours"},
        {"dag_id": "ops.daily", "bundle": None},
    ],
)
async def test_another_dag_task_or_bundle_is_not_covered_by_a_rule(world: World, changed: dict[str, Any]) -> None:
    instance = world.tasks.add(**changed)
    token = sign(EXECUTION, sub=instance)

    refused = await world.ask(CONNECTION, bearer(token))

    assert (refused.status, world.has_reached_airflow) == (403, False)
    assert b"no rule of [airflow_task] rules covers" in refused.body
    assert await world.status(token) == 403


async def test_a_rule_with_a_bundle_covers_the_dags_of_that_bundle(world: World) -> None:
    instance = world.tasks.add(dag_id="ops.eu.daily", bundle="ops")

    assert await world.status(await world.token_of(instance), "/api/v2/dags", "GET") == 200


async def test_each_mapped_task_has_a_token_of_its_own(world: World) -> None:
    first, second = (world.tasks.add(map_index=number) for number in (0, 1))
    tokens = [await world.token_of(instance) for instance in (first, second)]

    world.tasks.change(first, state="success")

    assert [await world.status(token) for token in tokens] == [401, 200]


@pytest.mark.parametrize(
    "changed",
    [
        {"sub": "op"},
        {"sub": "1"},
        {"sub": 1},
        {"sub": None},
        {"sub": ""},
        {"sub": [str(uuid4())]},
        {"sub": str(uuid4())},  # nobody's, or a callback's
        {"scope": "workload"},
        {"scope": "callback"},
        {"scope": None, "exp": 1},
        {"exp": None},
        {"iat": None},
        {"nbf": 4_000_000_000},
        {"secret": "x" * 64},
    ],
)
async def test_a_token_of_another_kind_is_no_task_s(world: World, changed: dict[str, Any]) -> None:
    token = sign(EXECUTION, **{"sub": world.tasks.add(), **changed})

    status = await world.status(token)

    assert (status, world.has_reached_airflow) == (401, False)
    await world.ask(CONNECTION, bearer(token))
    # Airflow refuses it in its own words, or we do: no connection is given.
    assert world.has_reached_airflow or changed == {"sub": changed.get("sub")}


async def test_an_execution_token_cannot_be_made_into_one_of_ours_by_its_audience(world: World) -> None:
    instance = world.tasks.add()
    wrong = sign([EXECUTION, TASK_AUDIENCE], sub=instance)  # without a try

    assert await world.status(wrong) == 401
    assert await world.status(sign(TASK_AUDIENCE, sub=instance)) == 401
    assert await world.status(sign(TASK_AUDIENCE, sub=instance, try_number=True)) == 401


async def test_the_token_of_a_task_is_for_nothing_at_the_api_of_tasks(world: World) -> None:
    token = await world.token_of(world.tasks.add())

    claims = jwt.decode(token, SECRET, algorithms=["HS512"], audience=TASK_AUDIENCE)
    passed = await world.ask(CONNECTION, bearer(token))

    assert claims["aud"] == TASK_AUDIENCE
    assert (passed.status, world.has_reached_airflow) == (200, True)  # Airflow's to refuse, as any wrong audience
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(token, SECRET, algorithms=["HS512"], audience=EXECUTION)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/execution/connections/other"),
        ("GET", f"{CONNECTION}/"),
        ("GET", f"{CONNECTION}/test"),
        ("GET", "/execution/variables/compat_auth"),
        ("PATCH", CONNECTION),
        ("HEAD", CONNECTION),
        ("GET", f"/api/v2{CONNECTION}"),
    ],
)
async def test_everything_else_of_the_api_of_tasks_is_airflow_s_alone(world: World, method: str, path: str) -> None:
    token = sign(EXECUTION, sub=world.tasks.add())

    await world.ask(path, bearer(token), method=method)

    if path.startswith("/execution/"):
        assert world.behind.values(b"authorization") == [f"Bearer {token}".encode()]


async def test_a_caller_who_names_another_account_is_refused(world: World) -> None:
    token = await world.token_of(world.tasks.add())

    for name in ("none", "OP", "__token__"):
        pair = (b"authorization", basic(name, token).encode())
        assert (await world.ask(RUNS, pair, method="POST")).status == 401


async def test_an_account_that_airflow_does_not_know_opens_nothing(world: World) -> None:
    token = await world.token_of(world.tasks.add(dag_id="lost"))

    assert await world.status(token, "/api/v2/dags", "GET") == 403
    assert not world.has_reached_airflow


async def test_two_tokens_in_one_request_are_one_too_many(world: World) -> None:
    instance = world.tasks.add()
    ours, execution = await both_tokens(world, instance)

    two = await world.ask(RUNS, bearer(ours), bearer(execution), method="POST")
    joined = await world.ask(RUNS, (b"authorization", f"Bearer {ours}, Bearer {execution}".encode()), method="POST")
    asked = await world.ask(CONNECTION, bearer(ours), bearer(execution))

    assert (two.status, joined.status) == (400, 400)
    assert world.has_reached_airflow  # which has its own word for it
    assert asked.body == b""
    cookie = (b"cookie", b"_token=" + execution.encode())
    await world.ask(RUNS, bearer(ours), cookie, method="POST")
    assert world.behind.values(b"cookie") == []


async def test_a_task_s_token_in_the_cookie_is_no_credential_of_ours(world: World) -> None:
    token = await world.token_of(world.tasks.add())

    await world.ask("/api/v2/variables", (b"cookie", b"_token=" + token.encode()))

    # As any cookie, for Airflow to judge: its audience is wrong there.
    assert world.behind.values(b"authorization") == []


async def test_a_database_that_is_away_refuses_and_does_not_guess(world: World) -> None:
    instance = world.tasks.add()
    tokens = await both_tokens(world, instance)
    world.tasks.is_away = True

    statuses = [await world.status(token) for token in tokens]
    asked = await world.ask(CONNECTION, bearer(tokens[1]))

    assert (statuses, asked.status) == ([503, 503], 503)
    assert not world.has_reached_airflow


async def test_no_token_is_written_into_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    instance = world.tasks.add()

    ours, execution = await both_tokens(world, instance)
    await world.status(ours)

    assert '"issue"' in caplog.text
    assert instance not in caplog.text or "sales.daily" in caplog.text
    for token in (ours, execution):
        assert token not in caplog.text
        assert token.rpartition(".")[2] not in caplog.text


async def both_tokens(world: World, instance: str) -> tuple[str, str]:
    """Return the token that a task gets from us, and its supervisor's own."""
    return await world.token_of(instance), sign(EXECUTION, sub=instance)
