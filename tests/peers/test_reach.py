"""A limit on one DAG in front of live Airflow 3.3 and inside it, and the table of operations behind it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from compat_auth.airflow_api.reach import OPERATIONS
from support.peers import seed
from support.peers.airflows import Airflow3
from support.peers.fab import shared_secret
from support.peers.gateway import StartGateway, call, toml
from support.peers.place import environment
from support.peers.plugin import StartPlugged

pytestmark = pytest.mark.peer

ADMIN, VIEWER = ("admin", "admin"), ("viewer", "viewer")
MINE, OTHER = "tiny", "tiny_daily"
DAGS = "/api/v2/dags"
_METHODS = frozenset(("get", "post", "put", "patch", "delete"))
_CORE = "lib/python3.11/site-packages/airflow/api_fastapi/core_api/openapi"
# Each peer has a parser for YAML.
_TO_JSON = "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout, default=str)"
# Where the document of an Airflow is, below the environment of a peer, and what its paths are below.
PACKAGED = [
    pytest.param("airflow3", f"{_CORE}/_private_ui.yaml", "", id="pages-of-3.3"),
    pytest.param("airflow3-oldest", f"{_CORE}/v1-rest-api-generated.yaml", "", id="3.0"),
    pytest.param("airflow3-oldest", f"{_CORE}/_private_ui.yaml", "", id="pages-of-3.0"),
    pytest.param(
        "airflow2", "lib/python3.11/site-packages/airflow/api_connexion/openapi/v1.yaml", "/api/v1", id="2.11"
    ),
]
# They name the path's own DAG, or are read-only in 2.11: it passes over them.
_READ_ONLY = {
    ("POST", "/api/v1/dags/{dag_id}/dagRuns", "dag_id"),
    ("PATCH", "/api/v1/dags/{dag_id}", "dag_id"),
    ("PATCH", "/api/v1/dags/{dag_id}", "root_dag_id"),
}


def decided(base: str) -> dict[tuple[str, str], str]:
    """Return the kinds of the table's operations, by method and path."""
    return {
        (operation.method, f"{operation.base}/{'/'.join(operation.segments)}"): operation.kind
        for operation in OPERATIONS
        if operation.base.startswith(base)
    }


