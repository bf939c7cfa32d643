"""What the differential test asks of both Airflows, in this order: every operation of `/api/v1`, asked well and badly.

A request is said once and sent twice: to a live 2.11, and to `/api/v1` of the gateway in front of a live 3.3. `{NAME}` in
a path stands for what an earlier answer of the same side gave (`keep`), such as a number that each database counts itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

RUN: Final = "manual__2024-01-02T00:00:00+00:00"
RUN_PATH: Final = f"/dags/plain/dagRuns/{quote(RUN)}"
ORDERS: Final = "s3://bucket/orders/2024?x=1"
NO_BODY: Final = object()


@dataclass(frozen=True, slots=True)
class Pair:
    """One request.

    Attributes:
        method: HTTP method.
        path: Below `/api/v1`, with query.
        body: Sent as JSON; `NO_BODY` sends none, bytes are sent as they are.
        headers: Beyond Authorization.
        user: Who asks, with the same word as password; "" asks as nobody.
        keep: Name to the keys and positions in the answer under which its value stands.
    """

    method: str
    path: str
    body: Any = NO_BODY
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    user: str = "admin"
    keep: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict[str, "tuple[str | int, ...]"])

    @property
    def name(self) -> str:
        """What distinguishes the request, for people."""
        parts = [self.method, self.path]
        if self.body is not NO_BODY:
            parts.append(self.body.decode() if isinstance(self.body, bytes) else json.dumps(self.body, sort_keys=True))
        parts += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.user != "admin":
            parts.append(f"as {self.user or 'nobody'}")
        return " ".join(parts)


def get(*paths: str, user: str = "admin") -> Iterator[Pair]:
    """Ask for several things."""
    for path in paths:
        yield Pair("GET", path, user=user)


def send(method: str, path: str, *bodies: Any) -> Iterator[Pair]:
    """Send several bodies to one place."""
    for body in bodies:
        yield Pair(method, path, body)


def about_server() -> Iterator[Pair]:
    """Health, version, configuration, what is installed."""
    yield from get("/health", "/version", user="")
    yield from get("/health", "/version?x=1")
    yield from get("/providers", "/plugins", "/plugins?limit=1", "/plugins?offset=1", "/plugins?limit=-1")
    for accept in ("application/json", "text/plain", "*/*"):
        yield Pair("GET", "/config?section=core", headers={"Accept": accept})
        yield Pair("GET", "/config/section/core/option/executor", headers={"Accept": accept})
    yield Pair("GET", "/config?section=nosuch", headers={"Accept": "application/json"})
    for option in ("core/option/parallelism", "core/option/nosuch", "nosuch/option/nosuch"):
        yield Pair("GET", f"/config/section/{option}", headers={"Accept": "application/json"})
    yield Pair("GET", "/config", headers={"Accept": "application/xml"})


def about_callers() -> Iterator[Pair]:
    """Who may, who may not, and what is nowhere."""
    for user in ("", "viewer"):
        yield from get("/dags", "/connections", "/variables", "/pools", "/users", "/nosuch", user=user)
        yield Pair("POST", "/dags/plain/dagRuns", {}, user=user)
        yield Pair("DELETE", "/variables/nosuch", user=user)
    yield from get("/nosuch", "/dags/", "/", "")
    yield from send("POST", "/dags", {})
    yield Pair("DELETE", "/dags")
    yield Pair("PUT", "/pools/default_pool", {})
    for path in ("/dags", "/dags/plain", "/dags/nosuch", "/version", "/pools"):
        yield Pair("HEAD", path)


def dags() -> Iterator[Pair]:
    """DAGs: lists, one, details, pausing."""
    yield from get("/dags", "/dags?limit=2", "/dags?limit=0", "/dags?limit=1000", "/dags?limit=-1", "/dags?limit=x")
    yield from get("/dags?offset=3", "/dags?offset=1000", "/dags?offset=-1", "/dags?order_by=-dag_id")
    yield from get("/dags?order_by=dag_id", "/dags?order_by=nosuch", "/dags?order_by=is_paused")
    yield from get("/dags?tags=alpha", "/dags?tags=alpha,daily", "/dags?tags=alpha&tags=daily", "/dags?tags=nosuch")
    yield from get("/dags?dag_id_pattern=tiny", "/dags?dag_id_pattern=%25ai%25", "/dags?dag_id_pattern=nosuch")
    yield from get("/dags?paused=true", "/dags?paused=false", "/dags?only_active=false", "/dags?only_active=maybe")
    yield from get("/dags?fields=dag_id&fields=is_paused", "/dags?fields=dag_id,is_paused", "/dags?fields=nosuch")
    yield from get("/dags?nosuch=1", "/dags?dag_id_pattern=tiny&limit=1&offset=1")
    for dag_id in ("plain", "mapped", "cron", "every_other_day", "producer", "consumer", "tiny_daily", "nosuch"):
        yield from get(f"/dags/{dag_id}", f"/dags/{dag_id}/details")
    yield from get("/dags/plain?fields=dag_id", "/dags/plain?fields=nosuch", "/dags/plain/details?fields=dag_id")
    yield from get("/dags/pl%61in", "/dags/pl%2Fain")
    yield from send("PATCH", "/dags/tiny", {"is_paused": False}, {"is_paused": True}, {"is_paused": "x"})
    yield from send("PATCH", "/dags/tiny", {"nosuch": 1}, {"dag_id": "other"}, b"{", [])
    yield from send("PATCH", "/dags/tiny?update_mask=is_paused", {"is_paused": False})
    yield from send("PATCH", "/dags/tiny?update_mask=description", {"is_paused": True})
    yield from send("PATCH", "/dags/nosuch", {"is_paused": True})
    yield from send("PATCH", "/dags?dag_id_pattern=tiny", {"is_paused": True}, {"is_paused": False}, {"nosuch": 1})
    yield from send("PATCH", "/dags?dag_id_pattern=tiny&limit=1", {"is_paused": True})
    yield from send("PATCH", "/dags?dag_id_pattern=tiny&update_mask=is_paused", {"is_paused": True})
    yield from send("PATCH", "/dags?dag_id_pattern=tiny&update_mask=nosuch", {"is_paused": True})
    yield from send("PATCH", "/dags", {"is_paused": True})
    yield from send("PATCH", "/dags?dag_id_pattern=nosuch", {"is_paused": True})
    yield from get("/dags/tiny", "/dags/tiny_daily")
    yield Pair("GET", "/dags/plain", keep={"file_token": ("file_token",)})
    for accept in ("application/json", "text/plain", "*/*", "application/xml"):
        yield Pair("GET", "/dagSources/{file_token}", headers={"Accept": accept})
    yield from get("/dagSources/nosuch")
    yield Pair("PUT", "/parseDagFile/{file_token}")
    yield Pair("PUT", "/parseDagFile/{file_token}")
    yield Pair("PUT", "/parseDagFile/nosuch")
    yield from get("/dagStats?dag_ids=plain,mapped", "/dagStats?dag_ids=plain&dag_ids=cron", "/dagStats?dag_ids=nosuch")
    yield from get("/dagStats", "/dagWarnings", "/dagWarnings?dag_id=plain", "/dagWarnings?warning_type=nosuch")
    yield from get("/dagWarnings?order_by=nosuch", "/dagWarnings?order_by=-timestamp")
    yield Pair("DELETE", "/dags/doomed")
    yield Pair("DELETE", "/dags/nosuch")
    yield from get("/dags/doomed")


def tasks() -> Iterator[Pair]:
    """What DAGs are made of."""
    yield from get(
        "/dags/plain/tasks", "/dags/mapped/tasks", "/dags/nosuch/tasks", "/dags/plain/tasks?order_by=task_id"
    )
    yield from get("/dags/plain/tasks?order_by=-task_id", "/dags/plain/tasks?order_by=nosuch")
    yield from get("/dags/plain/tasks?order_by=priority_weight", "/dags/plain/tasks/number", "/dags/plain/tasks/end")
    yield from get("/dags/mapped/tasks/double", "/dags/plain/tasks/nosuch", "/dags/nosuch/tasks/nosuch")


def dag_runs() -> Iterator[Pair]:  # noqa: PLR0915  # a list, not a program
    """Triggering runs, and what can be done with one."""
    at = "/dags/plain/dagRuns"
    date = "2030-01-01T00:00:00+00:00"
    yield from send("POST", at, {"dag_run_id": "first", "logical_date": "2024-03-01T00:00:00+00:00"})
    yield from send("POST", at, {"dag_run_id": "first", "logical_date": "2024-03-02T00:00:00+00:00"})
    yield from send("POST", at, {"dag_run_id": "other", "logical_date": "2024-03-01T00:00:00+00:00"})
    yield from send(
        "POST", at, {"logical_date": "2024-03-03T00:00:00+00:00"}, {"execution_date": "2024-03-04T00:00:00Z"}
    )
    yield from send("POST", at, {"dag_run_id": "later", "logical_date": date, "conf": {"n": 2}, "note": "a note"})
    yield from send("POST", at, {"dag_run_id": "bare"}, {"dag_run_id": "conf-text", "conf": "x"}, {"conf": None})
    yield from send("POST", at, {"dag_run_id": None, "logical_date": "2024-03-05T00:00:00+00:00"})
    yield from send("POST", at, {"logical_date": "2024-03-06"}, {"logical_date": "2024-03-06T00:00:00"})
    yield from send("POST", at, {"logical_date": "nonsense"}, {"state": "success"}, {"nosuch": 1}, b"", b"{", [], "x")
    yield from send("POST", at, {"logical_date": date, "execution_date": "2030-01-02T00:00:00+00:00"})
    interval = {"data_interval_start": "2024-03-07T00:00:00Z", "data_interval_end": "2024-03-08T00:00:00Z"}
    yield from send("POST", at, {"dag_run_id": "span", "logical_date": "2024-03-07T00:00:00Z", **interval})
    yield from send("POST", at, {"dag_run_id": "half", "data_interval_start": "2024-03-07T00:00:00Z"})
    yield from send("POST", at, {"conf": {"name": 5}, "logical_date": "2024-03-09T00:00:00Z", "dag_run_id": "unfit"})
    yield from send("POST", "/dags/nosuch/dagRuns", {})
    yield from send("POST", "/dags/cron/dagRuns", {"dag_run_id": "byhand", "logical_date": "2024-03-01T10:00:00+00:00"})
    yield from send("POST", "/dags/mapped/dagRuns", {"dag_run_id": "m1", "logical_date": "2024-03-01T00:00:00+00:00"})
    yield from get(at, f"{at}?limit=2", f"{at}?limit=0", f"{at}?offset=2&limit=2", f"{at}?order_by=-execution_date")
    yield from get(f"{at}?order_by=execution_date&limit=3", f"{at}?order_by=dag_run_id", f"{at}?order_by=nosuch")
    yield from get(f"{at}?order_by=logical_date", f"{at}?order_by=-state", f"{at}?order_by=id")
    yield from get(f"{at}?state=queued", f"{at}?state=queued,success", f"{at}?state=queued&state=success")
    yield from get(f"{at}?state=nosuch", f"{at}?execution_date_gte=2024-03-02T00:00:00Z&order_by=execution_date")
    yield from get(f"{at}?execution_date_lte=2024-03-02T00:00:00%2B00:00", f"{at}?execution_date_lte=2024-03-02")
    yield from get(f"{at}?start_date_gte=2000-01-01T00:00:00Z", f"{at}?end_date_lte=2000-01-01T00:00:00Z")
    yield from get(f"{at}?updated_at_gte=2000-01-01T00:00:00Z&limit=1", f"{at}?fields=dag_run_id", f"{at}?nosuch=1")
    yield from get("/dags/~/dagRuns?order_by=dag_run_id", "/dags/nosuch/dagRuns", "/dags/~/dagRuns?state=failed")
    yield from get(RUN_PATH, f"{at}/first", f"{at}/later", f"{at}/nosuch", f"{at}/first?fields=state")
    yield from get("/dags/nosuch/dagRuns/first", f"{at}/first?fields=nosuch", "/dags/cron/dagRuns/byhand")
    batch = "/dags/~/dagRuns/list"
    yield from send("POST", batch, {}, {"dag_ids": ["plain"]}, {"dag_ids": ["plain"], "page_limit": 2})
    yield from send("POST", batch, {"dag_ids": ["plain"], "order_by": "-execution_date", "page_limit": 3})
    yield from send("POST", batch, {"states": ["queued"], "dag_ids": ["plain"]}, {"states": ["nosuch"]})
    yield from send("POST", batch, {"execution_date_gte": "2024-03-02T00:00:00Z", "dag_ids": ["plain"]})
    yield from send("POST", batch, {"page_limit": 0}, {"page_offset": 3, "dag_ids": ["plain"]}, {"nosuch": 1})
    yield from send("POST", batch, {"dag_ids": ["nosuch"]}, {"order_by": "nosuch"}, b"")
    yield from send("PATCH", f"{at}/first", {"state": "success"}, {"state": "failed"}, {"state": "queued"})
    yield from send("PATCH", f"{at}/first", {"state": "running"}, {"state": "nosuch"}, {}, {"nosuch": 1})
    yield from send("PATCH", f"{at}/nosuch", {"state": "success"})
    yield from send("PATCH", f"{at}/first/setNote", {"note": "ä note"}, {"note": ""}, {"note": None}, {}, {"note": 5})
    yield from send("PATCH", f"{at}/nosuch/setNote", {"note": "x"})
    yield from get(f"{at}/first")
    yield from send("POST", f"{at}/first/clear", {}, {"dry_run": True}, {"dry_run": False}, {"nosuch": 1})
    yield from send("POST", f"{at}/nosuch/clear", {"dry_run": True})
    yield from send("POST", f"{RUN_PATH}/clear", {"dry_run": True})
    yield from get(f"{RUN_PATH}/upstreamDatasetEvents", f"{at}/nosuch/upstreamDatasetEvents")
    yield Pair("DELETE", f"{at}/span")
    yield Pair("DELETE", f"{at}/span")
    yield Pair("DELETE", "/dags/nosuch/dagRuns/x")


def task_instances() -> Iterator[Pair]:  # noqa: PLR0915  # a list, not a program
    """Tasks of runs: lists, one, tries, links, notes, states, clearing."""
    at, mapped = f"{RUN_PATH}/taskInstances", f"/dags/mapped/dagRuns/{quote(RUN)}/taskInstances"
    yield from get(
        at, f"{at}?limit=1", f"{at}?offset=1", f"{at}?state=success", f"{at}?state=failed", f"{at}?state=none"
    )
    yield from get(f"{at}?state=success,failed", f"{at}?pool=default_pool", f"{at}?pool=nosuch", f"{at}?queue=default")
    yield from get(f"{at}?duration_gte=100000", f"{at}?execution_date_gte=2024-01-03T00:00:00Z", f"{at}?nosuch=1")
    yield from get(f"{at}?start_date_gte=2000-01-01T00:00:00Z", f"{at}?limit=-1", f"{at}?executor=nosuch")
    yield from get(mapped, "/dags/nosuch/dagRuns/x/taskInstances", "/dags/plain/dagRuns/nosuch/taskInstances")
    yield from get("/dags/~/dagRuns/~/taskInstances?limit=3", f"/dags/~/dagRuns/{quote(RUN)}/taskInstances")
    yield from get(f"{at}/number", f"{at}/nosuch", f"{mapped}/double", f"{mapped}/double/1", f"{mapped}/double/9")
    yield from get("/dags/nosuch/dagRuns/x/taskInstances/y", "/dags/plain/dagRuns/first/taskInstances/number")
    yield from get(f"{mapped}/double/listMapped", f"{mapped}/double/listMapped?limit=1", f"{at}/number/listMapped")
    yield from get(f"{mapped}/double/listMapped?order_by=-map_index", f"{mapped}/double/listMapped?order_by=nosuch")
    yield from get(f"{mapped}/nosuch/listMapped", f"{mapped}/double/listMapped?state=failed")
    yield from get(f"{at}/number/dependencies", f"{mapped}/double/1/dependencies", f"{at}/nosuch/dependencies")
    yield from get("/dags/plain/dagRuns/first/taskInstances/words/dependencies")
    yield from get(f"{at}/number/tries", f"{at}/number/tries/1", f"{at}/number/tries/9", f"{at}/nosuch/tries")
    yield from get(f"{mapped}/double/1/tries", f"{mapped}/double/1/tries/1", f"{mapped}/double/9/tries")
    yield from get(f"{mapped}/double/1/tries/9", f"{at}/number/links", f"{at}/nosuch/links")
    batch = "/dags/~/dagRuns/~/taskInstances/list"
    yield from send(
        "POST", batch, {"dag_ids": ["plain"], "dag_run_ids": [RUN]}, {"dag_ids": ["nosuch"]}, {"page_limit": 0}
    )
    yield from send(
        "POST", batch, {"state": ["success"], "dag_ids": ["plain"]}, {"state": ["none"], "dag_ids": ["plain"]}
    )
    yield from send("POST", batch, {"task_ids": ["double"], "page_limit": 2}, {"nosuch": 1}, {"pool": ["nosuch"]})
    yield from send("POST", batch, {"execution_date_lte": "2024-01-02T00:00:00Z", "dag_ids": ["plain"]})
    yield from send("PATCH", f"{at}/number/setNote", {"note": "seen"}, {"note": None}, {"nosuch": 1}, {})
    yield from send("PATCH", f"{mapped}/double/1/setNote", {"note": "one"}, {"note": ""})
    yield from send("PATCH", f"{mapped}/double/setNote", {"note": "all"})
    yield from send("PATCH", f"{at}/nosuch/setNote", {"note": "x"})
    yield from get(f"{at}/number", f"{mapped}/double/1", f"{mapped}/double/0")
    yield from send("PATCH", f"{at}/end", {"new_state": "failed"}, {"dry_run": True, "new_state": "failed"})
    yield from send(
        "PATCH", f"{at}/end", {"dry_run": False, "new_state": "failed"}, {"dry_run": False, "new_state": "failed"}
    )
    yield from send("PATCH", f"{at}/end", {"new_state": "nosuch"}, {}, {"nosuch": 1})
    yield from send("PATCH", f"{at}/nosuch", {"new_state": "failed"})
    yield from send("PATCH", f"{mapped}/double/2", {"dry_run": False, "new_state": "failed"})
    yield from send("PATCH", f"{mapped}/double", {"dry_run": False, "new_state": "failed"})
    yield from get(f"{at}/end", f"{mapped}/double/2", f"{mapped}/double/1")
    change = "/dags/plain/updateTaskInstancesState"
    said: dict[str, Any] = {"task_id": "number", "dag_run_id": RUN, "new_state": "failed"}
    spread = {"include_upstream": False, "include_downstream": True, "include_future": False, "include_past": False}
    dated = {"task_id": "number", "execution_date": "2024-01-02T00:00:00+00:00", "new_state": "failed", **spread}
    yield from send("POST", change, {**said, **spread}, {**said, **spread, "dry_run": True}, dated, said)
    yield from send("POST", change, {**dated, "dag_run_id": RUN}, {**said, **spread, "task_id": "nosuch"})
    yield from send(
        "POST", change, {**said, **spread, "new_state": "nosuch"}, {**said, **spread, "dag_run_id": "nosuch"}
    )
    yield from send("POST", change, {**said, **spread, "dry_run": False}, {**said, **spread, "dry_run": False})
    yield from get(f"{at}?order_by=task_id", at)
    clear = "/dags/plain/clearTaskInstances"
    yield from send("POST", clear, {}, {"dry_run": True}, {"task_ids": ["number"]}, {"task_ids": ["nosuch"]})
    yield from send("POST", clear, {"only_failed": False}, {"only_failed": False, "task_ids": ["number"]})
    yield from send("POST", clear, {"dag_run_id": RUN, "only_failed": False}, {"dag_run_id": "nosuch"}, {"nosuch": 1})
    yield from send("POST", clear, {"dag_run_id": RUN, "start_date": "2024-01-01T00:00:00Z"})
    yield from send("POST", clear, {"start_date": "2024-01-03T00:00:00Z", "end_date": "2024-01-01T00:00:00Z"})
    yield from send("POST", clear, {"start_date": "2024-01-01T00:00:00Z", "end_date": "2024-01-03T00:00:00Z"})
    yield from send("POST", clear, {"include_subdags": True, "include_parentdag": True, "dag_run_id": RUN})
    yield from send("POST", clear, {"dag_run_id": RUN, "task_ids": ["end"], "only_failed": False, "dry_run": False})
    yield from send(
        "POST", clear, {"dag_run_id": RUN, "include_downstream": True, "task_ids": ["number"], "only_failed": False}
    )
    yield from send("POST", "/dags/nosuch/clearTaskInstances", {"dry_run": True})
    yield from get(f"{at}/end", RUN_PATH, f"{at}/end/tries")


def xcoms_and_logs() -> Iterator[Pair]:
    """What tasks leave behind."""
    at = f"{RUN_PATH}/taskInstances"
    mapped = f"/dags/mapped/dagRuns/{quote(RUN)}/taskInstances/double"
    yield from get(f"{at}/number/xcomEntries", f"{at}/words/xcomEntries", f"{at}/words/xcomEntries?limit=1")
    yield from get(f"{at}/words/xcomEntries?xcom_key=words", f"{at}/nosuch/xcomEntries", f"{at}/~/xcomEntries")
    yield from get("/dags/~/dagRuns/~/taskInstances/~/xcomEntries?limit=2", f"{mapped}/xcomEntries?map_index=1")
    for query in ("", "?stringify=true", "?stringify=false", "?deserialize=true", "?map_index=3", "?nosuch=1"):
        yield from get(f"{at}/words/xcomEntries/return_value{query}")
    yield from get(f"{at}/number/xcomEntries/return_value", f"{mapped}/xcomEntries/return_value?map_index=2")
    yield from get(f"{at}/number/xcomEntries/nosuch", f"{at}/words/xcomEntries/words?stringify=false")
    for accept in ("text/plain", "*/*", "application/json"):
        for query in ("", "?full_content=true"):
            yield Pair("GET", f"{at}/number/logs/1{query}", headers={"Accept": accept})
        yield Pair("GET", f"{at}/number/logs/7", headers={"Accept": accept})
        yield Pair("GET", f"{at}/nosuch/logs/1", headers={"Accept": accept})
    yield Pair("GET", f"{mapped}/logs/1?map_index=1", headers={"Accept": "text/plain"})
    as_json = {"Accept": "application/json"}
    yield Pair("GET", f"{at}/number/logs/1", headers=as_json, keep={"log_token": ("continuation_token",)})
    yield Pair("GET", f"{at}/number/logs/1?token={{log_token}}", headers=as_json)
    yield Pair("GET", f"{at}/number/logs/1?token=nosuch", headers=as_json)
    yield Pair("GET", f"{at}/number/logs/0", headers=as_json)


def connections() -> Iterator[Pair]:
    """Connections, with the secrets that none of them may show."""
    yield from get("/connections", "/connections/nosuch")
    full = {
        "connection_id": "c1",
        "conn_type": "http",
        "host": "h",
        "login": "l",
        "schema": "s",
        "port": 80,
        "password": "hush",
        "extra": '{"a": 1}',
        "description": "d",
    }
    at = "/connections/c1"
    yield from send(
        "POST", "/connections", full, full, {"connection_id": "c2", "conn_type": "ftp"}, {"connection_id": "c3"}
    )
    yield from send(
        "POST", "/connections", {"conn_type": "http"}, {**full, "nosuch": 1}, {**full, "connection_id": "a b"}
    )
    yield from send("POST", "/connections", {"connection_id": "c4", "conn_type": "http", "port": "x"}, b"{")
    yield from get(at, "/connections?limit=1", "/connections?order_by=-connection_id", "/connections?order_by=nosuch")
    yield from get("/connections?order_by=conn_type", "/connections?offset=1", "/connections?nosuch=1")
    yield from send(
        "PATCH", at, {"host": "h2"}, {"connection_id": "c1", "conn_type": "http", "port": 81}, {"login": None}
    )
    yield from send("PATCH", at, {"connection_id": "other", "conn_type": "http"}, {"nosuch": 1}, {})
    yield from send(
        "PATCH", f"{at}?update_mask=host", {"connection_id": "c1", "conn_type": "ftp", "host": "h3", "port": 1}
    )
    yield from send(
        "PATCH", f"{at}?update_mask=host,port", {"connection_id": "c1", "conn_type": "ftp", "host": "h4", "port": 2}
    )
    yield from send("PATCH", f"{at}?update_mask=nosuch", {"connection_id": "c1", "conn_type": "http", "host": "h5"})
    yield from send("PATCH", f"{at}?update_mask=schema", {"host": "h6"})
    yield from get(at)
    yield from send("PATCH", "/connections/nosuch", {"host": "x"})
    yield from send("POST", "/connections/test", full)
    yield Pair("DELETE", at)
    yield Pair("DELETE", at)
    yield from get("/connections")


def variables() -> Iterator[Pair]:
    """Variables, whose value is text."""
    at = "/variables/v1"
    yield from get("/variables", "/variables/nosuch")
    yield from send(
        "POST", "/variables", {"key": "v1", "value": "one", "description": "d"}, {"key": "v2", "value": "two"}
    )
    yield from send(
        "POST", "/variables", {"key": "v1", "value": "again"}, {"key": "v3"}, {"value": "x"}, {"key": "v4", "value": 5}
    )
    yield from send("POST", "/variables", {"key": "v5", "value": "x", "nosuch": 1}, {"key": "a/b", "value": "slash"})
    yield from send(
        "POST",
        "/variables",
        {"key": "ü", "value": "ä"},
        {"key": "js", "value": '{"a": 1}'},
        {"key": "n", "value": "1e3"},
    )
    yield from get(at, "/variables/a%2Fb", "/variables/%C3%BC", "/variables/js", "/variables/n", "/variables?limit=1")
    yield from get(
        "/variables?order_by=-key", "/variables?order_by=value", "/variables?order_by=nosuch", "/variables?offset=2"
    )
    yield from send("POST", "/variables", {"key": "db_password", "value": "hush"})
    yield from get("/variables/db_password")
    yield from send("PATCH", at, {"key": "v1", "value": "new"}, {"key": "v1", "value": "new", "description": "e"})
    yield from send(
        "PATCH", at, {"value": "x"}, {"key": "v1"}, {"key": "other", "value": "x"}, {"key": "v1", "value": 5}
    )
    yield from send("PATCH", f"{at}?update_mask=description", {"key": "v1", "value": "not", "description": "only"})
    yield from send("PATCH", f"{at}?update_mask=value", {"key": "v1", "value": "masked", "description": "not"})
    yield from send("PATCH", f"{at}?update_mask=val,description", {"key": "v1", "value": "both", "description": "both"})
    yield from send("PATCH", f"{at}?update_mask=nosuch", {"key": "v1", "value": "x"})
    yield from get(at)
    yield from send("PATCH", "/variables/nosuch", {"key": "nosuch", "value": "x"})
    for key in ("v1", "v1", "a%2Fb"):
        yield Pair("DELETE", f"/variables/{key}")


def pools() -> Iterator[Pair]:
    """Pools and their slots."""
    at = "/pools/p1"
    yield from get("/pools", "/pools/default_pool", "/pools/nosuch", "/pools?limit=1", "/pools?order_by=nosuch")
    yield from send("POST", "/pools", {"name": "p1", "slots": 3, "description": "d", "include_deferred": True})
    yield from send(
        "POST", "/pools", {"name": "p1", "slots": 3}, {"name": "p2"}, {"slots": 1}, {"name": "p3", "slots": "x"}
    )
    yield from send("POST", "/pools", {"name": "p/4", "slots": 1}, {"name": "p5", "slots": 1, "nosuch": 1})
    yield from get(at, "/pools?order_by=name", "/pools?order_by=-slots", "/pools?order_by=id", "/pools/p%2F4")
    yield from send(
        "PATCH", at, {"name": "p1", "slots": 4}, {"slots": 5}, {"name": "p1"}, {"name": "p1", "slots": 6, "nosuch": 1}
    )
    yield from get(at)
    yield from send("PATCH", f"{at}?update_mask=slots", {"name": "p1", "slots": 7, "description": "not"})
    yield from send("PATCH", f"{at}?update_mask=slots,description", {"name": "p1", "slots": 8, "description": "both"})
    yield from send("PATCH", f"{at}?update_mask=nosuch", {"name": "p1", "slots": 9})
    yield from send("PATCH", f"{at}?update_mask=include_deferred", {"include_deferred": True})
    yield from send("PATCH", "/pools/default_pool", {"name": "default_pool", "slots": 100})
    yield from send("PATCH", "/pools/default_pool?update_mask=slots", {"slots": 64})
    yield from send("PATCH", "/pools/nosuch", {"name": "nosuch", "slots": 1})
    yield from get(at, "/pools/default_pool")
    for name in ("p1", "p1", "default_pool"):
        yield Pair("DELETE", f"/pools/{name}")


def datasets() -> Iterator[Pair]:
    """Datasets, their events, and what waits for them."""
    orders = quote(ORDERS, safe="")
    # Data is queued for a DAG that is not paused.
    yield from send("PATCH", "/dags/consumer", {"is_paused": False})
    yield from get("/datasets", "/datasets?limit=1", "/datasets?uri_pattern=bucket", "/datasets?uri_pattern=nosuch")
    yield from get("/datasets?dag_ids=consumer", "/datasets?dag_ids=consumer,producer", "/datasets?dag_ids=nosuch")
    yield from get(
        "/datasets?order_by=-uri", "/datasets?order_by=nosuch", f"/datasets/{orders}", "/datasets/urn%3Astock"
    )
    # 2.11 takes the rest of the path, encoded or not.
    plain = ORDERS.replace("?", "%3F")
    yield from get(f"/datasets/{plain}", "/datasets/s3://bucket/nosuch", f"/datasets/queuedEvent/{plain}")
    # Both events of one task: which of them a server writes first is its own business.
    yield from get("/datasets/nosuch", "/datasets/events", "/datasets/events?source_dag_id=producer&limit=2")
    yield from get("/datasets/events?source_dag_id=nosuch", "/datasets/events?source_task_id=produce")
    yield from get(
        "/datasets/events?order_by=-timestamp&dataset_id=1",
        "/datasets/events?order_by=nosuch",
        "/datasets/events?source_map_index=0",
    )
    event = {"dataset_uri": ORDERS, "extra": {"k": "v"}}
    yield from send(
        "POST", "/datasets/events", event, {"dataset_uri": "urn:nosuch"}, {"extra": {}}, {**event, "nosuch": 1}
    )
    yield from send("POST", "/datasets/events", {"dataset_uri": ORDERS}, {"dataset_uri": ORDERS, "extra": None})
    consumer = "/dags/consumer/datasets/queuedEvent"
    yield from get(consumer, f"{consumer}/{orders}", f"{consumer}/urn%3Astock", f"{consumer}/nosuch")
    yield from get(
        "/dags/nosuch/datasets/queuedEvent", f"{consumer}?before=2000-01-01T00:00:00Z", f"{consumer}?before=x"
    )
    yield from get(f"/datasets/queuedEvent/{orders}", "/datasets/queuedEvent/nosuch")
    yield from get(f"{consumer}/{plain}", f"/datasets/queuedEvent/{plain}")
    yield Pair("DELETE", f"{consumer}/{orders}")
    yield Pair("DELETE", f"{consumer}/{orders}")
    yield from send("POST", "/datasets/events", event)
    yield Pair("DELETE", f"/datasets/queuedEvent/{orders}")
    yield Pair("DELETE", "/datasets/queuedEvent/nosuch")
    yield from send("POST", "/datasets/events", event)
    yield Pair("DELETE", consumer)
    yield Pair("DELETE", consumer)


def records() -> Iterator[Pair]:
    """Event logs and import errors."""
    yield from get("/eventLogs?limit=1&order_by=-event_log_id", "/eventLogs?event=nosuch", "/eventLogs?order_by=nosuch")
    yield from get(
        "/eventLogs?dag_id=plain&limit=3&order_by=event_log_id", "/eventLogs?dag_id=nosuch", "/eventLogs?nosuch=1"
    )
    yield from get("/eventLogs?owner=nosuch", "/eventLogs?run_id=nosuch", "/eventLogs?before=2000-01-01T00:00:00Z")
    yield from get("/eventLogs?after=2100-01-01T00:00:00Z", "/eventLogs?limit=-1", "/eventLogs?before=x")
    yield from get(
        "/eventLogs?included_events=nosuch,other", "/eventLogs?excluded_events=nosuch&limit=1&order_by=event_log_id"
    )
    yield from get(
        "/eventLogs?event=api.variable.create&limit=2&order_by=event_log_id", "/eventLogs?map_index=0&limit=1"
    )
    yield Pair(
        "GET", "/eventLogs?event=api.variable.create&limit=1", keep={"log_id": ("event_logs", 0, "event_log_id")}
    )
    yield from get("/eventLogs/{log_id}", "/eventLogs/99999999", "/eventLogs/x")
    yield Pair("GET", "/importErrors", keep={"error_id": ("import_errors", 0, "import_error_id")})
    yield from get(
        "/importErrors/{error_id}", "/importErrors/99999999", "/importErrors?limit=1", "/importErrors?order_by=nosuch"
    )
    yield from get("/importErrors?order_by=-import_error_id", "/importErrors?nosuch=1")


def users_and_roles() -> Iterator[Pair]:
    """FAB's users, roles and permissions."""
    user = {
        "username": "u1",
        "email": "u1@example.com",
        "first_name": "U",
        "last_name": "One",
        "password": "pw",
        "roles": [{"name": "Viewer"}],
    }
    yield from get("/users", "/users?limit=1", "/users?order_by=username", "/users?order_by=-username", "/users/viewer")
    yield from get("/users/nosuch", "/users?offset=100", "/users?order_by=nosuch", "/users?nosuch=1")
    yield from send("POST", "/users", user, user, {**user, "username": "u2"}, {"username": "u3"}, {**user, "nosuch": 1})
    yield from send(
        "POST", "/users", {**user, "username": "u4", "email": "u4@example.com", "roles": [{"name": "Nosuch"}]}
    )
    yield from get("/users/u1")
    known = {key: user[key] for key in ("username", "email", "first_name", "last_name")}
    yield from send("PATCH", "/users/u1", {**known, "first_name": "V"}, {"first_name": "W"}, {**known, "nosuch": 1})
    yield from send("PATCH", "/users/u1?update_mask=last_name", {**known, "first_name": "X", "last_name": "Two"})
    yield from send("PATCH", "/users/u1?update_mask=roles", {**known, "roles": [{"name": "Op"}]})
    yield from send("PATCH", "/users/u1?update_mask=nosuch", known)
    yield from send("PATCH", "/users/nosuch", {**known, "username": "nosuch", "email": "n@example.com"})
    yield from get("/users/u1")
    yield Pair("DELETE", "/users/u1")
    yield Pair("DELETE", "/users/u1")
    role = {"name": "r1", "actions": [{"action": {"name": "can_read"}, "resource": {"name": "Pools"}}]}
    yield from get("/roles", "/roles?limit=1", "/roles?order_by=-name", "/roles?order_by=nosuch", "/roles/nosuch")
    yield from send("POST", "/roles", role, role, {"actions": []}, {**role, "nosuch": 1})
    yield from send(
        "POST", "/roles", {"name": "r2", "actions": [{"action": {"name": "nosuch"}, "resource": {"name": "Pools"}}]}
    )
    yield from get("/roles/r1")
    yield from send("PATCH", "/roles/r1", {"name": "r3", "actions": role["actions"]}, {"name": "r3"})
    yield from send("PATCH", "/roles/r3?update_mask=name", {"name": "r4", "actions": []})
    yield from send("PATCH", "/roles/r4?update_mask=nosuch", {"name": "r4"})
    yield from get("/roles/r4")
    yield Pair("DELETE", "/roles/r4")
    yield Pair("DELETE", "/roles/r4")
    yield from get("/permissions", "/permissions?limit=2", "/permissions?offset=2&limit=2", "/permissions?nosuch=1")


FAMILIES: Final = {
    family.__name__: tuple(family())
    for family in (
        about_server,
        about_callers,
        tasks,
        dag_runs,
        task_instances,
        xcoms_and_logs,
        connections,
        variables,
        pools,
        datasets,
        records,
        users_and_roles,
        dags,
    )
}
