"""Who waits for PAM's processes behind whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask
import pytest

from compat_auth.config import parse_settings
from compat_auth_backends.directories.pam import PamDirectory


class Pool:
    """Notes for whom it works."""

    def __init__(self) -> None:
        self.clients: list[str] = []

    def run(self, check: Callable[[], Any], *, client: str) -> tuple[int, str]:
        del check
        self.clients.append(client)
        return 7, ""


def test_addresses_of_one_ipv6_network_share_one_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool()
    directory = PamDirectory(parse_settings({"pam": {"service": "script"}}, origin="test").pam)
    monkeypatch.setattr(directory, "_pool", pool)

    for address in ("2001:db8::1", "2001:db8::2", "192.0.2.1"):
        with flask.Flask("test").test_request_context(environ_base={"REMOTE_ADDR": address}):
            directory.check("alice", "wrong")

    assert pool.clients == ["2001:db8::/64", "2001:db8::/64", "192.0.2.1"]
