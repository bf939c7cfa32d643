"""Logs and their tokens; files of DAGs and theirs."""

from typing import Any

import pytest

from compat_auth.airflow.v1.mappers.etags import pack, unpack
from support.v1_conversation import Conversation, refuses, says

INSTANCE: dict[str, Any] = {
    "task_id": "t",
    "dag_id": "d",
    "dag_run_id": "r",
    "map_index": -1,
    "logical_date": "2024-01-02T00:00:00Z",
    "state": "success",
    "hostname": "vm",
}


def test_a_log_is_text_for_who_takes_anything_and_goes_through_unheld() -> None:
    log = "/dags/d/dagRuns/r/taskInstances/t/logs/1"
    line = b'{"timestamp":"2024-01-02T03:04:05.678Z","level":"info","event":"\xc3\xa4","filename":"f.py","lineno":7}\n'

    talk = Conversation(f"GET {log}", says(INSTANCE), refuses(404))

    streamed = talk.calls[1]
    assert streamed.accept == "application/x-ndjson"
    assert streamed.rewriter is not None
    said = [streamed.rewriter.feed(line[:20]), streamed.rewriter.feed(line[20:]), streamed.rewriter.end()]
    assert said == [b"vm\n", "[2024-01-02T03:04:05.678+0000] {f.py:7} INFO - ä\n".encode(), b""]
    assert talk.status == 200
    assert b"the task has no try 1" in talk.reply.body


def test_a_log_as_json_always_has_a_token_and_its_end_is_an_empty_content() -> None:
    log = "/dags/d/dagRuns/r/taskInstances/t/logs/1"
    whole = says({"content": [{"event": "hello"}], "continuation_token": None})

    first = Conversation(f"GET {log}", says(INSTANCE), whole, accept="application/json")
    token = first.json()["continuation_token"]
    last = Conversation(f"GET {log}?token={token}", says(INSTANCE), accept="application/json")

    assert first.json()["content"] == "[('vm', 'hello')]"
    assert last.json() == {"content": "[('vm', '')]", "continuation_token": token}


def test_the_upstream_s_token_for_the_rest_of_a_log_comes_back_to_it() -> None:
    log = "/dags/d/dagRuns/r/taskInstances/t/logs/1"
    part = says({"content": [], "continuation_token": "theirs"})

    first = Conversation(f"GET {log}", says(INSTANCE), part, accept="application/json")
    token = first.json()["continuation_token"]
    second = Conversation(f"GET {log}?token={token}", says(INSTANCE), part, accept="application/json")

    assert ("token", "theirs") in second.query(1)


@pytest.mark.parametrize(
    "token", ["x", "WzEsImxvZyIsM10", pack("dag", "d")], ids=["text", "no-text-in-it", "other-kind"]
)
def test_a_log_token_of_somebody_else_is_refused(token: str) -> None:
    talk = Conversation(
        f"GET /dags/d/dagRuns/r/taskInstances/t/logs/1?token={token}", says(INSTANCE), accept="application/json"
    )

    assert talk.status == 400


def test_a_file_token_leads_back_to_its_dag_and_needs_no_secret_because_it_opens_nothing() -> None:
    token = pack("dag", "d/ä")

    talk = Conversation(f"GET /dagSources/{token}", says({"content": "import this"}), accept="application/json")

    assert unpack("dag", token) == "d/ä"
    assert talk.lines() == ["GET /api/v2/dagSources/d%2F%C3%A4"]
    assert talk.json() == {"content": "import this"}


def test_a_file_token_of_a_2_x_server_is_not_known() -> None:
    talk = Conversation("GET /dagSources/Ii90bXAvZGFncy9hLnB5Ig.7GgRUQjF2Zq3mLMFSlCY411xTGo")

    assert talk.status == 404
    assert talk.calls == []
