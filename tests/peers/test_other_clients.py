"""Clients of Airflow 2 that nobody here wrote: the same at a live 2.11 and, through the gateway, at a live 3.3."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from support.peers.airflows import Airflow, Airflow2, Airflow3
from support.peers.fab import exchange
from support.peers.gateway import Gateway, StartGateway, call
from support.peers.place import HERE, environment
from support.peers.seed import FERNET_KEY
from support.peers.terraform import ADMIN, Resource

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def instance(airflow_fab: Airflow3, gateway: StartGateway) -> Gateway:
    return gateway({"mode": "airflow2", **exchange(airflow_fab)})


def run(python: str, script: str, *arguments: str, **environ: str) -> list[list[Any]]:
    """Return what a script of another environment prints."""
    done = subprocess.run(
        [environment(python) / "bin" / "python", HERE / script, *arguments],
        capture_output=True,
        text=True,
        env={"PATH": os.defpath, "LANG": "C.UTF-8", "NO_PROXY": "127.0.0.1", **environ},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed: list[list[Any]] = json.loads(done.stdout.splitlines()[-1])
    return printed


@pytest.mark.parametrize("release", ["client23", "client25", "client29"])
def test_older_releases_of_the_official_client_get_the_same(
    instance: Gateway, airflow2: Airflow2, release: str
) -> None:
    wanted = run(release, "client_main_calls.py", airflow2.url)

    given = run(release, "client_main_calls.py", instance.url)

    assert given == wanted
    assert len(wanted) == 26


def test_operators_and_sensors_of_airflow_2_run_dags_elsewhere(
    instance: Gateway, airflow2: Airflow2, tmp_path: Path
) -> None:
    wanted, given = (
        run(
            "airflow2",
            "operator_calls.py",
            AIRFLOW_HOME=str(tmp_path),
            AIRFLOW_CONN_ELSEWHERE=url.replace("//", "//admin:admin@"),
            AIRFLOW_CONN_WRONG=url.replace("//", "//admin:wrong@"),
        )
        for url in (airflow2.url, instance.url)
    )

    assert given[-1][0] == wanted[-1][0] == "wrong password"
    assert given[:-1] == wanted[:-1]
    assert dict(given)["ended"] is True
    # 2.11 takes whoever gives none that is right for nobody, to whom its stock setting gives a role without rights.
    assert (given[-1][1], wanted[-1][1]) == ("401:UNAUTHORIZED", "403:FORBIDDEN")


@pytest.fixture(params=["airflow 2.11", "airflow 3.3"])
def side(request: pytest.FixtureRequest) -> tuple[Airflow, str]:
    """A server, and where its `/api/v1` is."""
    if request.param == "airflow 2.11":
        airflow2: Airflow2 = request.getfixturevalue("airflow2")
        return airflow2, f"{airflow2.url}/api/v1"
    airflow3: Airflow3 = request.getfixturevalue("airflow_fab")
    instance: Gateway = request.getfixturevalue("instance")
    return airflow3, f"{instance.url}/api/v1"


VARIABLE = ("variables", "key", {"key": "tf", "value": "one", "description": "made by Terraform"})
CONNECTION = (
    "connections",
    "connection_id",
    {
        "connection_id": "tf",
        "conn_type": "postgres",
        "host": "db.example.com",
        "login": "loader",
        "schema": "orders",
        "port": 5432,
        "password": "hush",
        "extra": '{"sslmode": "require"}',
        "description": "made by Terraform",
    },
)
POOL = ("pools", "name", {"name": "tf", "slots": 4})


@pytest.mark.parametrize(
    ("kind", "changed", "plan"),
    [
        pytest.param(VARIABLE, {"value": "two"}, "value", id="variable"),
        pytest.param(VARIABLE, {"value": "two", "description": "changed"}, "description value", id="variable-whole"),
        pytest.param(CONNECTION, {"host": "db2.example.com", "port": 5433}, "host port", id="connection"),
        pytest.param(CONNECTION, {"schema": None, "login": None}, "login schema", id="connection-emptied"),
        pytest.param(POOL, {"slots": 8}, "slots", id="pool"),
    ],
)
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "update_mask"])
def test_what_terraform_has_applied_is_what_it_reads(
    side: tuple[Airflow, str],
    kind: tuple[str, str, dict[str, Any]],
    changed: Mapping[str, Any],
    plan: str,
    masked: bool,
) -> None:
    collection, identity, first = kind
    resource = Resource(side[1], collection, identity, frozenset(("password",)))
    second = {**first, **changed}
    # 2.11 knows a variable's value in a mask by another name, by mistake.
    mask = tuple("val" if (name, collection) == ("value", "variables") else name for name in changed) if masked else ()

    journal = [
        resource.apply(first),
        resource.apply(first),
        resource.apply(second, mask=mask),
        resource.apply(second, mask=mask),
        resource.destroy(second),
        resource.destroy(second),
        resource.apply(second),
        resource.destroy(second),
    ]

    nothing = "nothing, then nothing"
    again = "create, then nothing"
    assert journal == [again, nothing, f"{plan}, then nothing", nothing, 204, 404, again, 204]


@pytest.mark.parametrize("value", ['{"a": 1, "b": ["x"]}', "17", "plain text", "true", '"quoted"', "", "ä b\nc"])
def test_a_value_is_read_as_it_was_written(side: tuple[Airflow, str], value: str) -> None:
    resource = Resource(side[1], "variables", "key")
    wanted = {"key": "tf_value", "value": value, "description": ""}

    journal = resource.apply(wanted)

    resource.destroy(wanted)
    assert journal == "create, then nothing"


@pytest.mark.parametrize("value", ['{"a":1}', "0.10"])
def test_json_in_another_spelling_is_planned_again_and_again_on_3_x(instance: Gateway, value: str) -> None:
    """As the documentation says: Airflow 3 gives such values in its own spelling only."""
    resource = Resource(f"{instance.url}/api/v1", "variables", "key")
    wanted = {"key": "tf_value", "value": value, "description": "d"}

    journal = [resource.apply(wanted), resource.apply(wanted)]

    resource.destroy(wanted)
    assert journal == ["create, then value", "value, then value"]


def test_an_object_deleted_behind_terraform_s_back_is_made_again(side: tuple[Airflow, str]) -> None:
    collection, identity, wanted = VARIABLE
    resource = Resource(side[1], collection, identity)
    resource.apply(wanted)
    resource.destroy(wanted)

    assert resource.plan(wanted) == "create"
    assert resource.apply(wanted) == "create, then nothing"
    resource.destroy(wanted)


def test_a_password_that_no_answer_shows_stays_when_the_rest_is_changed(side: tuple[Airflow, str]) -> None:
    airflow, url = side
    collection, identity, wanted = CONNECTION
    resource = Resource(url, collection, identity, frozenset(("password",)))
    resource.apply(wanted)
    without = {name: value for name, value in wanted.items() if name != "password"}

    resource.apply({**without, "host": "db3.example.com"})

    assert stored(airflow, "SELECT password FROM connection WHERE conn_id = 'tf'") == "hush"
    resource.destroy(wanted)


def test_a_secret_variable_is_applied_as_wanted_and_not_as_shown(side: tuple[Airflow, str]) -> None:
    airflow, url = side
    resource = Resource(url, "variables", "key")
    wanted = {"key": "tf_password", "value": "s3cr3t", "description": "made by Terraform"}
    resource.apply(wanted)

    journal = resource.apply({**wanted, "value": "n3w"})

    # 2.11 shows such values, 3.x does not.
    assert journal == f"value, then {'nothing' if isinstance(airflow, Airflow2) else 'value'}"
    assert stored(airflow, "SELECT val FROM variable WHERE key = 'tf_password'") == "n3w"
    resource.destroy(wanted)


def test_a_secret_variable_that_is_written_back_as_it_was_read_keeps_its_value(
    instance: Gateway, airflow_fab: Airflow3
) -> None:
    url = f"{instance.url}/api/v1"
    resource = Resource(url, "variables", "key")
    resource.apply({"key": "tf_password", "value": "s3cr3t", "description": "before"})
    shown = call("GET", f"{url}/variables/tf_password", auth=ADMIN).json()

    resource.apply({**shown, "description": "after"})

    assert shown["value"] == "***"
    assert stored(airflow_fab, "SELECT val FROM variable WHERE key = 'tf_password'") == "s3cr3t"
    assert stored(airflow_fab, "SELECT description FROM variable WHERE key = 'tf_password'") == "after"
    resource.destroy(shown)


def test_a_connection_that_is_written_back_as_it_was_read_keeps_its_secrets(
    instance: Gateway, airflow_fab: Airflow3
) -> None:
    url = f"{instance.url}/api/v1"
    made = {"connection_id": "tf_extra", "conn_type": "http", "password": "hush", "extra": '{"api_key": "k", "a": 1}'}
    assert call("POST", f"{url}/connections", json=made, auth=ADMIN).status_code == 200
    path = f"{url}/connections/tf_extra"
    shown = call("GET", path, auth=ADMIN).json()

    changed = call("PATCH", path, json={**shown, "host": "example.com"}, auth=ADMIN)

    assert json.loads(shown["extra"])["api_key"] == "***"
    assert changed.json()["host"] == "example.com"
    assert stored(airflow_fab, "SELECT extra FROM connection WHERE conn_id = 'tf_extra'") == made["extra"]
    assert stored(airflow_fab, "SELECT password FROM connection WHERE conn_id = 'tf_extra'") == "hush"
    call("DELETE", path, auth=ADMIN)


def stored(airflow: Airflow, query: str) -> str:
    """Return a value as Airflow's database has it, decrypted when it is encrypted."""
    with closing(sqlite3.connect(airflow.home / "airflow.db", timeout=30)) as database:
        (value,) = database.execute(query).fetchone()
    return Fernet(FERNET_KEY).decrypt(value).decode() if value.startswith("gAAAA") else str(value)
