"""Recorded answers of a live 3.3, translated anew, beside what a live 2.11 answered to the same requests."""

import json
from pathlib import Path
from typing import Any

import pytest

from compat_auth.airflow.v1.messages import Answer as V2Answer
from peers.v1_compare import Answer, differences
from v1_conversation import Conversation

RECORDED: list[dict[str, Any]] = json.loads(Path(__file__).with_name("recorded.json").read_text(encoding="utf-8"))


def test_the_recording_is_of_many_operations() -> None:
    assert len(RECORDED) >= 100


@pytest.mark.parametrize("entry", RECORDED, ids=lambda entry: entry["request"])
def test_a_recorded_answer_becomes_what_2_11_answered(entry: dict[str, Any]) -> None:
    answers = [V2Answer(step["status"], step["answer"].encode()) for step in entry["exchange"]]

    talk = Conversation(entry["request"], *answers, accept=entry["accept"])

    old = entry["old"]
    wanted = Answer(old["status"], old["type"], old["body"].encode())
    found = Answer(talk.status, talk.reply.content_type.partition(";")[0], talk.reply.body)
    assert talk.lines() == [step["call"] for step in entry["exchange"]]
    assert [list(map(list, call.query)) for call in talk.calls] == [step["query"] for step in entry["exchange"]]
    assert differences(wanted, found) == []
