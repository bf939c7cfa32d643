"""Users of the OpenID provider, as Airflow's database knows some of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import pytest

from support.peers.airflows import JWT_SECRET
from support.peers.echo import EchoUpstream

_TABLES = """
CREATE TABLE ab_user (id INTEGER PRIMARY KEY, username TEXT, email TEXT, password TEXT, active BOOLEAN);
CREATE TABLE ab_role (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE ab_user_role (id INTEGER PRIMARY KEY, user_id INTEGER, role_id INTEGER);
INSERT INTO ab_user VALUES
    (1, 'alice', 'alice@example.org', '', 1), (2, 'bob', 'bob@example.org', '', 1),
    (3, 'carol', 'carol@example.org', '', 1), (4, 'disabled', 'disabled@example.org', '', 0),
    (5, 'machine-user', 'machine@example.org', '', 1), (6, 'robot', 'robot@project.iam.gserviceaccount.com', '', 1);
"""


@pytest.fixture(scope="session")
def airflow_users(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a database with users alice (1), bob (2), carol (3), disabled (4), machine-user (5) and robot (6)."""
    path = tmp_path_factory.mktemp("users") / "airflow.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(_TABLES)
    return f"sqlite:///{path}"


def gateway_settings(
    upstream: EchoUpstream, database_url: str, backends: list[str], **sections: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the settings of a gateway that vouches for Airflow's users to the echoing upstream."""
    return {
        "auth_backends": backends,
        "upstream": {"url": upstream.url, "profile": "airflow-fab"},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "airflow_db": {"url": database_url},
        **sections,
    }
