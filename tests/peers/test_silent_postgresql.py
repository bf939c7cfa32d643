"""A PostgreSQL that is frozen: its kernel takes every packet, and nothing is ever answered."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from compat_auth.concurrency.circuit_breaker import PATIENCE_S
from compat_auth.errors import BackendUnavailable
from compat_auth.net.postgresql import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, PING_TIMEOUT_S
from compat_auth.store.migration import open_store
from compat_auth.store.readiness import ANSWER_S
from compat_auth.store.tables.role_accounts import RoleAccountRows
from compat_auth_backends.directories.airflow_db import AirflowDatabaseDirectory
from support.peers.airflows import JWT_SECRET
from support.peers.echo import EchoUpstream
from support.peers.gateway import Gateway, StartGateway
from support.peers.postgres import Postgres

pytestmark = pytest.mark.peer

PATH = "/api/v2/x"
# What a request may take that waits for nothing: two cores, and everything else that runs on them.
PROMPT_S = 1.5
RECOVERY_S = 15
NAMES = [f"user{number}" for number in range(40)]


@dataclass(frozen=True, slots=True)
class Site:
    """A gateway whose store, but not whose users, is in PostgreSQL; and a personal token of `user0`."""

    instance: Gateway
    token: str


def new_database(postgres: Postgres) -> str:
    name = f"silent_{uuid.uuid4().hex}"
    engine = create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return make_url(postgres.url).set(database=name).render_as_string(hide_password=False)


def settings_of(folder: Path, url: str, upstream: str) -> dict[str, Any]:
    lines = [f"{name}:{bcrypt.hashpw(name.encode(), bcrypt.gensalt(4)).decode()}\n" for name in NAMES]
    (folder / "htpasswd").write_text("".join(lines), encoding="utf-8")
    (folder / "htpasswd").chmod(0o600)
    return {
        "auth_backends": ["basic_auth", "personal_token"],
        "database_url": url,
        "upstream": {"url": upstream, "profile": "generic"},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(folder / "htpasswd")},
        "personal_tokens": {"pepper": "a pepper of more than 32 bytes, for tests"},
    }


@pytest.fixture
def site(gateway: StartGateway, echo_upstream: EchoUpstream, postgres: Postgres, tmp_path: Path) -> Iterator[Site]:
    instance = gateway(settings_of(tmp_path, new_database(postgres), echo_upstream.url))
    made = instance.post("/compat-auth/api/personal-tokens", auth=(NAMES[0], NAMES[0]), json={"name": "etl", "days": 3})
    assert made.status_code == 201, made.text
    yield Site(instance, made.json()["token"])
    instance.process.stop()


def timed(ask: Callable[[], Any]) -> tuple[Any, float]:
    began = time.monotonic()
    try:
        answer = ask()
    except BackendUnavailable:
        answer = 503
    return answer, time.monotonic() - began


def by_password(site: Site, name: str) -> Callable[[], int]:
    return lambda: site.instance.get(PATH, auth=(name, name)).status_code


def by_token(site: Site) -> Callable[[], int]:
    return lambda: site.instance.get(PATH, headers={"Authorization": f"Bearer {site.token}"}).status_code


def ready(instance: Gateway) -> int:
    return instance.get("/compat-auth/ready").status_code


def eventually(ask: Callable[[], int], status: int) -> bool:
    deadline = time.monotonic() + RECOVERY_S
    while time.monotonic() < deadline:
        if ask() == status:
            return True
        time.sleep(0.2)
    return False


def test_a_frozen_store_delays_no_password_of_a_file_and_no_token_for_long(site: Site, postgres: Postgres) -> None:
    time.sleep(1.1)

    with postgres.process.frozen(), ThreadPoolExecutor(24) as callers:
        tokens = [callers.submit(timed, by_token(site)) for _ in range(20)]
        time.sleep(0.3)
        passwords = [timed(by_password(site, name)) for name in NAMES[1:30]]
        early = [token.result() for token in tokens]
        late = [timed(by_token(site)) for _ in range(5)]
        not_ready, ready_s = timed(lambda: ready(site.instance))
    recovered = eventually(by_token(site), 200) and eventually(lambda: ready(site.instance), 200)

    assert {status for status, _ in passwords} == {200}
    assert max(took_s for _, took_s in passwords) < PROMPT_S
    assert {status for status, _ in (*early, *late)} == {503}
    assert max(took_s for _, took_s in early) < PATIENCE_S + CONNECT_TIMEOUT_S + PROMPT_S
    assert sorted(took_s for _, took_s in late)[-2] < PROMPT_S
    assert (not_ready, ready_s < ANSWER_S + PROMPT_S) == (503, True)
    assert recovered


def test_a_gateway_that_starts_while_the_store_is_silent_says_so_and_heals_by_itself(
    gateway: StartGateway, echo_upstream: EchoUpstream, postgres: Postgres, tmp_path: Path
) -> None:
    url = new_database(postgres)

    with postgres.process.frozen():
        instance = gateway(settings_of(tmp_path, url, echo_upstream.url))
        password, took_s = timed(lambda: instance.get(PATH, auth=(NAMES[0], NAMES[0])).status_code)
        not_ready = ready(instance)
    healed = eventually(lambda: instance.get(PATH, auth=(NAMES[0], NAMES[0])).status_code, 200)
    is_ready = eventually(lambda: ready(instance), 200)
    instance.process.stop()

    # Without the names of role accounts nobody can tell that a password is not for one of them.
    assert (password, not_ready, healed, is_ready) == (503, 503, True, True)
    assert took_s < CONNECT_TIMEOUT_S + PROMPT_S


def test_a_question_that_is_under_way_when_the_server_freezes_ends_in_time(postgres: Postgres) -> None:
    database = open_store(new_database(postgres))
    rows = RoleAccountRows(database)
    rows.list()

    def ask() -> None:
        with database.read() as connection:
            entered.set()
            frozen.wait()
            connection.execute(text("SELECT 1"))

    entered, frozen = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as caller:
        under_way = caller.submit(timed, ask)
        entered.wait()
        with postgres.process.frozen():
            frozen.set()
            answer, took_s = under_way.result()
    time.sleep(PATIENCE_S)

    assert (answer, took_s < ANSWER_TIMEOUT_S + PROMPT_S) == (503, True)
    assert rows.list() == ()
    database.close()


def test_of_many_callers_of_a_frozen_airflow_database_some_wait_and_the_later_ones_do_not(postgres: Postgres) -> None:
    url = new_database(postgres)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE ab_user (id INTEGER, username TEXT, password TEXT, active BOOLEAN, email TEXT)")
        )
    engine.dispose()
    first, second = AirflowDatabaseDirectory(url), AirflowDatabaseDirectory(url)
    assert first.find("zoë") is second.find("zoë") is None

    with postgres.process.frozen(), ThreadPoolExecutor(16) as callers:
        early = [callers.submit(timed, lambda: first.find("zoë")) for _ in range(12)]
        time.sleep(PATIENCE_S / 2 + 0.2)
        crowded = timed(lambda: second.find("zoë"))
        waits = [wait.result() for wait in early]
        afterwards = timed(lambda: second.find("zoë"))
    time.sleep(PATIENCE_S)

    assert {answer for answer, _ in (*waits, crowded, afterwards)} == {503}
    assert max(took_s for _, took_s in waits) < max(PING_TIMEOUT_S, CONNECT_TIMEOUT_S) + PROMPT_S
    assert max(crowded[1], afterwards[1]) < 0.3
    assert second.find("zoë") is None
    first.close()
    second.close()
