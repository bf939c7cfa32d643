"""Airflow's own user tables in a real MariaDB."""

# A unit test may look inside.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from typing import Any
from urllib.parse import quote

import pymysql
import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.security import generate_password_hash

from compat_auth.authn.passwords.hashes import check_hash
from compat_auth.directory import DirectoryUser
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.net.postgresql import ANSWER_TIMEOUT_S, STATEMENT_TIMEOUT_S
from compat_auth_backends.directories.airflow_db import AirflowDatabaseDirectory
from support.peers.airflows import JWT_SECRET
from support.peers.authority import Authority
from support.peers.echo import EchoUpstream
from support.peers.gateway import StartGateway
from support.peers.mariadb import PASSWORD, MariaDb

pytestmark = pytest.mark.peer

SCRYPT = generate_password_hash("pässword")
# As Flask-AppBuilder makes them.
TABLES = """
CREATE TABLE ab_role (id INTEGER NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(64) NOT NULL UNIQUE);
CREATE TABLE ab_user (
    id INTEGER NOT NULL AUTO_INCREMENT PRIMARY KEY, first_name VARCHAR(64) NOT NULL, last_name VARCHAR(64) NOT NULL,
    username VARCHAR(64) NOT NULL UNIQUE, password VARCHAR(256), active BOOL, email VARCHAR(128) NOT NULL UNIQUE,
    last_login DATETIME, login_count INTEGER, fail_login_count INTEGER);
CREATE TABLE ab_user_role (id INTEGER NOT NULL AUTO_INCREMENT PRIMARY KEY, user_id INTEGER, role_id INTEGER,
    UNIQUE (user_id, role_id), FOREIGN KEY (user_id) REFERENCES ab_user (id), FOREIGN KEY (role_id) REFERENCES ab_role (id));
CREATE TABLE session (id INTEGER NOT NULL AUTO_INCREMENT PRIMARY KEY, session_id VARCHAR(255) UNIQUE, data BLOB, expiry DATETIME);
"""
ROWS = """
INSERT INTO ab_role VALUES (1, 'Admin'), (2, 'Viewer');
INSERT INTO ab_user_role (user_id, role_id) VALUES (7, 2), (7, 1);
INSERT INTO session (session_id, data, expiry) VALUES ('aBc', 'state', '2030-01-01');
"""
CHARSETS = {
    "utf8mb4": "utf8mb4 COLLATE utf8mb4_general_ci",
    "unicode": "utf8mb4 COLLATE utf8mb4_unicode_ci",
    "utf8mb3": "utf8mb3 COLLATE utf8mb3_general_ci",
    "latin1": "latin1 COLLATE latin1_swedish_ci",
    "bin": "utf8mb4 COLLATE utf8mb4_bin",
}


def url_of(server: MariaDb, database: str, *, scheme: str = "mysql", user: str = "airflow", query: str = "") -> str:
    return f"{scheme}://{user}:{quote(PASSWORD, safe='')}@{server.host}:{server.port}/{database}{query}"


def connect(server: MariaDb, database: str | None = None) -> pymysql.Connection[Any]:
    return pymysql.connect(
        host=server.host,
        port=server.port,
        user="airflow",
        password=PASSWORD.encode(),
        database=database,
        autocommit=True,
    )


