"""Users that are added to the upstream."""

from __future__ import annotations

import json
import logging
from typing import Any, cast

import pytest

from compat_auth.config import parse_settings
from compat_auth.credentials import Absent, Credential
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.identity import Identity, Token
from compat_auth.tokens import upstream_users
from compat_auth.tokens.strategies import Strategy
from compat_auth.tokens.upstream_login import UpstreamLogin
from compat_auth.tokens.upstream_users import NewUser, UpstreamUsers

ZOE = NewUser("zoë@example.org", "Zoë", "Q", "Viewer")
ADMIN = Identity("admin", "basic_auth", upstream_id="1")


class Upstream:
    """Answers with a status, and remembers what it was sent."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.sent: list[tuple[str, dict[str, Any], str]] = []

    def add(self, path: str, document: dict[str, Any], token: str) -> int:
        self.sent.append((path, document, token))
        return self.status


class Tokens:
    """Gives the administrator's token."""

    def obtain(self, identity: Identity, credential: Credential, *, fresh: bool) -> Token:
        assert (identity, credential, fresh) == (ADMIN, Absent(), False)
        return Token("of-admin", 2_000_000_000)


def users(status: int) -> tuple[UpstreamUsers, Upstream]:
    upstream = Upstream(status)
    return UpstreamUsers(cast("UpstreamLogin", upstream), cast("Strategy", Tokens())), upstream


@pytest.mark.parametrize("status", [200, 201])
def test_a_user_is_added_with_a_password_that_nobody_knows(status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "compat_auth.audit")
    adding, upstream = users(status)

    added = [adding.add(ZOE, ADMIN) for _ in range(2)]

    passwords = [document.pop("password") for _, document, _ in upstream.sent]
    assert added == [True, True]
    assert upstream.sent[0] == (
        "/auth/fab/v1/users",
        {
            "username": "zoë@example.org",
            "email": "zoë@example.org",
            "first_name": "Zoë",
            "last_name": "Q",
            "roles": [{"name": "Viewer"}],
        },
        "of-admin",
    )
    assert passwords[0] != passwords[1]
    assert [len(password) for password in passwords] == [64, 64]
    event = json.loads(caplog.messages[0])
    assert (event["result"], event["backend"], event["username"]) == ("create", "basic_auth", "zoë@example.org")
    assert (event["method"], event["path"]) == ("POST", "/auth/fab/v1/users")
    assert "'Viewer'" in event["reason"]
    assert "'admin'" in event["reason"]


def test_a_name_that_is_taken_is_not_added(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "compat_auth.audit")

    assert users(409)[0].add(ZOE, ADMIN) is False
    assert caplog.messages == []


@pytest.mark.parametrize("status", [202, 302, 400, 403, 500])
def test_any_other_answer_is_no_user(status: int) -> None:
    with pytest.raises(BackendUnavailable, match=f"answered {status} when 'admin' added user with role 'Viewer'"):
        users(status)[0].add(ZOE, ADMIN)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"upstream": {"profile": "airflow-simple"}}, r"newcomers: only with \[upstream\] profile"),
        ({"token": {"strategy": "exchange"}}, r"newcomers: needs \[token\] strategy"),
    ],
)
def test_an_upstream_without_users_is_a_wrong_setting(changed: dict[str, Any], says: str) -> None:
    settings = parse_settings({"upstream": {"profile": "airflow-fab"}, **changed}, origin="test")

    with pytest.raises(ConfigError, match=says):
        UpstreamUsers.from_settings(settings, where="newcomers")


@pytest.mark.parametrize("strategy", ["shared_secret", "key_pair"])
def test_users_are_added_by_the_strategy_and_at_the_upstream_of_the_settings(
    strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = parse_settings({"upstream": {"profile": "airflow-fab"}, "token": {"strategy": strategy}}, origin="test")
    upstream = Upstream(201)
    monkeypatch.setattr(UpstreamLogin, "from_settings", lambda given: upstream if given is settings else None)
    monkeypatch.setattr(upstream_users, "build_strategy", lambda given: Tokens() if given is settings else None)

    added = UpstreamUsers.from_settings(settings, where="newcomers").add(ZOE, ADMIN)

    assert added
    assert [token for _, _, token in upstream.sent] == ["of-admin"]
