"""A browser logs in at the gateway, in front of a live Airflow 3.3 with FabAuthManager."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import requests

from support.peers.airflows import Airflow3
from support.peers.fab import changed_user, shared_secret
from support.peers.gateway import Gateway, StartGateway, call

pytestmark = pytest.mark.peer

DAGS = "/api/v2/dags"
ME = "/ui/auth/me"
COOKIE = "compat_auth_session"


@pytest.fixture(scope="module")
def instance(airflow_fab: Airflow3, gateway: StartGateway) -> Gateway:
    settings = shared_secret(airflow_fab)
    settings["upstream"] = {**settings["upstream"], "protect": ["/api/", "/ui/"]}
    settings["session"] = {"secret": "a secret for nothing but this very test"}
    return gateway(settings)


@pytest.fixture
def browser(instance: Gateway) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def log_in(instance: Gateway, browser: requests.Session, name: str, password: str) -> requests.Response:
    page = browser.get(f"{instance.url}/compat-auth/login").text
    (token,) = re.findall(r'name="token" value="([^"]*)"', page)
    form = {"token": token, "username": name, "password": password, "next": "/home"}
    return browser.post(f"{instance.url}/compat-auth/login", data=form, allow_redirects=False)


def test_after_login_airflow_knows_the_browser_by_its_own_cookie(
    instance: Gateway, browser: requests.Session, airflow_fab: Airflow3
) -> None:
    answer = log_in(instance, browser, "admin", "admin")

    token = browser.cookies["_token"]
    assert (answer.status_code, answer.headers["Location"]) == (303, "/home")
    assert browser.get(f"{instance.url}{ME}").json()["username"] == "admin"
    assert call("GET", f"{airflow_fab.url}{ME}", cookies={"_token": token}).json()["username"] == "admin"


def test_airflows_cookie_is_set_as_airflow_sets_it(instance: Gateway, browser: requests.Session) -> None:
    answer = log_in(instance, browser, "admin", "admin")

    (cookie,) = [value for value in answer.raw.headers.getlist("Set-Cookie") if value.startswith("_token=")]
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))


def test_when_airflows_cookie_has_ended_the_session_goes_on(instance: Gateway, browser: requests.Session) -> None:
    log_in(instance, browser, "viewer", "viewer")
    browser.cookies.pop("_token")

    assert browser.get(f"{instance.url}{DAGS}").status_code == 200
    assert browser.get(f"{instance.url}{ME}").json()["username"] == "viewer"


def test_another_site_cannot_change_anything_with_the_session(instance: Gateway, browser: requests.Session) -> None:
    log_in(instance, browser, "admin", "admin")
    browser.cookies.pop("_token")
    change = {"json": {"is_paused": False}, "headers": {"Origin": "https://evil.example"}}

    assert browser.patch(f"{instance.url}{DAGS}/tiny", **change).status_code == 403  # type: ignore[arg-type]  # as requests has it
    change["headers"] = {"Origin": instance.url}
    assert browser.patch(f"{instance.url}{DAGS}/tiny", **change).status_code == 200  # type: ignore[arg-type]  # as requests has it


@pytest.mark.parametrize(("name", "password"), [("admin", "wrong"), ("nobody", "nobody"), ("disabled", "disabled")])
def test_who_may_not_come_in_gets_no_cookie(
    instance: Gateway, browser: requests.Session, name: str, password: str
) -> None:
    answer = log_in(instance, browser, name, password)

    assert answer.status_code == 403
    assert COOKIE not in browser.cookies
    assert "_token" not in browser.cookies


def test_a_user_who_is_disabled_is_out_at_once(
    instance: Gateway, browser: requests.Session, airflow_fab: Airflow3
) -> None:
    log_in(instance, browser, "viewer", "viewer")
    browser.cookies.pop("_token")

    with changed_user(airflow_fab, "viewer", active=False):
        while_disabled = browser.get(f"{instance.url}{DAGS}").status_code

    assert while_disabled == 403
    assert browser.get(f"{instance.url}{DAGS}").status_code == 200


def test_after_logout_neither_cookie_is_left_and_the_session_is_dead(
    instance: Gateway, browser: requests.Session
) -> None:
    log_in(instance, browser, "viewer", "viewer")
    kept = browser.cookies[COOKIE]
    (token,) = re.findall(r'name="token" value="([^"]*)"', browser.get(f"{instance.url}/compat-auth/logout").text)

    browser.post(f"{instance.url}/compat-auth/logout", data={"token": token})

    assert {COOKIE, "_token"}.isdisjoint(browser.cookies.keys())
    assert call("GET", f"{instance.url}{DAGS}", cookies={COOKIE: kept}).status_code == 401
