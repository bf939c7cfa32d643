"""The documentation of the gateway's own API in a real browser."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from support.peers.airflows import JWT_SECRET
from support.peers.chromium import barriers
from support.peers.echo import EchoUpstream
from support.peers.gateway import Gateway, StartGateway, run_compat_auth, toml

pytestmark = pytest.mark.peer

SIZES = [(1200, 800), (360, 640)]
IMAGES = Path(__file__).parents[2] / "docs/images"


@pytest.fixture(scope="module")
def settings(echo_upstream: EchoUpstream, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("docs")
    (folder / "users").write_text(f"alice:{bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()}\n")
    (folder / "users").chmod(0o600)
    return {
        "auth_backends": ["personal_token", "session", "basic_auth"],
        "database_url": f"sqlite:///{folder}/state.db",
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(folder / "users")},
        "session": {"secret": "a secret for nothing but this very test"},
        "upstream": {"url": echo_upstream.url, "profile": "airflow-simple", "roles": {"*": "VIEWER"}},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
    }


@pytest.fixture(scope="module")
def instance(gateway: StartGateway, settings: dict[str, Any]) -> Gateway:
    return gateway(settings)


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def page(chromium: BrowserContext, instance: Gateway, complaints: list[str]) -> Page:
    page = chromium.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(f"{instance.url}/compat-auth/docs")
    page.get_by_role("button", name="Authorize").first.wait_for()
    return page


def ask_who_i_am(page: Page) -> Any:
    page.get_by_role("button", name=re.compile("whoami")).first.click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    return page.locator(".live-responses-table .response").first


def test_a_personal_token_tries_it_out(page: Page, settings: dict[str, Any], tmp_path: Path) -> None:
    config = tmp_path / "compat_auth.toml"
    config.write_text(toml(settings))
    made = run_compat_auth(
        "tokens", "create", "--config", str(config), "--user", "alice", "--name", "try", "--days", "1"
    )

    page.get_by_role("button", name="Authorize").first.click()
    page.get_by_label("auth-bearer-value").fill(made.strip())
    page.get_by_role("button", name="Apply credentials").first.click()
    page.get_by_role("button", name="Close").first.click()
    answer = ask_who_i_am(page)

    expect(answer).to_contain_text("200")
    expect(answer).to_contain_text('"backend": "personal_token"')


def test_the_session_of_the_browser_is_not_sent_along(page: Page, instance: Gateway) -> None:
    page.goto(f"{instance.url}/compat-auth/login?next=/compat-auth/docs")
    page.get_by_label("User name").fill("alice")
    page.get_by_label("Password").fill("secret")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{instance.url}/compat-auth/docs")
    assert page.request.get(f"{instance.url}/compat-auth/session").status == 200

    with page.expect_request("**/whoami") as asked:
        answer = ask_who_i_am(page)

    expect(answer).to_contain_text("401")
    assert "cookie" not in asked.value.all_headers()


def test_nothing_is_loaded_from_elsewhere_and_nothing_is_blocked(
    chromium: BrowserContext, instance: Gateway, page: Page, complaints: list[str]
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    page.reload()
    page.get_by_role("button", name=re.compile("whoami")).first.click()

    assert complaints == []
    assert {url.partition("/compat-auth/")[0] for url in asked if not url.startswith("data:")} == {instance.url}
    assert any(url.endswith("swagger-ui.js") for url in asked)


def test_a_script_of_the_upstream_does_not_run_there(page: Page, complaints: list[str]) -> None:
    """The upstream's files have the same origin: what a user may upload there must not become script of ours."""
    page.evaluate("""() => {
      const script = document.createElement("script");
      script.src = "/some/upload.js";
      document.body.append(script);
    }""")

    expect(page.locator("body")).to_be_visible()
    page.wait_for_function("() => true")
    assert [text for text in complaints if "Content Security Policy" in text and "upload.js" in text] != []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize(
    ("path", "operation"),
    [
        pytest.param(
            "/compat-auth/docs", "#operations-Personal_tokens-post_compat_auth_api_personal_tokens", id="ours"
        ),
        pytest.param("/api/v1/ui/", "#operations-DAGRun-get_dag_runs", id="airflow-2"),
    ],
)
def test_it_keeps_the_rules_of_accessibility_and_fits_the_screen(
    page: Page, instance: Gateway, tmp_path: Path, path: str, operation: str, width: int, height: int, scheme: str
) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": height})
    page.goto(f"{instance.url}{path}")
    block = page.locator(operation)
    block.wait_for()
    name = f"{'api' if path.startswith('/compat') else 'api-v1'}-{width}-{scheme}"
    page.screenshot(path=pictures(tmp_path) / f"{name}.png")
    if (width, scheme) == (1200, "light") and os.environ.get("REFRESH_SCREENSHOTS"):
        page.screenshot(path=IMAGES / f"{name.removesuffix('-1200-light')}.png")

    closed = barriers(page)
    block.get_by_role("button").first.click()
    block.get_by_role("button", name="Try it out").click()
    page.screenshot(path=pictures(tmp_path) / f"{name}-open.png", full_page=True)
    opened = barriers(page)

    assert closed == []
    assert opened == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def pictures(folder: Path) -> Path:
    return Path(os.environ.get("SCREENSHOTS", folder))


def test_it_leads_to_the_account_and_back(page: Page, instance: Gateway) -> None:
    page.goto(f"{instance.url}/compat-auth/login?next=/compat-auth/tokens")
    page.get_by_label("User name").fill("alice")
    page.get_by_label("Password").fill("secret")
    page.get_by_role("button", name="Log in").click()
    for link, address in (
        ("API", "/compat-auth/docs"),
        ("Airflow API v1", "/api/v1/ui/"),
        ("Sessions", "/compat-auth/sessions"),
        ("API", "/compat-auth/docs"),
        ("Tokens", "/compat-auth/tokens"),
    ):
        page.get_by_role("navigation").get_by_role("link", name=link, exact=True).click()
        page.wait_for_url(f"{instance.url}{address}")


def test_without_script_the_document_is_named(instance: Gateway) -> None:
    answer = instance.get("/compat-auth/docs")

    assert "<noscript>" in answer.text
    assert instance.get("/compat-auth/openapi.json").json()["openapi"] == "3.1.0"
