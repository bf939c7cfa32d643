"""A page of another site, in a real browser that remembers a Basic password: gateway, and plugin in a live Airflow 3.3.

Neither of the two makes a browser ask for a password, so a proxy in front of them adds it to what the browser sends, as a
browser does that remembers one.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from playwright.sync_api import BrowserContext, Page

from support.peers import seed
from support.peers.airflows import JWT_SECRET
from support.peers.echo import EchoUpstream
from support.peers.gateway import StartGateway, call
from support.peers.plugin import StartPlugged
from support.peers.process import free_port
from support.serving import served

pytestmark = pytest.mark.peer

ADMIN = ("admin", "admin")
TARGET = "/api/v2/variables"
FORM = (
    "<form id=f method=post enctype=text/plain action={target}><input name=a value=b></form><script>f.submit()</script>"
)
SCRIPT = "<script>fetch({target}, {options}).catch(() => 0).finally(() => document.title = 'done')</script>"


class Pages(BaseHTTPRequestHandler):
    """Another site: its page is what the query says."""

    def do_GET(self) -> None:
        """Answer with the page that the test has put here."""
        body = content[0].encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


content = [""]
TRIES = 400
PASSWORD = "Basic " + base64.b64encode(":".join(ADMIN).encode()).decode()
# By the front proxy: method, status of the answer, and headers in lower case.
passed: list[tuple[str, int, dict[str, str]]] = []


class FrontProxy(BaseHTTPRequestHandler):
    """A front proxy that adds a password to every request but preflights, whichever page makes the browser send it."""

    behind = ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Pass the request on."""
        self._pass_on()

    def do_POST(self) -> None:
        """Pass the request on."""
        self._pass_on()

    def do_OPTIONS(self) -> None:
        """Pass the request on."""
        self._pass_on()

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.command != "OPTIONS":
            headers.setdefault("authorization", PASSWORD)
        answer = call(self.command, self.behind + self.path, headers=headers, data=body)
        passed.append((self.command, answer.status_code, headers))
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in {"content-length", "content-encoding", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)


@contextmanager
def asking(behind: str) -> Generator[str]:
    """Serve a front proxy before this address, and give its own."""
    with served(type("Asking", (FrontProxy,), {"behind": behind})) as url:
        yield url.replace("127.0.0.1", "localhost")


@dataclass(frozen=True)
class Door:
    """What a user opens at `localhost`.

    Attributes:
        url: Without a slash at the end; for a browser another site than `127.0.0.1`.
        friend: The origin that the CORS settings allow, or "".
    """

    url: str
    friend: str


@pytest.fixture(scope="module")
def other_site() -> Iterator[str]:
    with served(Pages) as url:
        yield url


@pytest.fixture(scope="module")
def in_front(
    gateway: StartGateway, echo_upstream: EchoUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Door]:
    users: Path = tmp_path_factory.mktemp("users") / "htpasswd"
    users.write_text(f"admin:{bcrypt.hashpw(b'admin', bcrypt.gensalt(4)).decode()}\n", encoding="utf-8")
    users.chmod(0o600)
    settings: dict[str, Any] = {
        "auth_backends": ["basic_auth"],
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(users)},
        "upstream": {"url": echo_upstream.url, "profile": "airflow-simple", "roles": {"*": "VIEWER"}},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "serve": {"bind": f"localhost:{free_port()}"},
    }
    with asking(gateway(settings).url) as url:
        yield Door(url, "")


