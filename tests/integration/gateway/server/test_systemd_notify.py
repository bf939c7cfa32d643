"""What systemd learns of the service."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from compat_auth.gateway.server.systemd_notify import SystemdNotifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    name = f"@compat-auth-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(5)
        listener.bind(name.replace("@", "\0", 1) if request.param == "abstract" else name)
        yield listener, name


def test_a_state_is_one_datagram(manager: tuple[socket.socket, str]) -> None:
    listener, name = manager

    SystemdNotifier({"NOTIFY_SOCKET": name}, pid=1).send("READY=1")

    assert listener.recv(100) == b"READY=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_a_manager_that_is_not_there_changes_nothing(environ: dict[str, str]) -> None:
    SystemdNotifier(environ, pid=1).send("READY=1")


@pytest.mark.parametrize(
    ("environ", "every_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 15),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_a_watchdog_gets_its_sign_twice_as_often_as_it_waits(environ: dict[str, str], every_s: float | None) -> None:
    notifier = SystemdNotifier({"NOTIFY_SOCKET": "/run/x", **environ}, pid=7)

    assert notifier.watchdog_every_s == every_s
