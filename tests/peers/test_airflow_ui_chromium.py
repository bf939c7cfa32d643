"""After our login a real browser is logged in at the pages of a live Airflow 3.3, too."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, expect

from peers.airflows import Airflow3
from peers.fab import shared_secret
from peers.gateway import Gateway, StartGateway

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def door(airflow_fab: Airflow3, gateway: StartGateway) -> Gateway:
    settings = shared_secret(airflow_fab)
    settings["upstream"] = {**settings["upstream"], "protect": ["/api/", "/ui/"]}
    settings["session"] = {"secret": "a secret for nothing but this very test"}
    return gateway(settings)


def test_airflows_own_pages_know_who_has_logged_in_at_ours(chromium: BrowserContext, door: Gateway) -> None:
    page = chromium.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{door.url}/compat-auth/login?next=/dags")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill("admin")

    page.get_by_role("button", name="Log in").click()

    page.wait_for_url(f"{door.url}/dags**")
    expect(page.get_by_role("link", name="tiny", exact=True).first).to_be_visible(timeout=60_000)
