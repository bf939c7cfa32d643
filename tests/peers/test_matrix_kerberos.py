"""The whole behaviour matrix of Airflow 2, tickets included: with tokens of a real KDC."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from support.compat.matrix import CASES, COLUMNS, Case
from support.compat.matrix_checks import check_extension, check_gate, every_cell, make_database, settings_for
from support.peers.kerberos import Kdc
from support.peers.kerberos_client import Tickets

pytestmark = pytest.mark.peer

SERVICE = "airflow@localhost"
every_column = pytest.mark.parametrize("column", COLUMNS)
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


class Realm:
    """The keytab of the service, and a fresh token of each principal that a row names."""

    def __init__(self, kdc: Kdc) -> None:
        self._tickets = Tickets(kdc)
        self.settings = {
            "keytab": str(kdc.keytab("airflow/localhost")),
            "service": "airflow",
            "name_mapping": "full",
            "replay_cache": str(kdc.folder / "replays-matrix"),
        }

    def __getitem__(self, principal: str) -> str:
        # The session of the rows is none here: no Airflow has made it.
        return "x" if principal == "session" else base64.b64encode(self._tickets.token(principal, SERVICE)).decode()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("airflow") / "airflow.db"
    make_database(path)
    return path


@pytest.fixture(scope="module")
def realm(kdc: Kdc) -> Realm:
    return Realm(kdc)


@every_case
@every_column
@every_cell
async def test_the_gate_answers_as_the_matrix_says_beside_a_real_kdc(
    database: Path, realm: Realm, case: Case, column: str, mode: str, public_role: bool
) -> None:
    settings = settings_for(database, column, mode, public_role=public_role, kerberos=realm.settings)
    headers = [(name, value.format_map(realm)) for name, value in case.headers]

    await check_gate(settings, column, case, headers)


@every_case
@every_column
@every_cell
def test_the_extension_answers_as_the_matrix_says_beside_a_real_kdc(
    database: Path, realm: Realm, case: Case, column: str, mode: str, public_role: bool
) -> None:
    settings = settings_for(database, column, mode, public_role=public_role, kerberos=realm.settings)
    headers = [(name, value.format_map(realm)) for name, value in case.headers]

    check_extension(settings, column, case, headers)
