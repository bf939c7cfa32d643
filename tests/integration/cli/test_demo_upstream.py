"""The demo's upstream shows in a browser what it receives, and to nobody a token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compat_auth.cli.demo.received_page import ReceivedPage
from compat_auth.cli.demo.upstream import Upstream, write_demo
from support.stand_ins import call, http_scope


def test_what_was_received_is_shown_newest_first_and_escaped() -> None:
    page = ReceivedPage()
    page.add("GET /api/whoami", {"sub": "alice"})
    page.add("GET /api/whoami", {"sub": "<script>"})

    text = page.render().decode()

    assert text.index("&lt;script&gt;") < text.index("alice")
    assert "<script>" not in text


def test_only_the_last_requests_are_kept() -> None:
    page = ReceivedPage()
    for number in range(100):
        page.add("GET /api/whoami", {"sub": f"user-{number}"})

    text = page.render().decode()

    assert text.count("<h2>") == 20
    assert "user-79" not in text


async def test_a_browser_gets_a_page_that_loads_nothing() -> None:
    sent = await call(Upstream(), http_scope(b"/"))

    headers: dict[bytes, Any] = dict(sent.headers)
    assert sent.status == 200
    assert headers[b"content-security-policy"].startswith(b"default-src 'none'")
    assert b"Nothing yet." in sent.body


@pytest.mark.parametrize("path", [b"/other", b"//"])
async def test_other_paths_say_where_to_go(path: bytes) -> None:
    sent = await call(Upstream(), http_scope(path))

    assert sent.status == 404
    assert b"/compat-auth/" in sent.body


def test_the_demo_has_a_login_page(tmp_path: Path) -> None:
    settings, _ = write_demo(tmp_path, "http://127.0.0.1:1")

    assert settings.session.secret.get_secret_value()
