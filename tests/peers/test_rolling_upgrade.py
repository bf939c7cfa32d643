"""A replica of another version has changed the tables: what a real gateway of this version does."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from sqlalchemy import column, create_engine, table, text
from sqlalchemy.engine import make_url

from compat_auth.store.migration import VERSION_TABLE
from support.peers.airflows import JWT_SECRET
from support.peers.echo import EchoUpstream
from support.peers.gateway import COMMAND, Gateway, StartGateway, clean_environment, run_compat_auth, toml
from support.peers.postgres import Postgres
from support.peers.process import free_port

pytestmark = pytest.mark.peer

PATH = "/api/v2/x"
ZOE = ("zoë".encode(), b"secret")
NOTICED_S = 8
STORES = ("sqlite", "postgresql")
NEWEST = "0005_from_0003"


@dataclass(frozen=True, slots=True)
class Site:
    """A gateway's settings and folder, and the URL of its store."""

    settings: dict[str, Any]
    folder: Path
    url: str

    def set_revision(self, revision: str) -> None:
        """Let the tables be those of another version."""
        engine = create_engine(self.url)
        with engine.begin() as connection:
            connection.execute(table(VERSION_TABLE, column("version_num")).update().values(version_num=revision))
        engine.dispose()

    def config(self) -> str:
        """Return the path of a file with the settings and a port of its own."""
        path = self.folder / "compat_auth.toml"
        path.write_text(toml({**self.settings, "serve": {"bind": f"127.0.0.1:{free_port()}"}}), encoding="utf-8")
        return str(path)


@pytest.fixture(params=STORES)
def site(request: pytest.FixtureRequest, echo_upstream: EchoUpstream, tmp_path: Path) -> Site:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/store.db"
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        name = f"rolling_{uuid.uuid4().hex}"
        engine = create_engine(postgres.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        url = make_url(postgres.url).set(database=name).render_as_string(hide_password=False)
    line = f"zoë:{bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()}\n"
    (tmp_path / "htpasswd").write_text(line, encoding="utf-8")
    (tmp_path / "htpasswd").chmod(0o600)
    settings = {
        "auth_backends": ["basic_auth", "personal_token"],
        "database_url": url,
        "upstream": {"url": echo_upstream.url, "profile": "generic"},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(tmp_path / "htpasswd")},
        "personal_tokens": {"pepper": "a pepper of more than 32 bytes, for tests"},
    }
    return Site(settings, tmp_path, url)


@pytest.fixture
def instance(site: Site, gateway: StartGateway) -> Iterator[Gateway]:
    running = gateway(site.settings)
    yield running
    running.process.stop()


def make_token(instance: Gateway) -> dict[str, str]:
    made = instance.post("/compat-auth/api/personal-tokens", auth=ZOE, json={"name": "etl", "days": 3})
    assert made.status_code == 201, made.text
    return {"Authorization": f"Bearer {made.json()['token']}"}


def statuses(instance: Gateway, token: dict[str, str]) -> tuple[int, int]:
    """Return what a personal token gets, and `ready`."""
    return instance.get(PATH, headers=token).status_code, instance.get("/compat-auth/ready").status_code


def eventually(ask: Callable[[], tuple[int, int]], wanted: tuple[int, int]) -> tuple[int, int]:
    deadline = time.monotonic() + NOTICED_S
    while (found := ask()) != wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def test_a_gateway_that_runs_answers_503_while_the_tables_are_not_for_it(site: Site, instance: Gateway) -> None:
    token = make_token(instance)
    before = statuses(instance, token)

    site.set_revision("0999")
    during = eventually(lambda: statuses(instance, token), (503, 503))
    site.set_revision(NEWEST)
    afterwards = eventually(lambda: statuses(instance, token), (200, 200))

    assert (before, during, afterwards) == ((200, 200), (503, 503), (200, 200))


def test_a_gateway_that_newer_tables_tolerate_goes_on_and_starts(
    site: Site, instance: Gateway, gateway: StartGateway
) -> None:
    token = make_token(instance)

    site.set_revision("0999_from_0004")
    time.sleep(NOTICED_S)
    running = statuses(instance, token)
    second = gateway({**site.settings, "serve": {"threads": 4}})
    started = statuses(second, token)
    second.process.stop()

    assert (running, started) == ((200, 200), (200, 200))


@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_start_with_tables_that_are_not_for_it_is_refused_with_the_next_step(command: str, site: Site) -> None:
    config = site.config()
    run_compat_auth("db", "upgrade", "--config", config)
    site.set_revision("0999")

    done = subprocess.run(
        [COMMAND, command, "--config", config],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=clean_environment(),
    )

    said = done.stdout + done.stderr
    assert done.returncode == 78, said
    assert f"revision 0999, which this version does not know (newest here: {NEWEST})" in said
    assert f"db downgrade {NEWEST[:4]}" in said


def test_a_downgrade_and_an_upgrade_on_a_real_database_leave_what_is_older(site: Site) -> None:
    config = site.config()
    run_compat_auth("db", "upgrade", "--config", config)
    engine = create_engine(site.url)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO compat_auth_revocations (username, not_before) VALUES ('zoë', 7)"))

    back = run_compat_auth("db", "downgrade", "0001", "--yes", "--config", config)
    forth = run_compat_auth("db", "upgrade", "--config", config)

    with engine.connect() as connection:
        kept = connection.scalar(text("SELECT not_before FROM compat_auth_revocations"))
    engine.dispose()
    assert ("revision 0001, now" in back, f"revision {NEWEST}, now up to date" in forth, kept) == (True, True, 7)