def run(connection: pymysql.Connection[Any], statement: str, *values: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


@pytest.fixture(params=["utf8mb4"])
def database(request: pytest.FixtureRequest, mariadb: MariaDb) -> Iterator[str]:
    """A database of its own in the character set of the parameter, with Airflow's tables and three users."""
    name = mariadb.new_name()
    with closing(connect(mariadb)) as connection:
        run(connection, f"CREATE DATABASE {name} CHARACTER SET {CHARSETS[request.param]}")
        run(connection, f"USE {name}")
        for statement in TABLES.strip().split(";\n"):
            run(connection, statement)
        for user in (
            (7, "Zoë", SCRYPT, True, "zoe@example.org"),
            (8, "gone", SCRYPT, False, "gone@example.org"),
            (9, "sso", None, None, "sso@example.org"),
        ):
            run(
                connection,
                "INSERT INTO ab_user (id, first_name, last_name, username, password, active, email)"
                " VALUES (%s, 'F', 'L', %s, %s, %s, %s)",
                *user,
            )
        for statement in ROWS.strip().split(";\n"):
            run(connection, statement)
    yield name
    with closing(connect(mariadb)) as connection:
        run(connection, f"DROP DATABASE {name}")


@pytest.fixture
def directory(mariadb: MariaDb, database: str) -> Iterator[AirflowDatabaseDirectory]:
    directory = AirflowDatabaseDirectory(url_of(mariadb, database))
    yield directory
    directory.close()


every_charset = pytest.mark.parametrize("database", list(CHARSETS), indirect=True)


@every_charset
def test_a_user_is_found_by_name_without_case_or_by_email(directory: AirflowDatabaseDirectory) -> None:
    found = [directory.find(typed) for typed in ("Zoë", "zoë", "ZOË", "zoe@example.org")]

    zoe = DirectoryUser(
        "Zoë", password_hash=SCRYPT, email="zoe@example.org", roles=("Admin", "Viewer"), upstream_id="7"
    )
    assert found == [zoe] * 4
    assert check_hash(SCRYPT, "pässword")


@every_charset
def test_no_other_spelling_finds_anybody(directory: AirflowDatabaseDirectory) -> None:
    spellings = [
        "nobody", "Zoe@example.org", "zoë@example.org", "' OR 1=1 --", "\\' OR 1=1 --", "zo%", "zo_", "a\0b", "", "zoe",
        "Zoë ", " Zoë", "Zoé", "zoe@example.org ", "gone\t", "\U0001f600", "zo\u0308e", "\uff3a\uff4fë",
    ]  # fmt: skip

    found = {typed: directory.find(typed) or directory.find_by_username(typed) for typed in spellings}

    assert found == dict.fromkeys(spellings)


@pytest.mark.parametrize("name", ["gone", "sso"])
def test_a_user_who_is_not_active_is_known_as_such(name: str, directory: AirflowDatabaseDirectory) -> None:
    user = directory.find_by_username(name)

    assert user is not None
    assert user.active is False


def test_names_that_differ_in_accents_are_two_users(
    mariadb: MariaDb, database: str, directory: AirflowDatabaseDirectory
) -> None:
    with closing(connect(mariadb, database)) as connection:
        run(connection, "ALTER TABLE ab_user MODIFY username VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        for number, name in enumerate(("zoe", "Ada", "ada"), start=20):
            run(connection, "INSERT INTO ab_user (id, first_name, last_name, username, active, email)"
                            " VALUES (%s, 'F', 'L', %s, true, %s)", number, name, f"{number}@example.org")  # fmt: skip

    found = {name: directory.find(name) for name in ("zoe", "zoë", "ada")}

    assert {name: user and (user.username, user.active) for name, user in found.items()} == {
        "zoe": ("zoe", True),
        "zoë": ("Zoë", True),
        "ada": ("ada", False),
    }


@every_charset
def test_an_address_is_known_as_loosely_as_the_unique_index_compares(directory: AirflowDatabaseDirectory) -> None:
    known = [
        directory.knows(address) for address in ("zoe@example.org", "ZOE@example.org", "Zoë", "nobody@example.org")
    ]

    assert known == [True, True, True, False]


def test_a_user_is_found_by_number_and_a_session_by_exactly_its_id(directory: AirflowDatabaseDirectory) -> None:
    now = datetime(2027, 1, 1)  # noqa: DTZ001  # as the table has it

    by_number = [directory.find_by_id(number) for number in ("7", "99", "07x")]
    sessions = [directory.find_session(session, now) for session in ("aBc", "abc", "ABC", "äBc", "", "x")]
    later = directory.find_session("aBc", datetime(2031, 1, 1))  # noqa: DTZ001  # the same

    assert [user and user.username for user in by_number] == ["Zoë", None, None]
    assert sessions == [b"state", None, None, None, None, None]
    assert later is None


def test_the_decoy_is_like_the_users_hashes(directory: AirflowDatabaseDirectory) -> None:
    assert directory.decoy().startswith("scrypt:32768:8:1$")


@pytest.mark.parametrize(
    "scheme", ["mysql", "mysql+mysqldb", "mysql+pymysql", "mysql+mysqlconnector", "mariadb", "mariadb+mariadbconnector"]
)
def test_every_url_that_airflow_takes_works(scheme: str, mariadb: MariaDb, database: str) -> None:
    directory = AirflowDatabaseDirectory(url_of(mariadb, database, scheme=scheme, query="?charset=utf8mb4"))

    user = directory.find("zoë")

    directory.close()
    assert user is not None


def test_the_local_socket_works(mariadb: MariaDb, database: str) -> None:
    url = f"mysql://airflow:{quote(PASSWORD, safe='')}@localhost/{database}?unix_socket={mariadb.socket}"
    directory = AirflowDatabaseDirectory(url)

    user = directory.find("zoë")

    directory.close()
    assert user is not None


def test_encryption_is_as_strict_as_the_url_says(mariadb: MariaDb, database: str, authority: Authority) -> None:
    trusted = f"&ssl_ca={authority.ca_file}"
    queries = {
        "?ssl_mode=REQUIRED": True,
        f"?ssl_mode=VERIFY_CA{trusted}": True,
        f"?ssl_mode=VERIFY_IDENTITY{trusted}": True,
        f"?ssl_ca={authority.ca_file}": True,
        "?ssl_mode=VERIFY_CA": False,
        "?ssl_mode=VERIFY_IDENTITY": False,
        "?ssl_mode=DISABLED": False,
    }

    def works(query: str) -> bool:
        directory = AirflowDatabaseDirectory(url_of(mariadb, database, user="secure", query=query))
        try:
            return directory.find("zoë") is not None
        except BackendUnavailable:
            # The circuit breaker would speak for the next URL, too.
            time.sleep(1.1)
            return False
        finally:
            directory.close()

    assert {query: works(query) for query in queries} == queries


@pytest.mark.parametrize(
    "query", ["?init_command=DROP TABLE x", "?local_infile=1", "?read_default_file=/x", "?ssl_mode=x"]
)
def test_a_parameter_that_is_not_understood_is_refused_without_showing_the_password(query: str) -> None:
    with pytest.raises(ConfigError, match=r"airflow_db\.url: ") as refusal:
        AirflowDatabaseDirectory(f"mysql://airflow:geheim@127.0.0.1/airflow{query}")

    assert "geheim" not in str(refusal.value)


def test_the_session_cannot_write(directory: AirflowDatabaseDirectory) -> None:
    directory.find("zoë")

    with directory._connect() as connection, pytest.raises(SQLAlchemyError, match="READ ONLY transaction"):
        connection.execute(text("UPDATE ab_user SET login_count = 1"))


def test_a_connection_that_the_server_has_cut_is_replaced(
    mariadb: MariaDb, database: str, directory: AirflowDatabaseDirectory
) -> None:
    directory.find("zoë")
    with closing(connect(mariadb, database)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM information_schema.processlist WHERE db = %s AND id <> CONNECTION_ID()", (database,)
        )
        for (number,) in cursor.fetchall():
            cursor.execute(f"KILL {number}")

    assert directory.find("zoë") is not None


def test_a_locked_table_is_unavailable_and_does_not_hold_the_caller(
    mariadb: MariaDb, database: str, directory: AirflowDatabaseDirectory
) -> None:
    directory.find("zoë")

    with closing(connect(mariadb, database)) as connection:
        run(connection, "LOCK TABLES ab_user WRITE")
        began = time.monotonic()
        with pytest.raises(BackendUnavailable, match="OperationalError"):
            directory.find("zoë")
        waited_s = time.monotonic() - began

    assert waited_s < STATEMENT_TIMEOUT_S + 2
    assert directory.find("zoë") is not None


def found_if_available(directory: AirflowDatabaseDirectory) -> DirectoryUser | None:
    try:
        return directory.find("zoë")
    except BackendUnavailable:
        return None


def test_a_frozen_server_costs_few_callers_their_time_and_comes_back(
    mariadb: MariaDb, directory: AirflowDatabaseDirectory
) -> None:
    directory.find("zoë")

    def ask() -> float:
        began = time.monotonic()
        with pytest.raises(BackendUnavailable):
            directory.find("zoë")
        return time.monotonic() - began

    with mariadb.process.frozen(), ThreadPoolExecutor(6) as callers:
        waited = list(callers.map(lambda _: ask(), range(6)))
        at_once = ask()
    deadline = time.monotonic() + 15
    while (user := found_if_available(directory)) is None and time.monotonic() < deadline:
        time.sleep(0.2)

    assert max(waited) < ANSWER_TIMEOUT_S + 2
    assert at_once < 1
    assert user is not None


def test_no_error_shows_the_password(mariadb: MariaDb, caplog: pytest.LogCaptureFixture) -> None:
    directory = AirflowDatabaseDirectory(url_of(mariadb, "nowhere", user="nobody"))

    with pytest.raises(BackendUnavailable) as refusal:
        directory.find("zoë")

    shown = f"{refusal.value} {refusal.value.__cause__} {caplog.text}"
    assert PASSWORD not in shown
    assert quote(PASSWORD, safe="") not in shown


def test_a_user_of_mysql_reaches_the_upstream_by_number(
    mariadb: MariaDb, database: str, echo_upstream: EchoUpstream, gateway: StartGateway
) -> None:
    instance = gateway(
        {
            "upstream": {"url": echo_upstream.url},
            "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
            "basic_auth": {"directories": ["airflow_db"]},
            "airflow_db": {"url": url_of(mariadb, database, scheme="mysql+mysqldb", query="?charset=utf8mb4")},
        }
    )

    def login(name: str, password: str) -> tuple[int, str | None]:
        answer = instance.get("/api/v2/dags", auth=(name.encode(), password.encode()))
        return answer.status_code, answer.json().get("sub")

    answers = [login("ZOË", "pässword"), login("zoe", "pässword"), login("zoë", "wrong"), login("gone", "pässword")]

    assert answers == [(200, "7"), (401, None), (401, None), (401, None)]
