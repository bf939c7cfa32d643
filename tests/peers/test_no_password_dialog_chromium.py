"""A real browser opens no password dialog of its own over a page: gateway, and plugin in a live Airflow 3.3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bcrypt
import pytest
from playwright.sync_api import BrowserContext, Page

from support.peers import seed
from support.peers.airflows import JWT_SECRET
from support.peers.echo import EchoUpstream
from support.peers.gateway import StartGateway, curl
from support.peers.plugin import StartPlugged

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def in_front(gateway: StartGateway, echo_upstream: EchoUpstream, tmp_path_factory: pytest.TempPathFactory) -> str:
    users: Path = tmp_path_factory.mktemp("users") / "htpasswd"
    users.write_text(f"admin:{bcrypt.hashpw(b'admin', bcrypt.gensalt(4)).decode()}\n", encoding="utf-8")
    users.chmod(0o600)
    settings: dict[str, Any] = {
        "auth_backends": ["session", "basic_auth"],
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(users)},
        "session": {"secret": "a secret for nothing but this very test"},
        "upstream": {"url": echo_upstream.url, "profile": "airflow-simple", "roles": {"*": "VIEWER"}},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
    }
    return gateway(settings).url


@pytest.fixture(scope="module")
def plugged(plugged_airflow: StartPlugged, tmp_path_factory: pytest.TempPathFactory) -> str:
    # With something required, the plugin refuses by itself.
    required = tmp_path_factory.mktemp("required") / "compat_auth.toml"
    required.write_text('[[require]]\npath = "/api/v2/"\nall_of = ["user:admin"]\n')
    airflow = plugged_airflow(
        seed.SIMPLE,
        AIRFLOW__API__AUTH_BACKENDS="airflow.api.auth.backend.session,airflow.api.auth.backend.basic_auth",
        AIRFLOW__COMPAT_AUTH__CONFIG=str(required),
        AIRFLOW__COMPAT_AUTH__SESSION__SECRET="a secret for nothing but this very test",
    )
    return airflow.url


@pytest.fixture(params=["in_front", "plugged"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def dialogs(chromium: BrowserContext) -> tuple[Page, list[str]]:
    """Return a window, and the addresses for which the browser wants to ask for a password."""
    page = chromium.new_page()
    asked: list[str] = []
    wire = chromium.new_cdp_session(page)

    def cancel(event: dict[str, Any]) -> None:
        asked.append(event["request"]["url"])
        answer = {"requestId": event["requestId"], "authChallengeResponse": {"response": "CancelAuth"}}
        wire.send("Fetch.continueWithAuth", answer)

    def go_on(event: dict[str, Any]) -> None:
        wire.send("Fetch.continueRequest", {"requestId": event["requestId"]})

    wire.on("Fetch.authRequired", cancel)
    wire.on("Fetch.requestPaused", go_on)
    wire.send("Fetch.enable", {"handleAuthRequests": True, "patterns": [{"urlPattern": "*"}]})
    return page, asked


@pytest.mark.parametrize("cookie", ["", "compat_auth_session=ended; path=/"], ids=["no-login", "ended-session"])
def test_a_page_s_script_without_a_login_gets_401_and_no_dialog(
    url: str, dialogs: tuple[Page, list[str]], cookie: str
) -> None:
    page, asked = dialogs
    page.goto(f"{url}/compat-auth/docs")
    page.evaluate("cookie => { document.cookie = cookie }", cookie)

    status: int = page.evaluate("fetch('/api/v2/dags').then(answer => answer.status)")

    assert (status, asked) == (401, [])


def test_a_page_that_a_user_opens_without_a_login_gets_no_dialog(url: str, dialogs: tuple[Page, list[str]]) -> None:
    page, asked = dialogs

    answer = page.goto(f"{url}/api/v2/dags")

    assert answer is not None
    assert (answer.status, asked) == (200, [])
    assert "/compat-auth/login?" in page.url


def test_curl_still_hears_that_a_password_is_wanted(url: str) -> None:
    answer = curl(f"{url}/api/v2/dags")

    assert answer.status == 401
    assert any(value.startswith("Basic ") for value in answer.all("WWW-Authenticate"))
