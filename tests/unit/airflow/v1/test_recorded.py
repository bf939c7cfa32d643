"""Recorded answers of a live 3.3, translated anew, beside what a live 2.11 answered to the same requests."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from compat_auth.airflow.v1.catalog import OPERATIONS, ROUTER
from compat_auth.airflow.v1.messages import Answer as V2Answer
from support.peers.v1_compare import Answer, differences
from support.v1_conversation import Conversation

HERE = Path(__file__).parent
# Named anew in every request, so that no stored connection is mixed in.
_TESTED = re.compile(r'"test_[0-9a-f]{16}"')


def recorded(name: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((HERE / name).read_text(encoding="utf-8"))
    return entries


# Compared with live servers only: 2.11 and 3.3 differ there on purpose, or the answers are too long to keep.
NOT_RECORDED = {"patch_mapped_task_instance", "post_set_task_instances_state", "set_mapped_task_instance_note"}
READS = recorded("recorded.json")
WRITES = recorded("recorded_writes.json")


def replayed(entry: dict[str, Any]) -> Conversation:
    answers = [V2Answer(step["status"], step["answer"].encode()) for step in entry["exchange"]]
    moment = datetime.fromisoformat(entry["moment"]) if "moment" in entry else None
    body = entry.get("body", "").encode()
    return Conversation(entry["request"], *answers, body=body, accept=entry["accept"], moment=moment)


def body_of(body: object) -> str:
    return _TESTED.sub('"test"', json.dumps(body, sort_keys=True))


def test_the_recording_is_of_many_operations() -> None:
    assert len(READS) >= 100


def test_the_recording_of_writes_is_of_every_operation_that_writes_but_for_three() -> None:
    operations = {
        ROUTER.find(method, path.partition("?")[0])[0].name
        for method, _, path in (entry["request"].partition(" ") for entry in WRITES if entry["exchange"])
    }

    assert {operation.name for operation in OPERATIONS if operation.method != "GET"} - operations == NOT_RECORDED


@pytest.mark.parametrize("entry", READS, ids=lambda entry: entry["request"])
def test_a_recorded_answer_becomes_what_2_11_answered(entry: dict[str, Any]) -> None:
    talk = replayed(entry)

    assert_same(entry, talk)


@pytest.mark.parametrize("entry", WRITES, ids=lambda entry: f"{entry['request']} {entry['body']}"[:100])
def test_a_recorded_write_makes_the_same_calls_and_becomes_what_2_11_answered(entry: dict[str, Any]) -> None:
    talk = replayed(entry)

    assert [body_of(call.body) for call in talk.calls] == [body_of(step["body"]) for step in entry["exchange"]]
    assert_same(entry, talk)


def assert_same(entry: dict[str, Any], talk: Conversation) -> None:
    old = entry["old"]
    wanted = Answer(old["status"], old["type"], old["body"].encode())
    found = Answer(talk.status, talk.reply.content_type.partition(";")[0], talk.reply.body)
    assert talk.lines() == [step["call"] for step in entry["exchange"]]
    assert [list(map(list, call.query)) for call in talk.calls] == [step["query"] for step in entry["exchange"]]
    assert differences(wanted, found, ordered="order_by" in entry["request"]) == []
