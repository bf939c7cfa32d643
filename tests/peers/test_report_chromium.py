"""The report in a real browser: without script, by day and by night, on paper, and for everybody."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from support.peers.airflows import JWT_SECRET
from support.peers.chromium import barriers
from support.peers.echo import EchoUpstream
from support.peers.gateway import Gateway, StartGateway

PASSWORD = "wonderländ"
WAIT_S = 60


@pytest.fixture
def instance(gateway: StartGateway, echo_upstream: EchoUpstream, tmp_path: Path) -> Iterator[Gateway]:
    path = tmp_path / "htpasswd"
    path.write_text(f"alice:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n")
    path.chmod(0o600)
    settings: dict[str, Any] = {
        "auth_backends": ["session", "basic_auth", "personal_token"],
        "database_url": f"sqlite:///{tmp_path / 'store.db'}",
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(path)},
        "session": {"secret": "a secret for nothing but this very test"},
        "upstream": {"url": echo_upstream.url, "profile": "airflow-simple", "roles": {"*": "VIEWER"}},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "usage": {"admins": ["user:alice"], "flush_s": 1},
    }
    instance = gateway(settings)
    yield instance
    instance.process.stop()


@pytest.fixture
def page(chromium: BrowserContext, instance: Gateway) -> Page:
    page = chromium.new_page()
    page.goto(f"{instance.url}/compat-auth/report")
    page.get_by_label("User name").fill("alice")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{instance.url}/compat-auth/report")
    for _ in range(3):
        assert instance.get("/api/v2/dags", auth=("alice", PASSWORD.encode())).status_code == 200
    ends = time.monotonic() + WAIT_S
    while page.get_by_role("link", name="python-requests").count() == 0 and time.monotonic() < ends:
        page.reload()
    return page


def test_the_report_is_readable_for_everybody_and_leads_to_one_script(page: Page) -> None:
    found: dict[str, list[str]] = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        found[scheme] = barriers(page)
    page.set_viewport_size({"width": 360, "height": 800})
    found["phone"] = barriers(page)
    width = page.evaluate("document.documentElement.scrollWidth")

    page.get_by_role("table", name="Users and their scripts").get_by_role("link", name="alice").first.click()

    expect(page.get_by_role("table", name="Operations in use")).to_contain_text("GET /api/v2/dags")
    assert found == {"light": [], "dark": [], "phone": []}
    assert width <= 360
    page.emulate_media(media="print")
    expect(page.get_by_role("navigation")).to_be_hidden()
