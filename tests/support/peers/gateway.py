"""A real `compat-auth serve` in front of a peer, and the real client that the documentation shows: curl."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import requests

from support.front import front_options
from support.peers.process import Process, answers_http, free_port, is_listening, stop_together

START_S = 60
TIMEOUT_S = 60
LOG_LINES = 60
# Of those that tests start for themselves, so many stay for the next test with the same settings.
KEPT_BETWEEN_TESTS = 3
COMMAND = str(Path(sys.executable).with_name("compat-auth"))


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway.

    Attributes:
        url: Without a slash at the end.
        process: The server.
    """

    url: str
    process: Process

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send one request on a connection of its own; redirects are not followed."""
        return call(method, self.url + path, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        """Send one GET; see `request`."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        """Send one POST; see `request`."""
        return self.request("POST", path, **options)


StartGateway = Callable[..., Gateway]
"""`gateway(settings, environ={})`: the running gateway with these settings, started unless it runs already."""


@dataclass(frozen=True, slots=True)
class CurlAnswer:
    """What curl printed about an answer.

    Attributes:
        status: HTTP status.
        headers: In the order received, names in lower case.
        body: As received.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for known, value in self.headers if known == name.lower()]

    def json(self) -> Any:
        """Return the body, read as JSON."""
        return json.loads(self.body)


class Gateways:
    """The gateways of a test module: one for each configuration, all stopped at its end.

    What a fixture of the whole module starts, runs until then. Of those that the tests start for themselves only the
    last few stay: hundreds of them would take all memory of the machine.
    """

    def __init__(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self._folders = tmp_path_factory
        self._running: dict[str, Gateway] = {}
        self._is_in_test = False
        # Ordered by when a test last asked for them.
        self._of_tests: dict[str, None] = {}

    def start(self, settings: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Gateway:
        """Return the gateway with these settings, started unless it runs already.

        Args:
            settings: As in the TOML file, sections as mappings. Without `[serve] bind` a free port is taken.
            environ: Beyond this process's own environment, such as PYTHONPATH for a third party's modules.
        """
        key = json.dumps([settings, environ or {}], sort_keys=True)
        known = self._running.get(key)
        if self._is_in_test and (known is None or key in self._of_tests):
            self._of_tests.pop(key, None)
            self._of_tests[key] = None
        elif not self._is_in_test:
            self._of_tests.pop(key, None)
        if known is not None and known.process.pid is not None:
            return known
        folder = self._folders.mktemp("gateway")
        # No load balancer has to learn that it stops.
        serve: dict[str, Any] = {"bind": f"127.0.0.1:{free_port()}", "drain_s": 0, **settings.get("serve", {})}
        content = {"database_url": f"sqlite:///{folder}/state.db", **settings, "serve": serve}
        config = folder / "compat_auth.toml"
        config.write_text(toml(content), encoding="utf-8")
        url = f"{'https' if serve.get('tls_cert') else 'http'}://{serve['bind']}"
        gateway = Gateway(url, Process("compat-auth serve", folder / "log"))
        gateway.process.start(
            [COMMAND, "serve", "--config", str(config), *front_options()],
            env={**clean_environment(), **(environ or {})},
            is_ready=lambda: is_listening(url) if url.startswith("https") else answers_http(f"{url}/compat-auth/live"),
            timeout_s=START_S,
        )
        self._running[key] = gateway
        return gateway

    @contextmanager
    def during_test(self) -> Generator[None]:
        """Stop, after the block, those that tests have started for themselves, but for the last few."""
        self._is_in_test = True
        try:
            yield
        finally:
            self._is_in_test = False
            unused = list(self._of_tests)[:-KEPT_BETWEEN_TESTS]
            for key in unused:
                del self._of_tests[key]
            stop_together([self._running.pop(key).process.stop for key in unused])

    def logs(self) -> Iterator[Path]:
        """Return the log files of the gateways started so far."""
        return (gateway.process.log for gateway in self._running.values())

    def stop(self) -> None:
        """Stop every gateway."""
        stop_together(gateway.process.stop for gateway in self._running.values())


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    """All gateways of the module."""
    running = Gateways(tmp_path_factory)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def gateway(gateways: Gateways) -> StartGateway:
    """Start a real gateway from a mapping of settings; one with the same settings is started once."""
    return gateways.start


@pytest.fixture(autouse=True)
def gateway_logs(request: pytest.FixtureRequest, gateways: Gateways) -> Iterator[None]:
    """Show, when a test fails, what the gateways logged during it."""
    before = {log: log.stat().st_size for log in gateways.logs()}
    with gateways.during_test():
        yield
        logs = list(gateways.logs())
    for log in logs:
        with log.open("rb") as content:
            content.seek(before.get(log, 0))
            lines = content.read().decode(errors="replace").splitlines()[-LOG_LINES:]
        if lines:
            request.node.add_report_section("teardown", f"log {log}", "\n".join(lines))


def call(method: str, url: str, **options: Any) -> requests.Response:
    """Send one request without this machine's proxies and netrc; redirects are not followed."""
    with requests.Session() as session:
        session.trust_env = False
        merged: dict[str, Any] = {"timeout": TIMEOUT_S, "allow_redirects": False, **options}
        return session.request(method, url, **merged)


def curl(*arguments: str) -> CurlAnswer:
    """Run curl with the arguments, as a user would, and return the final answer; a curl that fails fails the test."""
    command = ["curl", "--silent", "--show-error", "--include", "--noproxy", "*", "--max-time", str(TIMEOUT_S)]
    done = subprocess.run([*command, *arguments], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"curl {' '.join(arguments)} ended with {done.returncode}: {done.stderr.decode()}", pytrace=False)
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
    return CurlAnswer(int(status.split()[1]), headers, body)


def run_compat_auth(*arguments: str) -> str:
    """Run the command line to its end and return what it printed; a failure fails the test."""
    done = subprocess.run([COMMAND, *arguments], capture_output=True, check=False, text=True, env=clean_environment())
    if done.returncode != 0:
        pytest.fail(f"compat-auth {' '.join(arguments)} ended with {done.returncode}: {done.stderr}", pytrace=False)
    return done.stdout


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would configure the gateway behind a test's back."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("COMPAT_AUTH_", "AIRFLOW"))}


def toml(content: Mapping[str, Any]) -> str:
    """Return settings as TOML: one line for each top-level key, sections as inline tables."""
    return "".join(f"{name} = {_toml_value(value)}\n" for name, value in content.items())


def _toml_value(value: object) -> str:
    if isinstance(value, dict):
        section = cast("dict[str, object]", value)
        return "{" + ", ".join(f"{json.dumps(name)} = {_toml_value(part)}" for name, part in section.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, cast("list[object]", value))) + "]"
    # A JSON string, number or truth value is one in TOML, too.
    return json.dumps(value, ensure_ascii=False)
