"""What an operator changes is in the audit log: who, what, and no secret."""

from __future__ import annotations

import json
import os
import pwd
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from compat_auth.cli import commands, context
from compat_auth.crypto.personal_token_format import PREFIX

PASSWORD = "a password of some length"
ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def config(site: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("SUDO_USER", raising=False)
    return site


@pytest.fixture
def system_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    path = str(tmp_path / "log")
    monkeypatch.setattr(context, "SYSTEM_LOG", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(5)
        yield listener


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, list(arguments), input=f"{PASSWORD}\n", catch_exceptions=False)


def events_in(stderr: str) -> list[dict[str, Any]]:
    return [json.loads(line[line.index("{") :]) for line in stderr.splitlines() if "compat_auth.audit" in line]


def test_every_change_by_a_command_is_an_event(config: str, tmp_path: Path) -> None:
    users, keys = str(tmp_path / "users"), str(tmp_path / "keys.json")

    done = [
        run("users", "add", "zoë", "--file", users, "--password-stdin", "--config", config),
        run("users", "set-password", "zoë", "--file", users, "--password-stdin"),
        run("users", "disable", "zoë", "--file", users),
        run("users", "enable", "zoë", "--file", users),
        run("users", "add", "robot", "--role-account", "--group", "ops", "--config", config),
        made := run("tokens", "create", "--user", "zoë", "--name", "etl", "--config", config),
        run("tokens", "refresh", made.stdout[8:20], "--config", config),
        run("tokens", "revoke", made.stdout[8:20], "--config", config),
        run("tokens", "revoke", "--user", "zoë", "--config", config),
        run("tokens", "prune", "--config", config),
        run("users", "delete", "robot", "--role-account", "--config", config),
        run("users", "delete", "zoë", "--file", users, "--config", config),
        run("keys", "create", "--file", keys),
        run("keys", "rotate", "--file", keys, "--overlap", "0"),
    ]

    events = [event for result in done for event in events_in(result.stderr)]
    assert [result.exit_code for result in done] == [0] * len(done)
    assert [event["result"] for event in events] == [
        "user added",
        "password changed",
        "user disabled",
        "user enabled",
        "role account added",
        "token created",
        "token refreshed",
        "token revoked",
        "token revoked",
        "tokens pruned",
        "role account deleted",
        "user deleted",
        "user logged out",
        "key created",
        "key created",
    ]
    assert {(event["username"], event["backend"]) for event in events} == {(ME, "command line")}
    assert events[5]["reason"] == f"{made.stdout[8:20]} of zoë"
    assert events[5]["path"] == "compat-auth tokens create"


def test_no_event_tells_a_secret(config: str, tmp_path: Path) -> None:
    users = str(tmp_path / "users")
    added = run("users", "add", "alice", "--file", users, "--password-stdin", "--config", config)
    made = run("tokens", "create", "--user", "alice", "--name", "etl", "--config", config)
    again = run("tokens", "refresh", made.stdout[8:20], "--config", config)

    told = "".join(result.stderr for result in (added, made, again))

    assert len(events_in(told)) == 3
    assert PREFIX not in told
    assert PASSWORD not in told
    assert "$argon2" not in told


def test_what_fails_is_no_event(config: str) -> None:
    result = CliRunner().invoke(commands, ["tokens", "revoke", "a" * 12, "--config", config])

    assert result.exit_code != 0
    assert events_in(result.stderr) == []


def test_the_systems_log_has_it_where_there_is_one(tmp_path: Path, system_log: socket.socket) -> None:
    result = run("keys", "create", "--file", str(tmp_path / "keys.json"))

    line = system_log.recv(4096).decode()
    assert line.startswith(f"<86>compat-auth[{os.getpid()}]: {{")  # authpriv.info
    assert json.loads(line[line.index("{") :])["result"] == "key created"
    assert result.stderr == ""


def test_no_variable_silences_or_misleads_it(config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("COMPAT_AUTH_LOG_LEVEL", "CRITICAL"), ("LOGNAME", "mallory"), ("USER", "mallory")):
        monkeypatch.setenv(name, value)

    result = run("keys", "create", "--file", str(tmp_path / "keys.json"))

    assert [event["username"] for event in events_in(result.stderr)] == [ME]


@pytest.mark.parametrize(("uid", "expected"), [(0, "root (sudo: alice)"), (4_000_000, "uid 4000000")])
def test_who_stands_behind_sudo_is_told(monkeypatch: pytest.MonkeyPatch, uid: int, expected: str) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")
    monkeypatch.setattr(os, "getuid", lambda: uid)

    assert context.operator() == expected
