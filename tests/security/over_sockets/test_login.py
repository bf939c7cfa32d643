"""The login pages under attack: fixation, forged forms, guesses, limited credentials, oversized bodies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from compat_auth.composition.decider import create_flask_app
from compat_auth.config import Settings, parse_settings
from support.security.browser import Browser
from support.security.gateway import parse_answers, running_gateway, write_config
from support.security.upstream import recording_upstream

HASH = bcrypt.hashpw("wonderländ".encode(), bcrypt.gensalt(4)).decode()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "htpasswd").write_text(f"alice:{HASH}\n")
    (tmp_path / "htpasswd").chmod(0o600)
    content: dict[str, Any] = {
        "database_url": f"sqlite:///{tmp_path / 'store.db'}",
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(tmp_path / "htpasswd")},
        "session": {"secret": "s" * 32},
        "upstream": {"url": "http://127.0.0.1:9", "profile": "airflow-simple"},
        "token": {"strategy": "shared_secret", "secret": "t" * 64},
    }
    return parse_settings(content, origin="test")


@pytest.fixture
def browser(settings: Settings) -> Iterator[Browser]:
    browser = Browser(create_flask_app(settings))
    yield browser
    browser.close()


def test_a_login_at_the_gateway_opens_the_api_until_logout(tmp_path: Path) -> None:
    """All of it, over the wire: form, cookie, API, a forged request, logout, replay."""
    extra = f'database_url = "sqlite:///{tmp_path / "store.db"}"'
    with recording_upstream() as upstream:
        config = write_config(tmp_path, f"http://127.0.0.1:{upstream.port}", extra, '["session", "basic_auth"]')
        environ = {"COMPAT_AUTH_SESSION__SECRET": "s" * 40}
        with running_gateway(config, upstream, environ=environ) as gateway:

            def send(method: str, path: str, cookies: dict[str, str], body: str = "", origin: str = "") -> Any:
                pairs = "; ".join(f"{name}={value}" for name, value in cookies.items())
                lines = [
                    f"{method} {path} HTTP/1.1", "Host: gateway", "Connection: close", f"Cookie: {pairs}",
                    f"Content-Length: {len(body)}", "Content-Type: application/x-www-form-urlencoded",
                    *([f"Origin: {origin}"] if origin else []),
                ]  # fmt: skip
                (answer,) = parse_answers(gateway.exchange("\r\n".join([*lines, "", body]).encode()))
                for name, value in answer.headers:
                    if name == b"set-cookie":
                        key, _, rest = value.decode().partition("=")
                        cookies[key] = rest.partition(";")[0]
                return answer

            jar: dict[str, str] = {}

            def find(page: bytes) -> str:
                return str(re.findall(rb'name="token" value="([^"]*)"', page)[0].decode())

            token = find(send("GET", "/compat-auth/login", jar).rest)
            body = f"token={token}&username=alice&password=wonder%3Aland&next=/x"

            logged_in = send("POST", "/compat-auth/login", jar, body, "http://gateway")
            kept = dict(jar)
            read = send("GET", "/api/v2/x", jar)
            forged = send("POST", "/api/v2/x", jar, origin="https://evil.example")
            wrote = send("POST", "/api/v2/x", jar, origin="http://gateway")
            arrived = upstream.take()
            leave = find(send("GET", "/compat-auth/logout", jar).rest)
            send("POST", "/compat-auth/logout", jar, f"token={leave}")
            replayed = send("GET", "/api/v2/x", kept)

            assert (logged_in.status, dict(logged_in.headers)[b"location"]) == (303, b"/x")
            assert (read.status, forged.status, wrote.status, replayed.status) == (200, 403, 200, 401)
            assert [gateway.subject(request) for request in arrived] == ["alice", "alice"]
            assert all(request.values(b"cookie") == [] for request in arrived)
