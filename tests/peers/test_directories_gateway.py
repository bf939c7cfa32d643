"""The whole way through `compat-auth serve`: LDAP or PAM says yes, another directory knows the number in Airflow."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest

from compat_auth.cli.diagnosis.checks import examine
from compat_auth.config import load_settings
from compat_auth.tokens.keys.keys import create_keys
from support.peers.pam import PASSWORDS, Pam
from support.peers.slapd import SERVICE, SERVICE_PASSWORD, USERS, Slapd
from support.security.gateway import Gateway, basic, running_gateway
from support.security.upstream import Recorder, recording_upstream
from support.serving import served
from support.stub_airflow import StubAirflow

pytestmark = pytest.mark.peer

TABLES = """
CREATE TABLE ab_role (id INTEGER PRIMARY KEY, name VARCHAR(64));
CREATE TABLE ab_user (id INTEGER PRIMARY KEY, username VARCHAR, password VARCHAR, active BOOLEAN, email VARCHAR);
CREATE TABLE ab_user_role (id INTEGER PRIMARY KEY, user_id INTEGER, role_id INTEGER);
INSERT INTO ab_user VALUES (7, 'alice', NULL, 1, 'a@example.org'), (8, 'bob', NULL, 0, 'b@example.org');
"""
MAPPING = '[[user]]\nusername = "alice"\nid = 17\n[[user]]\nusername = "bob"\nid = 18\nactive = false\n'


@pytest.fixture
def upstream() -> Iterator[Recorder]:
    with recording_upstream() as recorder:
        yield recorder


def write_config(folder: Path, upstream: Recorder, slapd: Slapd, pam: Pam, directory: str, knows: str) -> Path:
    """Write a gateway that asks one directory for passwords and the other for Airflow's number."""
    with closing(sqlite3.connect(folder / "airflow.db")) as database, database:
        database.executescript(TABLES)
    database.close()
    (folder / "users.toml").write_text(MAPPING)
    (folder / "users.toml").chmod(0o600)
    create_keys(folder / "keys.json", algorithm="EdDSA", now=int(time.time()) - 5)
    config = folder / "compat_auth.toml"
    config.write_text(
        f"""auth_backends = ["basic_auth"]
[upstream]
url = "http://127.0.0.1:{upstream.port}"
[token]
strategy = "key_pair"
key_file = "{folder}/keys.json"
[basic_auth]
directories = ["{directory}"]
cache_ttl_s = 0
[lookup]
directories = ["{knows}"]
[airflow_db]
url = "sqlite:///{folder}/airflow.db"
[mapping]
file = "{folder}/users.toml"
[ldap]
url = "{slapd.url}"
ca_file = "{slapd.ca_file}"
bind_dn = "{SERVICE}"
bind_password = "{SERVICE_PASSWORD}"
base = "ou=people,dc=example,dc=org"
timeout_s = 2
[pam]
service = "matrix"
confdir = "{pam.confdir}"
""",
        encoding="utf-8",
    )
    return config


def status(gateway: Gateway, name: str, password: str) -> int:
    return gateway.ask("/api/v2/x", (b"Authorization", basic(name, password))).status


@pytest.mark.parametrize("knows", ["airflow_db", "mapping"])
@pytest.mark.parametrize("directory", ["ldap", "pam"])
def test_a_user_of_the_directory_has_the_number_that_airflow_knows(
    directory: str, knows: str, upstream: Recorder, slapd: Slapd, pam: Pam, tmp_path: Path
) -> None:
    password = {"ldap": USERS, "pam": PASSWORDS}[directory]["alice"]
    config = write_config(tmp_path, upstream, slapd, pam, directory, knows)

    with running_gateway(config, upstream) as gateway:
        right = status(gateway, "alice", password)
        (arrived,) = upstream.take()
        subject = gateway.subject(arrived)
        wrong = status(gateway, "alice", "wrong")
        empty = status(gateway, "alice", "")

    assert (right, wrong, empty) == (200, 401, 401)
    assert subject == {"airflow_db": "7", "mapping": "17"}[knows]
    assert upstream.take() == []
    assert password not in gateway.log.read_text(encoding="utf-8")


@pytest.mark.parametrize("knows", ["airflow_db", "mapping"])
def test_whom_airflow_has_disabled_or_does_not_know_is_forbidden_with_the_right_password(
    knows: str, upstream: Recorder, slapd: Slapd, pam: Pam, tmp_path: Path
) -> None:
    config = write_config(tmp_path, upstream, slapd, pam, "ldap", knows)

    with running_gateway(config, upstream) as gateway:
        disabled = status(gateway, "bob", USERS["bob"])
        unknown = status(gateway, "Dora", USERS["Dora"])

    assert (disabled, unknown) == (403, 403)
    assert upstream.take() == []


def test_a_directory_that_goes_and_comes_back_is_503_meanwhile_and_nobody_restarts_us(
    upstream: Recorder, slapd: Slapd, pam: Pam, tmp_path: Path
) -> None:
    config = write_config(tmp_path, upstream, slapd, pam, "ldap", "airflow_db")
    stop, answers = Event(), list[int]()

    def keep_asking(gateway: Gateway) -> None:
        while not stop.wait(0.02):
            answers.append(status(gateway, "alice", USERS["alice"]))

    with running_gateway(config, upstream) as gateway, ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(keep_asking, gateway)
        time.sleep(1)
        with slapd.stopped():
            time.sleep(1)
            down = gateway.ask("/api/v2/x", (b"Authorization", basic("alice", USERS["alice"])))
        time.sleep(1.5)
        recovered_at = len(answers)
        time.sleep(1)
        stop.set()

    assert down.status == 503
    assert b"retry-after" in dict(down.headers)
    assert set(answers) == {200, 503}
    assert set(answers[recovered_at:]) == {200}


@pytest.mark.parametrize(("directory", "knows"), [("ldap", "airflow_db"), ("pam", "mapping")])
def test_check_finds_no_fault_with_such_a_configuration(
    directory: str, knows: str, slapd: Slapd, pam: Pam, tmp_path: Path
) -> None:
    with served(StubAirflow) as url:
        config = write_config(tmp_path, Recorder(port=int(url.rpartition(":")[2])), slapd, pam, directory, knows)

        findings = list(examine(load_settings(str(config), {})))

    assert [finding.problem for finding in findings if finding.problem] == []
    assert {f"directory {directory}", f"directory {knows}"} <= {finding.what for finding in findings}


def test_check_says_that_ldap_alone_cannot_name_airflows_users(
    upstream: Recorder, slapd: Slapd, pam: Pam, tmp_path: Path
) -> None:
    config = write_config(tmp_path, upstream, slapd, pam, "ldap", "ldap")

    findings = list(examine(load_settings(str(config), {})))

    assert any('add "mapping" to [lookup] directories' in finding.problem for finding in findings)
