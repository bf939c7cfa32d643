"""Whether the path of the upstream's URL is the one that Airflow says it is below."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler

import pytest

from compat_auth.cli.diagnosis.upstream_path import find_path_fault, find_way_around
from compat_auth.config import Settings, parse_settings
from support.serving import served

ROOT = "/team/airflow"
PAGE = f'<!doctype html><html><head><base href="{ROOT}/" /></head></html>'


class BelowPath(BaseHTTPRequestHandler):
    """As Airflow answers: its API below the path and beside it, and its page with status 200 everywhere else."""

    page = PAGE

    def do_GET(self) -> None:
        is_api = self.path in ("/api/v2/version", f"{ROOT}/api/v2/version")
        body = b'{"version": "3.3.2"}' if is_api else self.page.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json" if is_api else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the base class's
        """Say nothing."""


class OtherPage(BelowPath):
    """A server that answers everything with a page of its own."""

    page = "<html></html>"


def upstream(url: str) -> Settings:
    return parse_settings({"upstream": {"url": url}}, origin="test")


@pytest.mark.parametrize("right", [ROOT, f"{ROOT}/"])
def test_the_path_that_airflow_says_is_right(right: str) -> None:
    with served(BelowPath) as url:
        fault = find_path_fault(upstream(f"{url}{right}"))

    assert fault == ""


@pytest.mark.parametrize("wrong", ["", "/", "/airflow", "/team", f"{ROOT}{ROOT}", "/Team/Airflow"])
def test_another_path_is_named_with_what_to_set(wrong: str) -> None:
    with served(BelowPath) as url:
        fault = find_path_fault(upstream(f"{url}{wrong}"))

        assert fault.endswith(f"set upstream.url = '{url}{ROOT}'")


def test_an_upstream_beside_the_path_is_right_where_callers_find_us_below_it() -> None:
    with served(BelowPath) as url:
        right = find_path_fault(parse_settings({"upstream": {"url": url}, "serve": {"root_path": ROOT}}, origin="test"))
        wrong = find_path_fault(parse_settings({"upstream": {"url": url}, "serve": {"root_path": "/x"}}, origin="test"))

    assert right == ""
    assert "Airflow has another base path" in wrong


def test_an_upstream_that_cannot_be_asked_has_no_known_fault() -> None:
    with served(BelowPath) as url:
        gone = url

    assert find_path_fault(upstream(gone)) == ""


def test_a_page_that_names_no_path_is_no_fault_of_the_path() -> None:
    with served(OtherPage) as url:
        fault = find_path_fault(upstream(f"{url}/airflow"))

    assert fault == ""


class LoginElsewhere(BelowPath):
    """As Airflow answers with its own address as `[api] base_url`; with another, where the path names one."""

    def do_GET(self) -> None:
        assert self.path.endswith("/api/v2/auth/login")
        host = self.headers["Host"]
        location = {
            "/relative": "/auth/login/",
            "/public": "https://airflow.example.com/auth/login/",
            "/none": "",
            "/odd": "http://[",
        }.get(self.path.removesuffix("/api/v2/auth/login"), f"http://{host}/auth/login/")
        self.send_response(307)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()


def with_pages(url: str) -> Settings:
    return parse_settings({"upstream": {"url": url}, "session": {"secret": "s" * 40}}, origin="test")


def test_an_airflow_whose_pages_lead_past_the_gateway_is_named_with_what_to_set() -> None:
    with served(LoginElsewhere) as url:
        way = find_way_around(with_pages(url))

    assert way.startswith(
        f"Airflow sends browsers that log in or out to its own address, {url}, past the gateway; set "
    )


@pytest.mark.parametrize("path", ["/relative", "/public", "/none", "/odd"])
def test_an_airflow_whose_pages_stay_or_lead_to_another_address_is_not_named(path: str) -> None:
    with served(LoginElsewhere) as url:
        way = find_way_around(with_pages(f"{url}{path}"))

    assert way == ""


def test_where_no_browser_is_expected_nobody_is_asked_where_pages_lead() -> None:
    with served(LoginElsewhere) as url:
        way = find_way_around(upstream(url))

    assert way == ""
