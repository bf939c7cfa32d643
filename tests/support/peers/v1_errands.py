"""Requests to `/api/v1` that write, each made ready at a live Airflow 3.3, with what it has to leave there."""

import itertools
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests

from support.peers.airflows import Airflow3
from support.peers.cutting_proxy import CuttingProxy
from support.peers.gateway import Gateway, call

ADMIN = ("admin", "admin")
NOW = "2026-01-01 00:00:00.000000"
NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Site:
    """The servers of this module.

    Attributes:
        airflow: The upstream.
        proxy: Between it and the gateway.
        instance: The gateway.
        bearer: Of the administrator, for the upstream itself.
    """

    airflow: Airflow3
    proxy: CuttingProxy
    instance: Gateway
    bearer: str

    def upstream(self, method: str, path: str, **options: Any) -> requests.Response:
        """Ask the upstream itself."""
        headers = {"Authorization": f"Bearer {self.bearer}"}
        return call(method, f"{self.airflow.url}/api/v2{path}", headers=headers, **options)

    def sql(self, statement: str, *values: object) -> list[Any]:
        """Run a statement in the upstream's database."""
        with closing(sqlite3.connect(self.airflow.home / "airflow.db", timeout=30)) as database, database:
            return database.execute(statement, values).fetchall()

    def has_run(self, run_id: str) -> bool:
        """Whether there is a run of DAG `plain`."""
        return self.upstream("GET", f"/dags/plain/dagRuns/{quote(run_id)}").status_code == 200


@dataclass(frozen=True)
class Errand:
    """A request that writes, made ready.

    Attributes:
        method: HTTP method.
        path: Below `/api/v1`.
        body: JSON; None for none.
        effect: What it has left upstream.
        wanted: What it leaves when it is carried out once.
        again: Statuses of a retry when the first try was carried out after all.
    """

    method: str
    path: str
    body: Any
    effect: Callable[[], object]
    wanted: object
    again: tuple[int, ...] = (200,)


Ready = Callable[[Site], Errand]


def a_run(site: Site, state: str = "success") -> str:
    """Make a run of DAG `plain` and return its id."""
    run_id = f"fault-{next(NUMBERS)}"
    made = site.upstream("POST", "/dags/plain/dagRuns", json={"dag_run_id": run_id, "logical_date": None})
    assert made.status_code == 200, made.text
    site.sql("UPDATE dag_run SET state = ? WHERE run_id = ?", state, run_id)
    return run_id


def trigger(site: Site) -> Errand:
    run_id = f"fault-{next(NUMBERS)}"
    body = {"dag_run_id": run_id}
    return Errand("POST", "/dags/plain/dagRuns", body, lambda: site.has_run(run_id), wanted=True, again=(409,))


def trigger_dated(site: Site) -> Errand:
    date = f"2031-01-01T00:00:{next(NUMBERS) % 60:02}.{next(NUMBERS):06}+00:00"
    count = "SELECT count(*) FROM dag_run WHERE dag_id = 'plain' AND run_id = ?"
    return Errand(
        "POST",
        "/dags/plain/dagRuns",
        {"logical_date": date},
        lambda: site.sql(count, f"manual__{date}"),
        wanted=[(1,)],
        again=(409,),
    )


def clear_run(site: Site) -> Errand:
    run_id = a_run(site)
    site.sql("UPDATE task_instance SET state = 'success', try_number = 1 WHERE run_id = ?", run_id)
    states = "SELECT state, max_tries FROM task_instance WHERE run_id = ? ORDER BY task_id"
    return Errand(
        "POST",
        f"/dags/plain/dagRuns/{run_id}/clear",
        {"dry_run": False},
        lambda: site.sql(states, run_id),
        # One more try each: `number` has two retries.
        wanted=[(None, 1), (None, 3), (None, 1)],
    )


def clear_tasks(site: Site) -> Errand:
    run_id = a_run(site)
    site.sql("UPDATE task_instance SET state = 'failed', try_number = 1 WHERE run_id = ?", run_id)
    states = "SELECT DISTINCT state FROM task_instance WHERE run_id = ?"
    return Errand(
        "POST",
        "/dags/plain/clearTaskInstances",
        {"dag_run_id": run_id, "dry_run": False},
        lambda: site.sql(states, run_id),
        wanted=[(None,)],
    )


def delete_running(site: Site) -> Errand:
    run_id = a_run(site, "running")
    return Errand(
        "DELETE", f"/dags/plain/dagRuns/{run_id}", None, lambda: site.has_run(run_id), wanted=False, again=(204, 404)
    )


def set_run_note(site: Site) -> Errand:
    run_id = a_run(site)
    return Errand(
        "PATCH",
        f"/dags/plain/dagRuns/{run_id}/setNote",
        {"note": "n"},
        lambda: site.upstream("GET", f"/dags/plain/dagRuns/{run_id}").json()["note"],
        wanted="n",
    )


def state_of(site: Site, run_id: str, *task_ids: str) -> list[Any]:
    """Return the states of tasks of a run."""
    rows = dict(site.sql("SELECT task_id, state FROM task_instance WHERE run_id = ?", run_id))
    return [rows[task_id] for task_id in task_ids]


def set_one_state(site: Site) -> Errand:
    run_id = a_run(site)
    return Errand(
        "PATCH",
        f"/dags/plain/dagRuns/{run_id}/taskInstances/end",
        {"new_state": "failed", "dry_run": False},
        lambda: state_of(site, run_id, "end"),
        wanted=["failed"],
    )


