"""A probe of front proxies that are each wrong in one respect, and of sites that are none of ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner

from compat_auth.cli import commands
from compat_auth.cli.doctor.proxy.sending import MAX_REQUESTS
from support.serving import served

Probe = Callable[..., tuple[int, list[dict[str, Any]]]]


class Right(BaseHTTPRequestHandler):
    """A gateway behind a proxy that lets nothing through."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:  # http.server's name
        self.asked.append((self.path, self.headers.get("Authorization", "")))
        self.answer()

    def answer(self) -> None:
        if self.headers.get("Authorization"):
            self.send(200, {"username": "alice"}, "application/json")
        elif self.path == "/compat-auth/live":
            self.send(200, {"status": "live"}, "application/json")
        else:
            self.refuse()

    def refuse(self) -> None:
        self.send(401, {"status": 401, "title": "Unauthorized"}, "application/problem+json")

    def send(self, status: int, body: object, kind: str, **headers: str) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


class BelievesEmail(Right):
    def answer(self) -> None:
        if name := self.headers.get("X-Forwarded-Email"):
            self.send(200, {"username": name}, "application/json")
        else:
            super().answer()


class KnowsNobody(Right):
    """It believes the header, and knows no such user."""

    def answer(self) -> None:
        if self.headers.get("X-Auth-Request-User"):
            self.send(403, {"status": 403}, "application/problem+json")
        else:
            super().answer()


class BelievesBesideCredential(Right):
    def answer(self) -> None:
        if self.headers.get("Authorization") and (name := self.headers.get("Remote-User")):
            self.send(200, {"username": name}, "application/json")
        else:
            super().answer()


class BelievesAddress(Right):
    def answer(self) -> None:
        if self.headers.get("X-Forwarded-For") == "127.0.0.1" and (name := self.headers.get("Remote-User")):
            self.send(200, {"username": name}, "application/json")
        else:
            super().answer()


class FoldsUnderscores(Right):
    def answer(self) -> None:
        if name := self.headers.get("Remote_User"):
            self.send(200, {"username": name}, "application/json")
        else:
            super().answer()


class DecodesTwice(Right):
    def answer(self) -> None:
        if "%252e" in self.path:
            self.send(200, {"dags": []}, "application/json")
        else:
            super().answer()


class AnswersAroundUs(Right):
    """The upstream itself refuses another spelling."""

    def answer(self) -> None:
        if ";" in self.path:
            self.send(401, {"detail": "Not authenticated"}, "application/json")
        else:
            super().answer()


class BelievesUri(Right):
    def answer(self) -> None:
        if self.headers.get("X-Forwarded-Uri") == "/compat-auth/live" and self.path == "/api/v2/dags":
            self.send(200, {"dags": []}, "application/json")
        else:
            super().answer()


class AnswersForwardAuth(Right):
    def answer(self) -> None:
        if self.path == "/compat-auth/forward-auth/nginx":
            self.send(200, {}, "application/json")
        else:
            super().answer()


class NamesHost(Right):
    def refuse(self) -> None:
        host = self.headers.get("X-Forwarded-Host", "here")
        self.send(401, {}, "application/problem+json", Link=f"<https://{host}/login>")


class AllowsEverybody(Right):
    def answer(self) -> None:
        self.send(200, {"username": "anonymous"}, "application/json")


class ServesApiItself(Right):
    def answer(self) -> None:
        if self.path.startswith("/api/"):
            self.send(200, {"dags": []}, "application/json")
        else:
            super().answer()


class AnswersEveryPath(Right):
    """The upstream answers whatever the gateway does not protect."""

    def answer(self) -> None:
        if self.path.startswith(("/api/", "/compat-auth/")):
            super().answer()
        else:
            self.send(401, {"detail": "Not authenticated"}, "application/json")


class AnswersStyles(AnswersEveryPath):
    """The proxy asks the upstream itself for style sheets."""

    def answer(self) -> None:
        if self.path.endswith(".css"):
            self.send(401, {"detail": "Not authenticated"}, "application/json")
        else:
            super().answer()


class Elsewhere(Right):
    def answer(self) -> None:
        self.send(302, {}, "text/html", Location="https://login.example/")


class NotOurs(Right):
    def answer(self) -> None:
        self.send(404, {}, "text/html")


class Guards(Right):
    """A firewall refuses whatever looks like an attack."""

    def answer(self) -> None:
        if any(name.lower().startswith(("remote", "x-", "cf-")) for name in self.headers):
            self.send(403, {}, "text/html")
        else:
            super().answer()


class Limits(Right):
    def answer(self) -> None:
        if len(self.asked) > 5:
            self.send(429, {}, "text/html")
        else:
            super().answer()


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Probe:
    """Probe a site; return exit status and results."""
    monkeypatch.chdir(tmp_path)

    def run(site: type[Right], *arguments: str) -> tuple[int, list[dict[str, Any]]]:
        site.asked.clear()
        with served(site) as url:
            result = CliRunner().invoke(commands, ["doctor", "--json", "--probe", url, *arguments])
        assert 0 < len(site.asked) <= MAX_REQUESTS
        return result.exit_code, json.loads(result.stdout)

    return run


