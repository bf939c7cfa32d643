"""The installation: health, version, providers, plugins, event logs, import errors and configuration. No I/O."""

from __future__ import annotations

from collections.abc import Generator

from compat_auth.airflow.v1.mappers.records import EVENT_LOG, IMPORT_ERROR, OLD_EVENTS, PLUGIN, PROVIDER, VERSION
from compat_auth.airflow.v1.messages import (
    JSON,
    TEXT,
    Answer,
    Call,
    Json,
    Reply,
    Steps,
    accepted,
    json_reply,
    text_reply,
)
from compat_auth.airflow.v1.operation import V2, Collection, Operation, OperationRequest, forward, pages, require
from compat_auth.airflow.v1.problems import V1Problem, not_found
from compat_auth.airflow.v1.validation.query import PAGE, date, integer, listed, order, text
from compat_auth.crypto.strict_json import is_list

_NEW_EVENTS = {old: new for new, old in OLD_EVENTS.items()}
_PARTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


def _health(request: OperationRequest) -> Steps:
    answer = yield request.call()
    require(request, answer)
    found: Json = answer.json()
    database: Json = found.get("metadatabase") or {}
    health: Json = {"metadatabase": {"status": database.get("status")}}
    for part in _PARTS[1:]:
        # 3.x omits a component that does not run.
        known: Json = found.get(part) or {}
        beat = f"latest_{part}_heartbeat"
        health[part] = {"status": known.get("status"), beat: known.get(beat)}
    return json_reply(health)


def _providers(request: OperationRequest) -> Steps:
    found, total, answer = yield from pages(f"{V2}/providers", [], "providers")
    require(request, answer)
    return json_reply({"providers": [PROVIDER(each) for each in found], "total_entries": total})


def _new_event(name: str) -> str:
    return _NEW_EVENTS.get(name, name)


def _event_logs(request: OperationRequest) -> Steps:
    renamed = [
        (name, _new_event(value) if name in ("event", "included_events", "excluded_events") else value)
        for name, value in request.query.sent
    ]
    return (yield from forward(request, query=renamed))


def _import_errors(request: OperationRequest) -> Steps:
    answer = yield request.call()
    require(request, answer)
    found = answer.json()
    errors: list[Json] = []
    for error in found["import_errors"]:
        rooted = yield from _rooted(request, error)
        errors.append(rooted)
    return json_reply({"import_errors": errors, "total_entries": found["total_entries"]})


def _import_error(request: OperationRequest) -> Steps:
    answer = yield request.call()
    require(request, answer)
    return json_reply((yield from _rooted(request, answer.json())))


def _rooted(request: OperationRequest, error: Json) -> Generator[Call, Answer, Json]:
    """Return an import error with the absolute path of its file: 3.x returns a path relative to the bundle."""
    shown = IMPORT_ERROR(error)
    bundle, name = error.get("bundle_name"), shown["filename"]
    if not bundle or not name or name.startswith("/"):
        return shown
    if bundle not in request.upstream_facts.bundle_roots:
        # Any DAG of the bundle shows the bundle's folder.
        answer = yield Call("GET", f"{V2}/dags", (("bundle_name", bundle), ("limit", "1"), ("exclude_stale", "false")))
        dags: list[Json] = answer.json()["dags"] if answer.is_success else []
        for dag in dags:
            inside, whole = str(dag.get("relative_fileloc")), str(dag.get("fileloc"))
            if dag.get("bundle_name") == bundle and whole.endswith(f"/{inside}"):
                request.upstream_facts.bundle_roots[bundle] = whole.removesuffix(inside)
    shown["filename"] = request.upstream_facts.bundle_roots.get(bundle, "") + name
    return shown


_HIDDEN = "Your Airflow administrator chose not to expose the configuration, most likely for security reasons."
_NOT_ACCEPTABLE = Reply(406, b"", "text/html; charset=utf-8")
# Options with another name in 3.x, of those that clients use.
_MOVED = {
    ("webserver", "base_url"): ("api", "base_url"),
    ("webserver", "web_server_host"): ("api", "host"),
    ("webserver", "web_server_port"): ("api", "port"),
    ("webserver", "workers"): ("api", "workers"),
    ("webserver", "expose_config"): ("api", "expose_config"),
    ("webserver", "instance_name"): ("api", "instance_name"),
    ("webserver", "page_size"): ("api", "page_size"),
    ("scheduler", "dag_dir_list_interval"): ("dag_processor", "refresh_interval"),
    ("scheduler", "parsing_processes"): ("dag_processor", "parsing_processes"),
    ("scheduler", "min_file_process_interval"): ("dag_processor", "min_file_process_interval"),
}


