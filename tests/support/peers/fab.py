"""The gateway in front of a live Airflow 3.3 with FabAuthManager, deployed in every way that the documentation names."""

import re
import sqlite3
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from werkzeug.security import generate_password_hash

from support.peers import seed
from support.peers.airflows import JWT_SECRET, Airflow, Airflow3
from support.peers.gateway import Gateway, StartGateway, call, run_compat_auth
from support.peers.process import free_port

CACHE_TTL_S: Final = 2
# What a password check and a busy machine may take on top.
SLACK_S: Final = 2.5
AIRFLOW_KID: Final = "airflow-own"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One way to put the gateway in front of Airflow.

    Attributes:
        airflow: What stands behind.
        settings: The gateway's.
        gateway: What stands in front.
    """

    airflow: Airflow3
    settings: dict[str, Any]
    gateway: Gateway


def exchange(airflow: Airflow3) -> dict[str, Any]:
    """Return the settings of strategy exchange: Airflow itself checks the password."""
    return {
        "upstream": {"url": airflow.url},
        "token": {"strategy": "exchange"},
        "basic_auth": {"directories": ["upstream"], "cache_ttl_s": CACHE_TTL_S},
    }


def shared_secret(airflow: Airflow3) -> dict[str, Any]:
    """Return the settings of strategy shared_secret: Airflow's own user tables and JWT secret."""
    return {
        "upstream": {"url": airflow.url},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "basic_auth": {"directories": ["airflow_db"], "cache_ttl_s": CACHE_TTL_S},
        "airflow_db": {"url": airflow.database_url},
    }


def key_pair(airflow: Airflow3, folder: Path) -> dict[str, Any]:
    """Return the settings of strategy key_pair; the keys, ours and Airflow's own, are new in the folder."""
    run_compat_auth("keys", "create", "--file", str(folder / "keys.json"))
    return {
        "upstream": {"url": airflow.url},
        "token": {
            "strategy": "key_pair",
            "key_file": str(folder / "keys.json"),
            "trusted_jwks": [f"{write_private_key(folder / 'airflow.pem')}#kid={AIRFLOW_KID}"],
        },
        "basic_auth": {"directories": ["airflow_db"], "cache_ttl_s": CACHE_TTL_S},
        "airflow_db": {"url": airflow.database_url},
        "serve": {"bind": f"127.0.0.1:{free_port()}"},
    }


def write_private_key(path: Path) -> Path:
    """Write a new RSA key, such as Airflow signs its own logins with."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    path.chmod(0o600)
    return path


def start_with_keys(airflow: Airflow3, settings: dict[str, Any], jwks: str) -> None:
    """Start or restart Airflow so that it signs with its own key and trusts those of the JWKS.

    Args:
        airflow: To be restarted.
        settings: Of the gateway.
        jwks: File or URL.
    """
    private_key, _, kid = settings["token"]["trusted_jwks"][0].partition("#kid=")
    airflow.restart(
        AIRFLOW__API_AUTH__JWT_SECRET=None,
        AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH=private_key,
        AIRFLOW__API_AUTH__JWT_KID=kid,
        AIRFLOW__API_AUTH__TRUSTED_JWKS_URL=jwks,
    )


def deploy(way: str, airflow_fab: Airflow3, keyed: Airflow3, start: StartGateway, folder: Path) -> Deployment:
    """Return the gateway and the Airflow of one way, both running."""
    if way in ("exchange", "shared_secret"):
        settings = exchange(airflow_fab) if way == "exchange" else shared_secret(airflow_fab)
        return Deployment(airflow_fab, settings, start(settings))
    settings = key_pair(keyed, folder)
    gateway = start(settings)
    jwks = f"{gateway.url}/.well-known/jwks.json"
    if way == "key_pair-file":
        token = settings["token"]
        printed = run_compat_auth("keys", "jwks", "--file", token["key_file"], "--trusted", token["trusted_jwks"][0])
        (folder / "jwks.json").write_text(printed)
        jwks = str(folder / "jwks.json")
    start_with_keys(keyed, settings, jwks)
    return Deployment(keyed, settings, gateway)


@contextmanager
def changed_user(airflow: Airflow, username: str, **columns: object) -> Generator[None]:
    """Change columns of a user in Airflow's database, and change them back when the block ends."""
    before = _select(airflow, username, list(columns))
    _update(airflow, username, columns)
    try:
        yield
    finally:
        _update(airflow, username, before)


