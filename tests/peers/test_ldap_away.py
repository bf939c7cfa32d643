"""While the LDAP server is away: one rule for passwords, tokens and sessions of its users."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from support.peers.airflows import JWT_SECRET
from support.peers.echo import EchoUpstream
from support.peers.gateway import Gateway, StartGateway
from support.peers.slapd import USERS, Slapd

pytestmark = pytest.mark.peer

PATH = "/api/v2/x"
BELIEVED_S = 6


@pytest.fixture
def instance(gateway: StartGateway, echo_upstream: EchoUpstream, slapd: Slapd, tmp_path: Path) -> Gateway:
    ldap = slapd.settings().model_dump(mode="json")
    ldap["bind_password"] = slapd.settings().bind_password.get_secret_value()
    settings: dict[str, Any] = {
        "auth_backends": ["session", "basic_auth", "personal_token"],
        "database_url": f"sqlite:///{tmp_path}/store.db",
        "session": {"secret": "a secret for nothing but these very tests"},
        "upstream": {"url": echo_upstream.url, "profile": "generic"},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "basic_auth": {"directories": ["ldap"], "cache_ttl_s": BELIEVED_S},
        "ldap": ldap,
        "personal_tokens": {"pepper": "a pepper of more than 32 bytes, for tests"},
    }
    return gateway(settings)


def log_in(instance: Gateway, name: str) -> str:
    """Return the session cookie."""
    with requests.Session() as browser:
        browser.trust_env = False
        page = browser.get(f"{instance.url}/compat-auth/login").text
        (token,) = re.findall(r'name="token" value="([^"]*)"', page)
        form = {"token": token, "username": name, "password": USERS[name], "next": "/"}
        answer = browser.post(f"{instance.url}/compat-auth/login", data=form, allow_redirects=False)
        assert answer.status_code == 303, answer.text
        return browser.cookies["compat_auth_session"]


def test_passwords_tokens_and_sessions_go_on_for_the_same_time_and_then_stop(instance: Gateway, slapd: Slapd) -> None:
    made = instance.post(
        "/compat-auth/api/personal-tokens", auth=("alice", USERS["alice"]), json={"name": "e", "days": 3}
    )
    assert made.status_code == 201, made.text
    shown: list[dict[str, Any]] = [
        {"auth": ("alice", USERS["alice"])},
        {"headers": {"Authorization": f"Bearer {made.json()['token']}"}},
        {"cookies": {"compat_auth_session": log_in(instance, "alice")}},
    ]

    def ask() -> list[int]:
        return [instance.get(PATH, **credential).status_code for credential in shown]

    time.sleep(1.1)
    before = ask()
    with slapd.process.frozen():
        time.sleep(1.5)
        during = ask()
        stranger = instance.get(PATH, auth=("bob", USERS["bob"])).status_code
        time.sleep(BELIEVED_S)
        afterwards = ask()
    time.sleep(1.5)
    again = ask()
    instance.process.stop()

    assert before == [200] * 3
    assert during == [200] * 3
    assert stranger == 503
    assert afterwards == [503] * 3
    assert again == [200] * 3