@pytest.mark.parametrize("site", [pytest.param(Right, id="right"), pytest.param(Guards, id="firewall")])
def test_a_site_that_lets_nothing_through_is_right(probe: Probe, site: type[Right]) -> None:
    status, found = probe(site, "-u", "alice:right")

    assert status == 0
    assert [result["status"] for result in found] == ["ok"]
    assert "nothing got through" in found[0]["what"]


@pytest.mark.parametrize(
    ("site", "what"),
    [
        pytest.param(BelievesEmail, "the header X-Forwarded-Email of a client", id="header"),
        pytest.param(KnowsNobody, "the header X-Auth-Request-User of a client", id="unknown-user"),
        pytest.param(BelievesBesideCredential, "the header Remote-User of a client", id="beside-a-credential"),
        pytest.param(BelievesAddress, "an address in X-Forwarded-For", id="address"),
        pytest.param(FoldsUnderscores, "the header Remote_User of a client", id="underscore"),
        pytest.param(DecodesTwice, "/%252e%252e/api/v2/dags", id="decoded-twice"),
        pytest.param(BelievesUri, "with X-Forwarded-Uri: /compat-auth/live", id="uri"),
        pytest.param(AnswersForwardAuth, "/compat-auth/forward-auth/nginx answers a client", id="forward-auth"),
        pytest.param(NamesHost, "the header X-Forwarded-Host of a client decides", id="host"),
        pytest.param(AllowsEverybody, "a caller without a credential is 'anonymous'", id="everybody"),
        pytest.param(ServesApiItself, "a caller without a credential gets 200 with content", id="unprotected"),
        pytest.param(NotOurs, "answers 404, where compat_auth answers 401", id="not-ours"),
    ],
)
def test_a_site_that_lets_something_through_is_named(probe: Probe, site: type[Right], what: str) -> None:
    status, found = probe(site, "-u", "alice:right")

    failures = [result for result in found if not result["ok"]]
    assert status == 78
    assert failures
    assert what in failures[0]["what"]
    assert all(failure["where"].startswith("http://127.0.0.1:") and failure["next"] for failure in failures)
    assert len({failure["what"].partition(" gets ")[2] for failure in failures}) == 1


def test_every_path_that_goes_around_the_gateway_is_named(probe: Probe) -> None:
    status, found = probe(AnswersAroundUs)

    assert status == 78
    assert all("reached the upstream past the check" in result["what"] for result in found)
    assert len(found) >= 3


def test_an_upstream_that_answers_every_path_is_a_doubt(probe: Probe) -> None:
    status, found = probe(AnswersEveryPath)

    assert status == 0
    assert [one["status"] for one in found] == ["warning", "ok"]
    assert "reach the upstream as unprotected paths do" in found[0]["what"]


def test_an_upstream_that_answers_every_path_hides_no_path_below_the_protected_one(probe: Probe) -> None:
    status, found = probe(AnswersStyles)

    failures = [one for one in found if not one["ok"]]
    assert status == 78
    assert failures
    assert all(".css" in one["what"] for one in failures)


def test_another_login_in_front_leaves_nothing_to_ask(probe: Probe) -> None:
    status, found = probe(Elsewhere)

    assert status == 0
    assert found[0]["status"] == "not asked"
    assert len(Elsewhere.asked) == 1


def test_a_site_that_asks_for_fewer_requests_gets_no_more(probe: Probe) -> None:
    status, found = probe(Limits)

    assert status == 78
    assert "429" in found[-1]["what"]
    assert len(Limits.asked) == 6


def test_a_password_is_sent_to_the_named_site_only_and_not_shown(probe: Probe) -> None:
    _, found = probe(Right, "-u", "alice:hush-hush")

    assert any(authorization.startswith("Basic ") for _, authorization in Right.asked)
    assert "hush-hush" not in json.dumps(found)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("airflow.example.org", id="no-scheme"),
        pytest.param("ftp://airflow.example.org", id="ftp"),
        pytest.param("https://alice:hush@airflow.example.org", id="password"),
        pytest.param("https://airflow.example.org/?x=1", id="query"),
        pytest.param("http://[::1", id="malformed"),
    ],
)
def test_what_is_no_address_of_a_site_is_refused(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(commands, ["doctor", "--json", "--probe", url])

    (found,) = json.loads(result.stdout)
    assert (result.exit_code, found["ok"], found["where"]) == (78, False, "--probe")
    assert "hush" not in result.output


def test_a_site_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(commands, ["doctor", "--json", "--probe", "http://127.0.0.1:1"])

    assert result.exit_code == 78
    assert "no answer over HTTP" in json.loads(result.stdout)[0]["what"]
