"""The behaviour matrix of Airflow 2, through the gate and through the extension: the same answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.compat.matrix import CASES, WITHOUT_TICKETS, Case
from support.compat.matrix_checks import check_extension, check_gate, every_cell, make_database, settings_for

every_column_without_tickets = pytest.mark.parametrize("column", WITHOUT_TICKETS)
every_case_without_a_ticket = pytest.mark.parametrize(
    "case", [case for case in CASES if not case.needs_ticket], ids=lambda case: case.name
)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("airflow") / "airflow.db"
    make_database(path)
    return path


@every_case_without_a_ticket
@every_column_without_tickets
@every_cell
async def test_the_gate_answers_as_the_matrix_says(
    database: Path, case: Case, column: str, mode: str, public_role: bool
) -> None:
    settings = settings_for(database, column, mode, public_role=public_role)

    await check_gate(settings, column, case, list(case.headers))


@every_case_without_a_ticket
@every_column_without_tickets
@every_cell
def test_the_extension_answers_as_the_matrix_says(
    database: Path, case: Case, column: str, mode: str, public_role: bool
) -> None:
    settings = settings_for(database, column, mode, public_role=public_role)

    check_extension(settings, column, case, list(case.headers))
