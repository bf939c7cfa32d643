"""Personal tokens in front of a live Airflow 3.3 with FabAuthManager, by curl, with SQLite and PostgreSQL as the store."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from support.peers.airflows import Airflow3
from support.peers.fab import added_user, changed_user, shared_secret
from support.peers.gateway import Gateway, StartGateway, call, curl, run_compat_auth, toml
from support.peers.postgres import Postgres

pytestmark = pytest.mark.peer

ADMIN = ("admin", "admin")
TOKENS = "/compat-auth/api/personal-tokens"
RUNS = "/api/v2/dags/tiny/dagRuns"
# How long a revocation elsewhere may go unheard without Redis, and what a busy machine takes on top.
BOUND_S = 1.0
SLACK_S = 2.0


FRONT_SECRET = "a-secret-of-the-front-proxy-alone-0123456789"


@dataclass(frozen=True, slots=True)
class GatewayUnderTest:
    """A gateway, its configuration, and the Airflow behind it."""

    gateway: Gateway
    config: str
    airflow: Airflow3

    def create(self, name: str, *scopes: str, user: str = "admin") -> str:
        """Return a new token, made by the operator."""
        options = [option for scope in scopes for option in ("--scope", scope)]
        printed = run_compat_auth(
            "tokens", "create", "--config", self.config, "--user", user, "--name", name, "--days", "2", *options
        )
        return printed.removesuffix("\n")

    def ask(self, token: str, path: str, method: str = "GET", **options: Any) -> int:
        """Return the status of a request with a token."""
        headers = {"Authorization": f"Bearer {token}", **options.pop("headers", {})}
        return self.gateway.request(method, path, headers=headers, **options).status_code


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def instance(
    request: pytest.FixtureRequest,
    airflow_fab: Airflow3,
    gateway: StartGateway,
    tmp_path_factory: pytest.TempPathFactory,
) -> GatewayUnderTest:
    folder: Path = tmp_path_factory.mktemp("personal-tokens")
    settings: dict[str, Any] = {
        "auth_backends": ["basic_auth", "personal_token"],
        "trusted_proxies": ["127.0.0.1/32"],
        "forward_auth": {"secret": FRONT_SECRET},
        **shared_secret(airflow_fab),
        "database_url": f"sqlite:///{folder / 'store.db'}",
        "personal_tokens": {"admins": ["role:Admin"]},
    }
    if request.param == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        name = f"tokens_{uuid.uuid4().hex}"
        engine = create_engine(postgres.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        settings["database_url"] = make_url(postgres.url).set(database=name).render_as_string(hide_password=False)
        settings["personal_tokens"]["pepper"] = "a-pepper-of-more-than-32-bytes-0123456789"
    config = folder / "compat_auth.toml"
    config.write_text(toml(settings), encoding="utf-8")
    return GatewayUnderTest(gateway(settings), str(config), airflow_fab)


def test_curl_reads_airflow_s_dags_with_a_token_in_every_way(instance: GatewayUnderTest) -> None:
    token = instance.create("curl")
    url = f"{instance.gateway.url}/api/v2/dags"

    answers = [
        curl("-H", f"Authorization: Bearer {token}", url),
        curl("-u", f"admin:{token}", url),
        curl("-u", f"__token__:{token}", url),
    ]
    another = curl("-u", f"viewer:{token}", url)

    assert [answer.status for answer in answers] == [200] * 3
    assert {dag["dag_id"] for dag in answers[0].json()["dags"]} == {"tiny", "tiny_daily"}
    assert answers[0].all("compat-auth-token-expires") != []
    assert another.status == 401


def test_whoami_tells_owner_scopes_and_end_whatever_the_scopes_are(instance: GatewayUnderTest) -> None:
    token = instance.create("whoami", "POST /nothing")

    who = curl("-H", f"Authorization: Bearer {token}", f"{instance.gateway.url}/compat-auth/whoami").json()

    assert (who["username"], who["backend"], who["directory"]) == ("admin", "personal_token", "airflow_db")
    assert who["scopes"] == ["POST /nothing"]
    assert who["expires_at"] > time.time() + 86400
    assert instance.ask(token, "/compat-auth/whoami", "HEAD") == 200
    assert instance.ask(token, "/api/v2/dags") == 403


def test_scopes_are_enforced_however_the_request_is_spelled(instance: GatewayUnderTest) -> None:
    read, trigger = instance.create("read", "read"), instance.create("trigger", "trigger")
    one = instance.create("one", "GET /api/v2/dags/{dag_id}")
    run = {"logical_date": None}

    assert [instance.ask(read, path) for path in ("/api/v2/dags", RUNS)] == [200, 200]
    assert instance.ask(read, RUNS, "POST", json=run) == 403
    assert instance.ask(read, RUNS, "POST", json=run, headers={"X-HTTP-Method-Override": "GET"}) == 403
    assert instance.ask(trigger, RUNS, "POST", json=run) == 200
    assert instance.ask(trigger, RUNS) == 403
    assert instance.ask(one, "/api/v2/dags/tiny") == 200
    # Airflow decodes before it routes: this is the list of runs.
    assert instance.ask(one, "/api/v2/dags/tiny%2FdagRuns") == 403
    assert instance.ask(one, "/api/v2/dags/tiny/../tiny") in {400, 200}
    assert instance.ask(one, "/api/v2/dags/%2e%2e/dags") == 400


@pytest.mark.parametrize("by_command", [False, True], ids=["over HTTP", "by a command"])
def test_airflow_itself_refuses_a_jwt_that_was_made_from_a_revoked_token(
    instance: GatewayUnderTest, by_command: bool
) -> None:
    token, airflow = instance.create(f"exchanged {by_command}"), instance.airflow.url
    made = call("POST", f"{instance.gateway.url}/auth/token", headers={"Authorization": f"Bearer {token}"}).json()
    headers = {"Authorization": f"Bearer {made['access_token']}"}
    before = call("GET", f"{airflow}/api/v2/dags", headers=headers).status_code

    if by_command:
        run_compat_auth("tokens", "revoke", token[8:20], "--config", instance.config)
    else:
        assert instance.gateway.request("DELETE", f"{TOKENS}/{token[8:20]}", auth=ADMIN).status_code == 204

    assert before == 200
    assert call("GET", f"{airflow}/api/v2/dags", headers=headers).status_code == 403


def test_scopes_are_enforced_where_a_front_proxy_asks(instance: GatewayUnderTest) -> None:
    token = instance.create("front", "read")

    def status(method: str, **more: str) -> int:
        told = {"X-Original-Method": method, "X-Original-URI": RUNS, "X-Compat-Auth-Proxy-Secret": FRONT_SECRET}
        headers = {**told, **more}
        return instance.ask(token, "/compat-auth/forward-auth/nginx", headers=headers)

    assert (status("GET"), status("HEAD"), status("POST")) == (200, 200, 403)
    assert status("GET", **{"X-HTTP-Method-Override": "DELETE"}) == 403


def test_a_token_that_another_process_revokes_is_refused_within_the_bound(instance: GatewayUnderTest) -> None:
    token = instance.create("revoked")
    assert instance.ask(token, "/api/v2/dags") == 200

    run_compat_auth("tokens", "revoke", "--config", instance.config, token[8:20])
    revoked = time.monotonic()
    while instance.ask(token, "/api/v2/dags") == 200:
        assert time.monotonic() - revoked < BOUND_S + SLACK_S
        time.sleep(0.02)

    answer = curl("-H", f"Authorization: Bearer {token}", f"{instance.gateway.url}/api/v2/dags")
    assert answer.status == 401
    assert 'error="invalid_token"' in ",".join(answer.all("www-authenticate"))


def test_a_token_is_made_used_listed_and_revoked_over_http(instance: GatewayUnderTest) -> None:
    made = instance.gateway.post(
        TOKENS, auth=ADMIN, json={"name": f"api-{uuid.uuid4().hex}", "scopes": ["read"]}
    ).json()
    before = instance.ask(made["token"], "/api/v2/dags")
    itself = instance.ask(made["token"], TOKENS)

    deadline = time.monotonic() + 30
    while not (shown := instance.gateway.get(f"{TOKENS}/{made['id']}", auth=ADMIN).json())["uses"]:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    gone = instance.gateway.request("DELETE", f"{TOKENS}/{made['id']}", auth=ADMIN).status_code
    after = instance.ask(made["token"], "/api/v2/dags")

    assert (before, itself, gone, after) == (200, 403, 204, 401)
    assert shown["last_used_address"] == "127.0.0.1"
    assert shown["last_used_agent"].startswith("python-requests/")
    assert sum(shown["uses"].values()) >= 1


def test_an_owner_whom_airflow_has_disabled_stays_out(instance: GatewayUnderTest) -> None:
    token = instance.create("disabled", user="viewer")
    assert instance.ask(token, "/api/v2/dags") == 200

    with changed_user(instance.airflow, "viewer", active=False):
        time.sleep(BOUND_S + 0.2)
        refused = instance.ask(token, "/api/v2/dags")
    time.sleep(BOUND_S)

    assert (refused, instance.ask(token, "/api/v2/dags")) == (401, 200)


def test_a_later_user_of_the_name_does_not_inherit(instance: GatewayUnderTest) -> None:
    name = f"temp{uuid.uuid4().hex[:8]}"
    with added_user(instance.airflow, name, "pässwörd", f"{name}@example.org"):
        token = instance.create("temp", user=name)
        before = instance.ask(token, "/api/v2/dags")
    time.sleep(BOUND_S + 0.2)
    gone = instance.ask(token, "/api/v2/dags")
    # A number between them, so that the next user of that name has another one.
    with (
        added_user(instance.airflow, f"{name}x", "pässwörd", f"{name}x@example.org"),
        added_user(instance.airflow, name, "pässwörd", f"{name}@example.org"),
    ):
        inherited = instance.ask(token, "/api/v2/dags")

    assert (before, gone, inherited) == (200, 401, 401)


def test_a_role_account_comes_in_as_the_user_that_airflow_knows(instance: GatewayUnderTest) -> None:
    name = f"robot{uuid.uuid4().hex[:8]}"
    with added_user(instance.airflow, name, "nobody-knows-it", f"{name}@example.org"):
        run_compat_auth("users", "add", name, "--role-account", "--group", "role:Admin", "--config", instance.config)
        made = instance.gateway.post(TOKENS, auth=ADMIN, json={"name": "nightly", "username": name})
        other = instance.gateway.post(TOKENS, auth=("viewer", "viewer"), json={"name": "x", "username": name})
        token = made.json()["token"]
        who = call(
            "GET", f"{instance.gateway.url}/compat-auth/whoami", headers={"Authorization": f"Bearer {token}"}
        ).json()
        read = instance.ask(token, "/api/v2/dags")

    assert (made.status_code, other.status_code, read) == (201, 403, 200)
    assert (who["username"], who["role_account"]) == (name, True)


def test_nothing_of_a_token_is_in_the_log(instance: GatewayUnderTest) -> None:
    token = instance.create("log")
    for path in ("/api/v2/dags", "/compat-auth/whoami", "/nowhere"):
        instance.ask(token, path)
    instance.ask(token[:-1] + ("a" if token[-1] != "a" else "b"), "/api/v2/dags")

    assert token[20:52] not in instance.gateway.process.log.read_text(encoding="utf-8", errors="replace")
    assert json.loads(run_compat_auth("tokens", "list", "--json", "--config", instance.config)) != []