def _config(request: OperationRequest) -> Steps:
    if (kind := accepted(request.accept, (TEXT, JSON))) is None:
        return _NOT_ACCEPTABLE
    # 3.x finds only sections that are in the file, 2.x also those with defaults: request all sections.
    answer = yield request.call(query=[])
    sections, wanted = _sections(request, answer), request.query.value("section")
    if wanted:
        sections = [section for section in sections if section["name"] == wanted]
        if not sections:
            raise not_found("section not found.", f"section={wanted} not found.")
    return _shown(kind, sections)


def _value(request: OperationRequest) -> Steps:
    if (kind := accepted(request.accept, (TEXT, JSON))) is None:
        return _NOT_ACCEPTABLE
    section, option = request.named("section"), request.named("option")
    answer = yield request.call()
    if answer.status == 404 and (section.lower(), option.lower()) in _MOVED:
        new_section, new_option = _MOVED[section.lower(), option.lower()]
        path = f"{V2}/config/section/{new_section}/option/{new_option}"
        answer = yield Call("GET", path)
    if answer.status == 404:
        raise not_found("Config not found.", f"The option [{section}/{option}] is not found in config.")
    sections = _sections(request, answer)
    value = sections[0]["options"][0]["value"]
    return _shown(kind, [{"name": section, "options": [{"key": option, "value": value}]}])


def _sections(request: OperationRequest, answer: Answer) -> list[Json]:
    if answer.status == 403:
        raise V1Problem(403, _HIDDEN)
    require(request, answer)
    return [
        {
            "name": section["name"],
            "options": [{"key": option["key"], "value": _value_of(option["value"])} for option in section["options"]],
        }
        for section in answer.json()["sections"]
    ]


def _value_of(value: object) -> str:
    # 3.x returns a list if a value has a source.
    return str(value[0]) if is_list(value) and value else str(value)


def _shown(kind: str, sections: list[Json]) -> Reply:
    if kind == JSON:
        return json_reply({"sections": sections})
    return text_reply("\n".join(_as_text(section) for section in sections))


def _as_text(section: Json) -> str:
    options = "\n".join(f"{option['key']} = {option['value']}" for option in section["options"])
    return f"[{section['name']}]\n{options}\n"


OPERATIONS = (
    Operation(
        name="get_health",
        method="GET",
        path="/health",
        to=f"GET {V2}/monitor/health",
        code=_health,
        public=True,
    ),
    Operation(name="get_version", method="GET", path="/version", to=f"GET {V2}/version", shape=VERSION, public=True),
    Operation(
        name="get_providers",
        method="GET",
        path="/providers",
        to=f"GET {V2}/providers",
        shape=Collection(PROVIDER, "providers"),
        code=_providers,
    ),
    Operation(
        name="get_plugins",
        method="GET",
        path="/plugins",
        to=f"GET {V2}/plugins",
        query=PAGE,
        shape=Collection(PLUGIN, "plugins"),
    ),
    Operation(
        name="get_event_logs",
        method="GET",
        path="/eventLogs",
        to=f"GET {V2}/eventLogs",
        query=(
            *PAGE,
            order(
                "id",
                event_log_id="event_log_id",
                when="when",
                dag_id="",
                task_id="",
                run_id="",
                event="",
                execution_date="logical_date",
                owner="",
                extra="",
            ),
            text("dag_id"),
            text("task_id"),
            text("run_id"),
            integer("map_index", ignore_zero=True),
            integer("try_number", ignore_zero=True),
            text("event"),
            text("owner"),
            date("before"),
            date("after"),
            listed("included_events"),
            listed("excluded_events"),
        ),
        shape=Collection(EVENT_LOG, "event_logs"),
        code=_event_logs,
    ),
    Operation(
        name="get_event_log",
        method="GET",
        path="/eventLogs/{event_log_id}",
        to=f"GET {V2}/eventLogs/{{event_log_id}}",
        shape=EVENT_LOG,
        missing=("Event Log not found", None),
    ),
    Operation(
        name="get_import_errors",
        method="GET",
        path="/importErrors",
        to=f"GET {V2}/importErrors",
        query=(*PAGE, order("id", import_error_id="import_error_id", timestamp="", filename="")),
        shape=Collection(IMPORT_ERROR, "import_errors"),
        code=_import_errors,
    ),
    Operation(
        name="get_import_error",
        method="GET",
        path="/importErrors/{import_error_id}",
        to=f"GET {V2}/importErrors/{{import_error_id}}",
        shape=IMPORT_ERROR,
        code=_import_error,
        missing=(
            "Import error not found",
            "The ImportError with import_error_id: `{import_error_id}` was not found",
        ),
    ),
    Operation(
        name="get_config",
        method="GET",
        path="/config",
        to=f"GET {V2}/config",
        query=(text("section"),),
        code=_config,
    ),
    Operation(
        name="get_value",
        method="GET",
        path="/config/section/{section}/option/{option}",
        to=f"GET {V2}/config/section/{{section}}/option/{{option}}",
        code=_value,
    ),
)
