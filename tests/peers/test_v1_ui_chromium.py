"""Swagger UI of Airflow 2's `/api/v1` in a real browser: behind the gateway, and inside Airflow with the plugin."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from compat_auth.airflow.v1.catalog import OPERATIONS
from support.peers import seed
from support.peers.airflows import Airflow3
from support.peers.gateway import Gateway, StartGateway, call
from support.peers.plugin import BASIC_AUTH, StartPlugged

pytestmark = pytest.mark.peer

UI = "/api/v1/ui/"


@pytest.fixture(scope="module")
def instance(airflow_simple: Airflow3, gateway: StartGateway) -> Gateway:
    return gateway(
        {
            "upstream": {"url": airflow_simple.url, "profile": "airflow-simple"},
            "token": {"strategy": "exchange"},
            "basic_auth": {"directories": ["upstream"]},
        }
    )


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def page(chromium: BrowserContext, complaints: list[str]) -> Page:
    page = chromium.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    return page


def open_ui(page: Page, url: str) -> None:
    page.goto(f"{url}{UI}")
    page.get_by_role("button", name="Authorize").first.wait_for()


def authorize(page: Page, username: str, password: str) -> None:
    page.get_by_role("button", name="Authorize").first.click()
    page.get_by_label("auth-basic-username").fill(username)
    page.get_by_label("auth-basic-password").fill(password)
    page.get_by_role("button", name="Apply credentials").first.click()
    page.get_by_role("button", name="Close").first.click()


def list_dags(page: Page) -> None:
    page.locator("#operations-DAG-get_dags").get_by_role("button").first.click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()


def test_it_shows_every_operation_and_loads_nothing_from_elsewhere(
    page: Page, instance: Gateway, complaints: list[str]
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    open_ui(page, instance.url)

    # One of them stands in two groups, as in 2.11.
    expect(page.locator(".opblock")).to_have_count(len(OPERATIONS) + 1)
    expect(page.locator(".opblock-tag").first).to_have_text(re.compile("Config"))
    assert complaints == []
    assert {url.partition("/api/")[0] for url in asked if not url.startswith("data:")} == {instance.url}


def test_basic_given_in_authorize_tries_it_out(page: Page, instance: Gateway) -> None:
    open_ui(page, instance.url)

    authorize(page, "admin", "admin")
    list_dags(page)

    answer = page.locator(".live-responses-table .response").first
    expect(answer).to_contain_text("200")
    expect(answer).to_contain_text('"dag_id": "tiny"')


def test_without_a_credential_it_is_refused_and_the_browser_asks_nothing(page: Page, instance: Gateway) -> None:
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    open_ui(page, instance.url)

    list_dags(page)

    expect(page.locator(".live-responses-table .response").first).to_contain_text("401")
    assert dialogs == []


def test_inside_airflow_it_works_below_the_path_of_its_base_url(page: Page, plugged_airflow: StartPlugged) -> None:
    airflow = plugged_airflow(
        seed.FAB, AIRFLOW__FAB__AUTH_BACKENDS=BASIC_AUTH, AIRFLOW__API__BASE_URL="http://localhost:8080/deployed/here"
    )
    url = f"{airflow.url}/deployed/here"
    open_ui(page, url)

    authorize(page, "admin", "admin")
    list_dags(page)

    answer = page.locator(".live-responses-table .response").first
    expect(answer).to_contain_text("200")
    expect(answer).to_contain_text('"dag_id": "tiny"')
    assert call("GET", f"{url}/api/v1/openapi.json").json()["servers"] == [{"url": "/deployed/here/api/v1"}]


def test_the_old_address_without_a_slash_leads_there(instance: Gateway) -> None:
    answer = call("GET", f"{instance.url}/api/v1/ui", allow_redirects=True)

    assert [(step.status_code, step.headers["Location"]) for step in answer.history] == [(308, "ui/")]
    assert answer.url == f"{instance.url}{UI}"
    assert "swagger-ui.js" in answer.text


@pytest.mark.parametrize("name", ["index.html", "swagger-ui.js.map"])
def test_nothing_else_is_there(instance: Gateway, name: str) -> None:
    assert call("GET", f"{instance.url}{UI}{name}", auth=("admin", "admin")).status_code == 404


def test_it_is_read_only(instance: Gateway) -> None:
    answer = call("POST", f"{instance.url}{UI}", data=json.dumps({}))

    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD"
