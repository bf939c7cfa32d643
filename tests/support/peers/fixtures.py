"""The peers as fixtures: one of each for a whole run, started by the first test that asks."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.peers import seed
from support.peers.airflows import Airflow2, Airflow3
from support.peers.authority import Authority
from support.peers.kerberos import Kdc
from support.peers.mariadb import MariaDb
from support.peers.pam import Pam, make_pam
from support.peers.postgres import Postgres
from support.peers.process import Process
from support.peers.proxies import StartProxy, start_caddy, start_nginx
from support.peers.redis_server import RedisServer
from support.peers.slapd import Slapd


@pytest.fixture(scope="session")
def airflow_fab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow3]:
    """Airflow 3.3 with FabAuthManager; users admin, viewer, disabled, mixed, jürgen."""
    airflow = Airflow3(seed.FAB, tmp_path_factory.mktemp("airflow_fab"))
    airflow.start()
    yield airflow
    airflow.stop()


@pytest.fixture(scope="session")
def airflow_simple(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow3]:
    """Airflow 3.3 with SimpleAuthManager; users admin, viewer, user, op, each with its name as password."""
    airflow = Airflow3(seed.SIMPLE, tmp_path_factory.mktemp("airflow_simple"))
    airflow.start()
    yield airflow
    airflow.stop()


@pytest.fixture(scope="session")
def airflow2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow2]:
    """Airflow 2.11, the reference for behaviour; the same users as `airflow_fab`."""
    airflow = Airflow2(seed.AIRFLOW2, tmp_path_factory.mktemp("airflow2"))
    airflow.start()
    yield airflow
    airflow.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL with one empty database."""
    server = Postgres()
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def mariadb(authority: Authority) -> Iterator[MariaDb]:
    """A MariaDB without a database, also over TLS."""
    server = MariaDb(authority.sign("mariadb"))
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def redis_server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis with a password, plain and over TLS."""
    server = RedisServer(tmp_path_factory.mktemp("redis"), authority.sign("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def kdc() -> Iterator[Kdc]:
    """A KDC of the realm LAB.TEST; users as in `PASSWORDS`. This process is a client of it."""
    server = Kdc()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.env.items():
            patch.setenv(name, value)
        server.start()
        yield server
    server.remove()


@pytest.fixture(scope="session")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartProxy]:
    """Start as many nginx as the tests like; all are stopped at the end of the run."""
    yield from _proxies(start_nginx, tmp_path_factory)


@pytest.fixture(scope="session")
def caddy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartProxy]:
    """Start as many Caddy as the tests like; all are stopped at the end of the run."""
    yield from _proxies(start_caddy, tmp_path_factory)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority that no system knows."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def slapd(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """An OpenLDAP server with users, groups and password policies."""
    yield from _slapd(authority, tmp_path_factory.mktemp("slapd"))


@pytest.fixture(scope="session")
def second_slapd(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """Another one with the same users."""
    yield from _slapd(authority, tmp_path_factory.mktemp("slapd"))


@pytest.fixture(scope="session")
def pam(tmp_path_factory: pytest.TempPathFactory) -> Pam:
    """Linux-PAM with services in a folder of its own."""
    return make_pam(tmp_path_factory.mktemp("pam"))


def _slapd(authority: Authority, folder: Path) -> Iterator[Slapd]:
    server = Slapd(folder, authority, authority.sign(folder.name))
    server.start()
    yield server
    server.stop()


def _proxies(
    start: Callable[[Path, str, str], tuple[Process, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartProxy]:
    started: list[Process] = []

    def start_one(site: str, *, outside: str = "") -> str:
        process, url = start(tmp_path_factory.mktemp("proxy"), site, outside)
        started.append(process)
        return url

    yield start_one
    for process in started:
        process.stop()