@pytest.fixture(scope="module")
def plugged(plugged_airflow: StartPlugged, other_site: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    # With something required, Airflow is not asked first.
    required = tmp_path_factory.mktemp("required") / "compat_auth.toml"
    required.write_text('[[require]]\npath = "/api/v2/"\nall_of = ["user:admin"]\n')
    airflow = plugged_airflow(
        seed.SIMPLE,
        AIRFLOW__API__AUTH_BACKENDS="airflow.api.auth.backend.basic_auth",
        AIRFLOW__COMPAT_AUTH__CONFIG=str(required),
        AIRFLOW__API__ACCESS_CONTROL_ALLOW_ORIGINS=other_site,
        AIRFLOW__API__ACCESS_CONTROL_ALLOW_METHODS="GET, POST",
        AIRFLOW__API__ACCESS_CONTROL_ALLOW_HEADERS="authorization, content-type",
    )
    with asking(airflow.url) as url:
        yield Door(url, other_site)


@pytest.fixture(params=["in_front", "plugged"])
def instance(request: pytest.FixtureRequest) -> Door:
    found: Door = request.getfixturevalue(request.param)
    return found


Remember = Callable[[Door], Page]


@pytest.fixture
def remembering(chromium: BrowserContext) -> Remember:
    """Return a window in which a page of the gateway is open."""

    def open_at(instance: Door) -> Page:
        page = chromium.new_page()
        answer = page.goto(f"{instance.url}/api/v2/dags")
        assert answer is not None
        assert answer.status == 200
        return page

    return open_at


def answer_to_post(page: Page, act: Callable[[], object]) -> tuple[int, dict[str, str]]:
    """Return the status of the first POST, and the headers that the gateway got."""
    passed.clear()
    act()
    for _ in range(TRIES):
        for method, status, sent in passed:
            if method == "POST":
                return status, sent
        page.wait_for_timeout(50)
    raise AssertionError(passed)


def test_a_form_of_another_site_does_not_act_with_the_remembered_password(
    instance: Door, remembering: Remember, other_site: str
) -> None:
    page = remembering(instance)
    content[0] = FORM.format(target=f"{instance.url}{TARGET}")

    status, sent = answer_to_post(page, lambda: page.goto(f"{other_site}/"))

    assert sent["sec-fetch-site"] == "cross-site"
    assert sent["authorization"].startswith("Basic ")
    assert status == 403


@pytest.mark.parametrize("mode", ["no-cors", "cors"])
def test_a_script_of_another_site_does_not_act_with_the_remembered_password(
    in_front: Door, remembering: Remember, other_site: str, mode: str
) -> None:
    page = remembering(in_front)
    options = {"method": "POST", "mode": mode, "credentials": "include", "body": "a=b"}
    content[0] = SCRIPT.format(target=json.dumps(f"{in_front.url}{TARGET}"), options=json.dumps(options))

    status, sent = answer_to_post(page, lambda: page.goto(f"{other_site}/"))

    assert (sent["sec-fetch-mode"], sent["authorization"][:6]) == (mode, "Basic ")
    assert status == 403


def test_a_page_of_our_own_origin_acts_with_the_remembered_password(instance: Door, remembering: Remember) -> None:
    page = remembering(instance)
    body = json.dumps({"key": f"own-{free_port()}", "value": "x"})
    options = {"method": "POST", "headers": {"Content-Type": "application/json"}, "body": body}

    status: int = page.evaluate(
        "([target, options]) => fetch(target, options).then(answer => answer.status)", [TARGET, options]
    )

    assert status in {200, 201}


def test_a_script_of_an_origin_that_airflow_s_cors_settings_allow_acts_with_its_own_header(
    plugged: Door, chromium: BrowserContext
) -> None:
    page = chromium.new_page()
    content[0] = "<title>friend</title>"
    page.goto(f"{plugged.friend}/")
    key = f"friend-{free_port()}"
    options = {
        "method": "POST",
        "headers": {"Content-Type": "application/json", "Authorization": "Basic YWRtaW46YWRtaW4="},
        "body": json.dumps({"key": key, "value": "x"}),
    }

    status: int = page.evaluate(
        "([target, options]) => fetch(target, options).then(answer => answer.status)",
        [f"{plugged.url}{TARGET}", options],
    )

    assert status == 201
    assert call("GET", f"{plugged.url}{TARGET}/{key}", auth=ADMIN).json()["value"] == "x"