def described(document: dict[str, Any], base: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in _METHODS and (base + path).startswith(("/api/v", "/ui/")):
                yield method.upper(), base + path, {**operation, "shared": item.get("parameters", [])}


def names_of_dags(document: dict[str, Any], operation: dict[str, Any]) -> set[str]:
    """Return the names of query parameters and of fields of the body that hold ids of DAGs."""
    found: set[str] = set()
    seen: set[str] = set()

    def walk(node: Any) -> None:
        if isinstance(node, list):
            for each in node:
                walk(each)
        elif isinstance(node, dict):
            reference = node.get("$ref")
            if isinstance(reference, str):
                if reference not in seen:
                    seen.add(reference)
                    resolved: Any = document
                    for step in reference.split("/")[1:]:
                        resolved = resolved[step]
                    walk(resolved)
                return
            if node.get("in") == "query":
                found.add(node["name"])
            found.update(node.get("properties", ()))
            for value in node.values():
                walk(value)

    walk([operation["shared"], operation.get("parameters", []), operation.get("requestBody", {})])
    return {name for name in found if name.endswith(("dag_id", "dag_ids"))}


def undecided(document: dict[str, Any], base: str) -> list[str]:
    kinds = decided(base)
    problems: list[str] = []
    for method, path, operation in described(document, base):
        kind = kinds.get((method, path))
        if kind is None:
            problems.append(f"{method} {path}: in no table")
        elif kind in ("own", "none"):
            names = {name for name in names_of_dags(document, operation) if (method, path, name) not in _READ_ONLY}
            problems.extend(f"{method} {path}: {kind}, though it takes {name}" for name in sorted(names))
    return problems


def test_every_operation_of_the_live_airflow_is_decided(airflow_fab: Airflow3) -> None:
    document: dict[str, Any] = call("GET", f"{airflow_fab.url}/openapi.json").json()

    assert len(list(described(document, ""))) > 100
    assert undecided(document, "") == []


@pytest.mark.parametrize(("peer", "file", "base"), PACKAGED)
def test_every_operation_of_other_versions_and_pages_is_decided(peer: str, file: str, base: str) -> None:
    folder = environment(peer)
    command = [str(folder / "bin" / "python"), "-c", _TO_JSON, str(folder / file)]
    document = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert list(described(document, base)) != []
    assert undecided(document, base) == []


@pytest.fixture(scope="module", params=["gateway", "plugin"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where Airflow is: behind the gateway, and with the plugin inside."""
    if request.param == "plugin":
        plugged: StartPlugged = request.getfixturevalue("plugged_airflow")
        return plugged(seed.FAB, AIRFLOW__COMPAT_AUTH__AUTH_BACKENDS="session,basic_auth,personal_token").url
    airflow: Airflow3 = request.getfixturevalue("airflow_fab")
    start: StartGateway = request.getfixturevalue("gateway")
    folder = tmp_path_factory.mktemp("one-dag")
    settings = {
        **shared_secret(airflow),
        "auth_backends": ["basic_auth", "personal_token"],
        "database_url": f"sqlite:///{folder / 'store.db'}",
    }
    return start(settings).url


def bearer(url: str, *scopes: str) -> dict[str, str]:
    body = {"name": uuid4().hex, "scopes": scopes}
    answer = call("POST", f"{url}/compat-auth/api/personal-tokens", auth=ADMIN, json=body)
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def new_run(url: str, dag_id: str) -> str:
    run = f"run-{uuid4().hex}"
    body = {"dag_run_id": run, "logical_date": None}
    answer = call("POST", f"{url}{DAGS}/{dag_id}/dagRuns", auth=ADMIN, json=body)
    assert answer.status_code == 200, answer.text
    return run


def run_of(url: str, dag_id: str, run: str) -> dict[str, Any] | None:
    answer = call("GET", f"{url}{DAGS}/{dag_id}/dagRuns/{run}", auth=ADMIN)
    found: dict[str, Any] | None = answer.json() if answer.status_code == 200 else None
    return found


def bulk(action: str, *entities: dict[str, Any]) -> dict[str, Any]:
    return {"actions": [{"action": action, "entities": entities}]}


def test_a_token_for_one_dag_neither_changes_nor_deletes_runs_of_another(url: str) -> None:
    token, run = bearer(url, f"dags:{MINE}"), new_run(url, OTHER)
    entity = {"dag_id": OTHER, "dag_run_id": run}
    asked = [
        ("PATCH", f"{DAGS}/{MINE}/dagRuns", bulk("delete", entity)),
        ("PATCH", f"{DAGS}/{MINE}/dagRuns", bulk("update", {**entity, "state": "success", "note": "changed"})),
        (
            "PATCH",
            f"{DAGS}/{MINE}/dagRuns/any/taskInstances",
            bulk("update", {**entity, "task_id": "say_hello", "new_state": "success"}),
        ),
        ("POST", f"{DAGS}/{MINE}/clearDagRuns", {"dag_runs": [entity], "dry_run": False}),
        ("POST", f"{DAGS}/~/dagRuns/list", {"dag_ids": [OTHER]}),
        ("POST", f"{DAGS}/{MINE}/dagRuns/list", {"dag_ids": [OTHER]}),
        ("POST", "/api/v2/backfills", {"dag_id": OTHER, "from_date": "2024-01-01", "to_date": "2024-01-02"}),
        ("POST", "/api/v1/dags/~/dagRuns/list", {"dag_ids": [OTHER]}),
    ]
    before = run_of(url, OTHER, run)

    statuses = [call(method, url + path, headers=token, json=body).status_code for method, path, body in asked]

    after = run_of(url, OTHER, run)
    assert statuses == [403] * len(asked)
    assert before is not None
    assert after == before


def test_a_token_for_one_dag_changes_and_deletes_its_own_runs_in_bulk(url: str) -> None:
    token, kept, gone = bearer(url, f"dags:{MINE}"), new_run(url, MINE), new_run(url, MINE)
    path = f"{url}{DAGS}/{MINE}/dagRuns"

    changed = call("PATCH", path, headers=token, json=bulk("update", {"dag_run_id": kept, "note": "seen"}))
    call("PATCH", f"{path}/{gone}", auth=ADMIN, json={"state": "success"})
    deleted = call("PATCH", path, headers=token, json=bulk("delete", {"dag_id": MINE, "dag_run_id": gone}))

    found = run_of(url, MINE, kept)
    assert (changed.status_code, deleted.status_code) == (200, 200), (changed.text, deleted.text)
    assert found is not None
    assert found["note"] == "seen"
    assert run_of(url, MINE, gone) is None


@pytest.mark.parametrize(
    "below", ["dagRuns", "dagRuns/~/taskInstances", "dagRuns/~/taskInstances/~/xcomEntries", "dagRuns/~/hitlDetails"]
)
@pytest.mark.parametrize(
    "query", ["", f"dag_id_pattern={OTHER}", "dag_id_pattern=%25", f"dag_ids={OTHER}", f"dag_id={OTHER}"]
)
def test_a_filter_in_the_query_shows_nothing_of_another_dag(url: str, below: str, query: str) -> None:
    token, run = bearer(url, f"dags:{MINE}"), new_run(url, OTHER)

    answer = call("GET", f"{url}{DAGS}/{MINE}/{below}?{query}", headers=token)

    assert answer.status_code == 200, answer.text
    assert OTHER not in answer.text
    assert run not in answer.text


REQUIRED = [
    {"path": f"{DAGS}/{OTHER}", "any_of": ["role:Admin"]},
    {"path": f"{DAGS}/{MINE}/dagRuns", "methods": ["GET"], "any_of": ["role:Admin"]},
]


@pytest.fixture(scope="module", params=["gateway", "plugin"])
def ruled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where Airflow is with rules on single DAGs: behind the gateway, and with the plugin inside."""
    if request.param == "plugin":
        plugged: StartPlugged = request.getfixturevalue("plugged_airflow")
        config = tmp_path_factory.mktemp("rules") / "compat_auth.toml"
        config.write_text(toml({"require": REQUIRED}), encoding="utf-8")
        return plugged(
            seed.FAB,
            AIRFLOW__COMPAT_AUTH__CONFIG=str(config),
            AIRFLOW__COMPAT_AUTH__AUTH_BACKENDS="session,basic_auth",
        ).url
    airflow: Airflow3 = request.getfixturevalue("airflow_fab")
    start: StartGateway = request.getfixturevalue("gateway")
    return start({**shared_secret(airflow), "require": REQUIRED}).url


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", DAGS, None),
        ("HEAD", DAGS, None),
        ("HEAD", f"{DAGS}/{MINE}/dagRuns", None),
        ("GET", f"{DAGS}/~/dagRuns", None),
        ("GET", f"/api/v2/dagSources/{OTHER}", None),
        ("GET", "/api/v2/eventLogs", None),
        ("POST", f"{DAGS}/~/dagRuns/list", {}),
        ("POST", f"{DAGS}/~/dagRuns/list", {"dag_ids": [OTHER]}),
        ("PATCH", f"{DAGS}/{MINE}/dagRuns", bulk("delete", {"dag_id": OTHER, "dag_run_id": "r"})),
        ("POST", "/api/v2/backfills", {"dag_id": OTHER}),
        ("POST", "/api/v2/assets/1/materialize", {}),
        ("POST", "/api/v2/assets/events", {"asset_id": 1}),
        ("GET", "/api/v1/dags", None),
        ("POST", "/api/v1/dags/~/dagRuns/list", {"dag_ids": [OTHER]}),
        ("GET", f"/ui/grid/runs/{OTHER}", None),
        ("GET", "/ui/dags", None),
    ],
)
def test_what_one_dag_requires_holds_on_every_way_to_it(
    ruled: str, method: str, path: str, body: dict[str, Any] | None
) -> None:
    refused = call(method, ruled + path, auth=VIEWER, json=body)
    nobody = call(method, ruled + path, json=body)
    met = call(method, ruled + path, auth=ADMIN, json=body)

    assert refused.status_code == 403
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert nobody.status_code == 401
    assert met.status_code not in (401, 403)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"{DAGS}/{MINE}", None),
        ("GET", "/api/v2/version", None),
        ("GET", "/ui/config", None),
        ("GET", "/api/v1/dags/tiny", None),
    ],
)
def test_what_one_dag_requires_is_not_asked_for_another(
    ruled: str, method: str, path: str, body: dict[str, Any] | None
) -> None:
    answer = call(method, ruled + path, auth=VIEWER, json=body)

    assert answer.status_code == 200, answer.text


def test_a_list_of_another_dag_is_open_where_its_body_says_so(airflow_fab: Airflow3, gateway: StartGateway) -> None:
    gate = gateway({**shared_secret(airflow_fab), "require": REQUIRED[:1]})

    v2 = gate.post(f"{DAGS}/~/dagRuns/list", json={"dag_ids": [MINE]}, auth=VIEWER)
    v1 = gate.post("/api/v1/dags/~/dagRuns/list", json={"dag_ids": [MINE]}, auth=VIEWER)
    page = gate.get(f"/ui/grid/structure/{MINE}", auth=VIEWER)

    assert (v2.status_code, v1.status_code, page.status_code) == (200, 200, 200), (v2.text, v1.text, page.text)
    assert {run["dag_id"] for run in v1.json()["dag_runs"]} <= {MINE}
