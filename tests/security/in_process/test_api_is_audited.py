"""What asks who the caller is behind the gate, asks the gate: one line, the same bounds, the same memory."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from compat_auth.app import Gateway
from compat_auth.config import parse_settings
from compat_auth.errors import BackendUnavailable
from compat_auth.http.request import Shown
from compat_auth_backends.basic_auth import BasicAuthBackend
from support.stand_ins import Sent, basic, call, http_scope

API = b"/compat-auth/api/personal-tokens"
WHOAMI = b"/compat-auth/whoami"


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    hashed = bcrypt.hashpw(b"wonder", bcrypt.gensalt(4)).decode()
    (tmp_path / "users").write_text(f"alice:{hashed}\n")
    (tmp_path / "users").chmod(0o600)
    content: dict[str, Any] = {
        "auth_backends": ["session", "basic_auth", "personal_token"],
        "database_url": f"sqlite:///{tmp_path / 'store.db'}",
        "session": {"secret": "s" * 32},
        "htpasswd": {"file": str(tmp_path / "users")},
        "basic_auth": {"directories": ["htpasswd"]},
        "upstream": {"url": "http://127.0.0.1:9", "profile": "generic"},
        "token": {"strategy": "shared_secret", "secret": "t" * 64, "audience": "x"},
    }
    return Gateway(parse_settings(content, origin="test"))


async def ask(gateway: Gateway, path: bytes, authorization: str) -> Sent:
    return await call(gateway, http_scope(path, [(b"authorization", authorization.encode())]))


def events(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(record.getMessage()) for record in caplog.records if record.name == "compat_auth.audit"]


@pytest.mark.parametrize("path", [API, API + b"/abc", WHOAMI])
async def test_a_wrong_password_leaves_one_line_wherever_it_is_shown(
    gateway: Gateway, path: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "compat_auth.audit")

    answer = await ask(gateway, path, basic("alice", "wrong"))

    (event,) = events(caplog)
    assert answer.status == 401
    assert answer.values(b"www-authenticate")
    assert (event["result"], event["backend"], event["username"]) == ("reject", "basic_auth", "alice")
    assert event["path"] == path.decode()


@pytest.mark.parametrize("authorization", ["Basic !!!", "Basic YTpi, Basic YTpi", "Bearer"])
async def test_a_malformed_credential_leaves_one_line(
    gateway: Gateway, authorization: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "compat_auth.audit")

    answer = await ask(gateway, API, authorization)

    assert answer.status in (400, 401)
    assert [event["result"] for event in events(caplog)] == ["reject"]


async def test_a_source_that_is_down_leaves_one_line(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise BackendUnavailable("down")

    monkeypatch.setattr(BasicAuthBackend, "authenticate", down)
    caplog.set_level(logging.INFO, "compat_auth.audit")

    answer = await ask(gateway, API, basic("alice", "wonder"))

    assert answer.status == 503
    assert [event["result"] for event in events(caplog)] == ["unavailable"]


@pytest.mark.parametrize("first", [API, WHOAMI])
async def test_a_right_password_is_checked_once_for_all_pages(
    gateway: Gateway, first: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "compat_auth.audit")

    before = await ask(gateway, first, basic("alice", "wonder"))
    after = [(await ask(gateway, API, basic("alice", "wonder"))).status for _ in range(5)]

    assert [before.status, *after] == [200] * 6
    assert [event["result"] for event in events(caplog)] == ["accept"]


async def test_a_caller_of_the_api_gets_no_token_for_the_upstream_remembered(gateway: Gateway) -> None:
    await ask(gateway, API, basic("alice", "wonder"))

    recalled = gateway._core.decider.recall(Shown(basic("alice", "wonder")), lambda: pytest.fail("asked"))

    assert recalled is None
