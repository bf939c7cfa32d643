"""The configuration, as text or JSON. No I/O."""

from __future__ import annotations

from compat_auth.airflow.v1.operation import V2, Asked, Operation, require
from compat_auth.airflow.v1.problems import V1Problem, not_found
from compat_auth.airflow.v1.validation.messages import (
    JSON,
    TEXT,
    Answer,
    Call,
    Json,
    Reply,
    Steps,
    json_reply,
    text_reply,
)
from compat_auth.airflow.v1.validation.negotiation import accepted
from compat_auth.airflow.v1.validation.query import text
from compat_auth.crypto.strict_json import is_list

_HIDDEN = "Your Airflow administrator chose not to expose the configuration, most likely for security reasons."
_NOT_ACCEPTABLE = Reply(406, b"", "text/html; charset=utf-8")
# Options that 3.x has under another name, among those that clients ask for.
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


def _config(asked: Asked) -> Steps:
    if (kind := accepted(asked.accept, (TEXT, JSON))) is None:
        return _NOT_ACCEPTABLE
    # 3.x looks for a section in the file only, where 2.x knows those that have defaults, too: ask for all.
    answer = yield asked.call(query=[])
    sections, wanted = _sections(asked, answer), asked.query.value("section")
    if wanted:
        sections = [section for section in sections if section["name"] == wanted]
        if not sections:
            raise not_found("section not found.", f"section={wanted} not found.")
    return _shown(kind, sections)


def _value(asked: Asked) -> Steps:
    if (kind := accepted(asked.accept, (TEXT, JSON))) is None:
        return _NOT_ACCEPTABLE
    section, option = asked.named("section"), asked.named("option")
    answer = yield asked.call()
    if answer.status == 404 and (section.lower(), option.lower()) in _MOVED:
        new_section, new_option = _MOVED[section.lower(), option.lower()]
        path = f"{V2}/config/section/{new_section}/option/{new_option}"
        answer = yield Call("GET", path)
    if answer.status == 404:
        raise not_found("Config not found.", f"The option [{section}/{option}] is not found in config.")
    sections = _sections(asked, answer)
    value = sections[0]["options"][0]["value"]
    return _shown(kind, [{"name": section, "options": [{"key": option, "value": value}]}])


def _sections(asked: Asked, answer: Answer) -> list[Json]:
    if answer.status == 403:
        raise V1Problem(403, _HIDDEN)
    require(asked, answer)
    return [
        {
            "name": section["name"],
            "options": [{"key": option["key"], "value": _value_of(option["value"])} for option in section["options"]],
        }
        for section in answer.json()["sections"]
    ]


def _value_of(value: object) -> str:
    # 3.x has a list where a value has a source.
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
