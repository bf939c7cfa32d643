"""The logs of task instances: text as it comes, or JSON in the odd shape of 2.x. No I/O."""

from __future__ import annotations

from compat_auth.airflow.v1.mappers.etags import pack, unpack
from compat_auth.airflow.v1.operation import V2, Asked, Operation, fetch, require
from compat_auth.airflow.v1.problems import V1Problem
from compat_auth.airflow.v1.resources.log_text import LogRewriter, whole_text
from compat_auth.airflow.v1.validation.messages import JSON, TEXT, Answer, Call, Reply, Steps, json_reply, text_reply
from compat_auth.airflow.v1.validation.negotiation import accepted
from compat_auth.airflow.v1.validation.query import boolean, integer, text
from compat_auth.crypto.strict_json import is_list

_ONE = f"{V2}/dags/{{dag_id}}/dagRuns/{{dag_run_id}}/taskInstances/{{task_id}}"
_LOG = f"{_ONE}/logs/{{task_try_number}}"
_NDJSON = "application/x-ndjson"
_TOKEN = "log"  # noqa: S105  # the kind of a token
# Clients of 2.x read on until there is nothing new, never until there is no token.
_END = ""
# 3.0.0 knows no streamed answer.
_NOT_STREAMED = frozenset((406, 415, 422))


def _log(asked: Asked) -> Steps:
    map_index = asked.query.value("map_index") or "-1"
    # 2.x tells where the task ran, and knows a task instance by more than its tries.
    instance = yield from fetch(asked, asked.path(f"{_ONE}/{{map_index}}", map_index=map_index))
    host = instance.get("hostname") or ""
    given = asked.query.value("token")
    token = unpack(_TOKEN, given) if given else None
    if given and token is None:
        raise V1Problem(400, title="Bad Signature. Please use only the tokens provided by the API.")
    query = [("map_index", map_index), *([("token", token)] if token else [])]
    # Nothing and anything mean text; what neither fits gets JSON.
    as_text = accepted(asked.accept, (TEXT, JSON)) == TEXT
    if asked.named("task_try_number").strip("0") == "":
        refusal = "Error fetching the logs. Try number 0 is invalid."
        return text_reply(f"default_host\n{refusal}\n") if as_text else _chunk("default_host", refusal, _END)
    if as_text:
        return (yield from _as_text(asked, host, query))
    if token == _END and given:
        return _chunk(host, "", _END)
    full = asked.query.is_true("full_content")
    answer = yield Call("GET", asked.path(_LOG), (*query, ("full_content", "true" if full else "false")))
    if answer.status == 404:
        return _chunk(host, _no_such_try(asked), _END)
    require(asked, answer)
    found = answer.json()
    return _chunk(host, _content(answer), found.get("continuation_token") or _END)


def _as_text(asked: Asked, host: str, query: list[tuple[str, str]]) -> Steps:
    whole = (*query, ("full_content", "true"))
    answer = yield Call("GET", asked.path(_LOG), whole, accept=_NDJSON, rewriter=LogRewriter(host))
    if answer.status in _NOT_STREAMED:
        answer = yield Call("GET", asked.path(_LOG), whole)
    if answer.status == 404:
        return text_reply(f"{host}\n{_no_such_try(asked)}\n")
    require(asked, answer)
    return text_reply(f"{host}\n{_content(answer)}\n")


def _content(answer: Answer) -> str:
    content: object = answer.json().get("content")
    if is_list(content):
        return whole_text(content)
    return content if isinstance(content, str) else ""


def _chunk(host: str, content: str, token: str) -> Reply:
    return json_reply({"content": repr([(host, content)]), "continuation_token": pack(_TOKEN, token)})


def _no_such_try(asked: Asked) -> str:
    return f"*** Could not read the log: try {asked.named('task_try_number')} of the task is not known"


OPERATIONS = (
    Operation(
        name="get_log",
        method="GET",
        path="/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/logs/{task_try_number}",
        to=f"GET {_LOG}",
        query=(boolean("full_content", ""), integer("map_index", ""), text("token", "")),
        code=_log,
        missing=("TaskInstance not found", None),
    ),
)