def set_one_state_again(site: Site) -> Errand:
    errand = set_one_state(site)
    site.sql("UPDATE task_instance SET state = 'failed' WHERE run_id = ?", errand.path.split("/")[4])
    return errand


def set_states(site: Site) -> Errand:
    run_id = a_run(site)
    site.sql("UPDATE task_instance SET state = 'failed' WHERE run_id = ?", run_id)
    date = f"2032-01-01T00:00:00.{next(NUMBERS):06}+00:00"
    site.sql("UPDATE dag_run SET logical_date = ? WHERE run_id = ?", date[:-6].replace("T", " "), run_id)
    body = {"task_id": "words", "execution_date": date, "new_state": "success", "dry_run": False}
    spread = {"include_upstream": False, "include_downstream": True, "include_future": False, "include_past": False}
    return Errand(
        "POST",
        "/dags/plain/updateTaskInstancesState",
        {**body, **spread},
        lambda: state_of(site, run_id, "number", "words", "end"),
        wanted=["failed", "success", "success"],
    )


def set_task_note(site: Site) -> Errand:
    run_id = a_run(site)
    path = f"/dags/plain/dagRuns/{run_id}/taskInstances/end"
    return Errand(
        "PATCH", f"{path}/setNote", {"note": "n"}, lambda: site.upstream("GET", path).json()["note"], wanted="n"
    )


def value_of(site: Site, key: str) -> object:
    """Return a variable, as it is stored for tasks, and its description."""
    shown = site.upstream("GET", f"/variables/{key}")
    return (shown.json()["value"], shown.json()["description"]) if shown.status_code == 200 else None


def create_variable(site: Site) -> Errand:
    key = f"fault_{next(NUMBERS)}"
    body = {"key": key, "value": "new", "description": "d"}
    return Errand("POST", "/variables", body, lambda: value_of(site, key), wanted=("new", "d"))


def replace_variable(site: Site) -> Errand:
    errand = create_variable(site)
    site.upstream("POST", "/variables", json={"key": errand.body["key"], "value": "old"})
    return errand


def describe_secret(site: Site) -> Errand:
    key = f"fault_password_{next(NUMBERS)}"
    site.upstream("POST", "/variables", json={"key": key, "value": "hush-hush"})
    stored = "SELECT val FROM variable WHERE key = ?"
    before = site.sql(stored, key)
    body = {"key": key, "value": "***", "description": "d"}
    # The stored text is as it was: encrypted anew, it would be another.
    return Errand(
        "PATCH",
        f"/variables/{key}",
        body,
        lambda: (site.sql(stored, key) == before, value_of(site, key)),
        wanted=(True, ("***", "d")),
    )


def create_connection(site: Site) -> Errand:
    body = {"connection_id": f"fault_{next(NUMBERS)}", "conn_type": "http", "password": "hush-hush"}
    count = "SELECT count(*) FROM connection WHERE conn_id = ?"
    return Errand(
        "POST",
        "/connections",
        body,
        lambda: site.sql(count, body["connection_id"]),
        wanted=[(1,)],
        again=(409,),
    )


def create_pool(site: Site) -> Errand:
    body = {"name": f"fault_{next(NUMBERS)}", "slots": 3}
    count = "SELECT count(*) FROM slot_pool WHERE pool = ?"
    return Errand("POST", "/pools", body, lambda: site.sql(count, body["name"]), wanted=[(1,)], again=(409,))


def delete_queued_events(site: Site) -> Errand:
    uri = f"s3://fault/{next(NUMBERS)}"
    for name in ("one", "two"):
        site.sql(
            'INSERT INTO asset (name, uri, "group", extra, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)',
            *(name, uri, "asset", "{}", NOW, NOW),
        )
    for (number,) in site.sql("SELECT id FROM asset WHERE uri = ?", uri):
        site.sql("INSERT INTO asset_dag_run_queue VALUES (?, ?, ?)", number, "consumer", NOW)
    count = "SELECT count(*) FROM asset_dag_run_queue q JOIN asset a ON a.id = q.asset_id WHERE a.uri = ?"
    return Errand(
        "DELETE",
        f"/datasets/queuedEvent/{quote(uri, safe='')}",
        None,
        lambda: site.sql(count, uri),
        wanted=[(0,)],
        again=(204, 404),
    )


def reparse(site: Site) -> Errand:
    token = site.instance.get("/api/v1/dags/plain", auth=ADMIN).json()["file_token"]
    site.sql("DELETE FROM dag_priority_parsing_request")
    count = "SELECT count(*) FROM dag_priority_parsing_request"
    return Errand("PUT", f"/parseDagFile/{token}", None, lambda: site.sql(count), wanted=[(1,)], again=(201,))


CALLS: tuple[tuple[Ready, int], ...] = (
    (trigger, 1),
    (trigger_dated, 1),
    (clear_run, 1),
    (clear_tasks, 1),
    (delete_running, 3),
    (set_run_note, 1),
    (set_one_state, 1),
    (set_one_state_again, 2),
    (set_states, 3),
    (set_task_note, 1),
    (create_variable, 1),
    (replace_variable, 2),
    (describe_secret, 2),
    (create_connection, 1),
    (create_pool, 1),
    (delete_queued_events, 3),
    (reparse, 2),
)