@contextmanager
def added_user(airflow: Airflow, username: str, password: str, email: str) -> Generator[None]:
    """Add a user with the roles of viewer to Airflow's database, and take it away when the block ends."""
    with closing(_open(airflow)) as database, database:
        added = database.execute(
            "INSERT INTO ab_user (first_name, last_name, username, password, active, email) VALUES (?, ?, ?, ?, 1, ?)",
            ("Added", "Peer", username, generate_password_hash(password), email),
        ).lastrowid
        database.execute(
            "INSERT INTO ab_user_role (user_id, role_id) SELECT ?, role_id FROM ab_user_role"
            " WHERE user_id = (SELECT id FROM ab_user WHERE username = 'viewer')",
            (added,),
        )
    try:
        yield
    finally:
        with closing(_open(airflow)) as database, database:
            database.execute("DELETE FROM ab_user_role WHERE user_id = ?", (added,))
            database.execute("DELETE FROM ab_user WHERE id = ?", (added,))


def _select(airflow: Airflow, username: str, columns: list[str]) -> dict[str, object]:
    with closing(_open(airflow)) as database:
        query = f"SELECT {', '.join(columns)} FROM ab_user WHERE username = ?"  # noqa: S608  # names from the tests
        return dict(zip(columns, database.execute(query, (username,)).fetchone(), strict=True))


def _update(airflow: Airflow, username: str, columns: dict[str, object]) -> None:
    with closing(_open(airflow)) as database, database:
        assignments = ", ".join(f"{name} = ?" for name in columns)
        query = f"UPDATE ab_user SET {assignments} WHERE username = ?"  # noqa: S608  # names from the tests
        database.execute(query, (*columns.values(), username))


def _open(airflow: Airflow) -> sqlite3.Connection:
    return sqlite3.connect(airflow.database_url.removeprefix("sqlite:///"), timeout=30)


def seconds_until(status: int, ask: Callable[[], requests.Response], *, at_most_s: float, allowed: set[int]) -> float:
    """Return after how many seconds an answer has the status; any that is not allowed before fails the test."""
    began = time.monotonic()
    while True:
        answer = ask()
        elapsed = time.monotonic() - began
        if answer.status_code == status:
            return elapsed
        assert answer.status_code in allowed, answer.text
        assert elapsed < at_most_s, f"still {answer.status_code} after {elapsed:.1f} s"
        time.sleep(0.1)


def runs_of(airflow: Airflow, dag_id: str) -> set[str]:
    """Return the ids of a DAG's runs, as Airflow's database has them."""
    with closing(_open(airflow)) as database:
        return {run_id for (run_id,) in database.execute("SELECT run_id FROM dag_run WHERE dag_id = ?", (dag_id,))}


def log_in_to_ui(login_page: str, username: str, password: str) -> dict[str, str]:
    """Fill in the form of Airflow's own login page, as a browser does, and return the cookies.

    Args:
        login_page: At Airflow, or at the gateway in front of it.
        username: As typed.
        password: As typed.
    """
    page = call("GET", login_page)
    assert page.status_code == 200, page.text
    field = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
    assert field is not None, page.text
    form = {"csrf_token": field[1], "username": username, "password": password}
    answer = call("POST", login_page, data=form, cookies=page.cookies.get_dict())
    assert answer.status_code == 302, answer.text
    return {**page.cookies.get_dict(), **answer.cookies.get_dict()}


@pytest.fixture(scope="module")
def keyed_airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow3]:
    """Another Airflow 3.3 with FabAuthManager, for keys of its own; the test starts it."""
    airflow = Airflow3(seed.FAB, tmp_path_factory.mktemp("airflow_keyed"))
    yield airflow
    airflow.stop()
