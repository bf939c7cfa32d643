"""A log that cannot be written loses no line in silence, and refuses requests where the operator wants that."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from support.security.gateway import Gateway, basic, running_gateway, write_config
from support.security.upstream import recording_upstream

MAX_BYTES = 64 * 1024
WHOAMI = "/compat-auth/whoami"
READY = "/compat-auth/ready"


@contextlib.contextmanager
def gateway_on_a_small_disk(folder: Path, extra: str = "") -> Generator[Gateway]:
    with recording_upstream() as upstream:
        config = write_config(folder, f"http://127.0.0.1:{upstream.port}")
        config.write_text(config.read_text(encoding="utf-8") + extra, encoding="utf-8")
        with running_gateway(config, upstream, max_file_bytes=MAX_BYTES) as gateway:
            yield gateway


def fill(gateway: Gateway) -> None:
    with gateway.log.open("ab") as log:
        log.write(b"#" * (MAX_BYTES - gateway.log.stat().st_size - 10))


def rotate(gateway: Gateway) -> None:
    with gateway.log.open("r+b") as log:
        log.truncate(0)


def wrong(gateway: Gateway, number: int) -> int:
    return gateway.ask(WHOAMI, (b"Authorization", basic("alice", f"wrong {number}"))).status


def events(gateway: Gateway) -> list[dict[str, object]]:
    text = gateway.log.read_text(encoding="utf-8", errors="replace")
    return [json.loads(line[line.index("{") :]) for line in text.splitlines() if "compat_auth.audit" in line]


def eventually(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.1)
    return holds()


def test_lost_lines_are_counted_and_said_once_the_log_works_again(tmp_path: Path) -> None:
    with gateway_on_a_small_disk(tmp_path) as gateway:
        fill(gateway)
        while_full = [wrong(gateway, number) for number in range(5)]
        ready = gateway.ask(READY)
        rotate(gateway)
        after = wrong(gateway, 9)
        said = events(gateway)
        ready_after = gateway.ask(READY)

    assert (while_full, after) == ([401] * 5, 401)
    assert json.loads(ready.rest) == {"status": "ready", "audit_lines_lost": 5, "audit_log": "failing"}
    assert [event["event"] for event in said] == ["lost", "verdict"]
    assert said[0]["lines"] == 5
    assert str(said[0]["reason"]).startswith("5 audit lines were lost between 20")
    assert json.loads(ready_after.rest) == {"status": "ready", "audit_lines_lost": 5, "audit_log": "written"}


def test_where_the_operator_wants_it_nothing_is_answered_without_a_log(tmp_path: Path) -> None:
    with gateway_on_a_small_disk(tmp_path, '[audit]\nwhen_full = "refuse"\n') as gateway:
        right = (b"Authorization", basic())
        before = gateway.ask("/api/v2/x", right).status
        gateway.upstream.take()
        fill(gateway)
        wrong(gateway, 1)
        while_full = [gateway.ask("/api/v2/x", right).status, wrong(gateway, 2), gateway.ask("/free", right).status]
        ready, live = gateway.ask(READY), gateway.ask("/compat-auth/live").status
        passed_on = gateway.upstream.take()
        rotate(gateway)
        works_again = eventually(lambda: gateway.ask("/api/v2/x", right).status == 200)
        said = events(gateway)

    assert before == 200
    assert while_full == [503] * 3
    assert passed_on == []
    assert (ready.status, live) == (503, 200)
    assert b"audit log" in ready.rest
    assert works_again
    assert said[0]["event"] == "lost"


def test_a_request_whose_own_line_is_lost_is_refused(tmp_path: Path) -> None:
    with gateway_on_a_small_disk(tmp_path, '[audit]\nwhen_full = "refuse"\n') as gateway:
        fill(gateway)

        answer = gateway.ask("/api/v2/x", (b"Authorization", basic()))
        passed_on = gateway.upstream.take()

    assert answer.status == 503
    assert passed_on == []


@pytest.mark.parametrize("value", ["stop", ""])
def test_an_unknown_word_for_a_full_disk_is_refused(tmp_path: Path, value: str) -> None:
    with (
        pytest.raises(AssertionError, match="when_full"),
        gateway_on_a_small_disk(tmp_path, f'[audit]\nwhen_full = "{value}"\n'),
    ):
        pass
