"""Metrics of a real gateway with two workers: what is counted, and where it is answered."""

from __future__ import annotations

import contextlib
import http.client
import importlib
import os
import signal
import socket
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import psutil
import pytest

from compat_auth.telemetry.families import FAMILIES
from support.security.gateway import Gateway, basic, free_port, running_gateway, write_config
from support.security.upstream import Recorder, recording_upstream

WAIT_S = 15.0
# It has no types.
parse: Any = importlib.import_module("prometheus_client.parser").text_string_to_metric_families
Samples = dict[str, dict[frozenset[tuple[str, str]], float]]


class Metrics:
    """The listener of a gateway's metrics."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, method: str = "GET", path: str = "/metrics", **headers: str) -> tuple[int, str]:
        """Return the status and the text of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def samples(self) -> Samples:
        """Return the value of each series, by name and labels."""
        found: Samples = {}
        for family in parse(self.ask()[1]):
            for sample in family.samples:
                found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
        return found

    def value(self, name: str, **labels: str) -> float:
        """Return the value of one series; 0 where there is none."""
        return self.samples().get(f"compat_auth_{name}", {}).get(frozenset(labels.items()), 0.0)

    def wait_for(self, wanted: float, name: str, **labels: str) -> None:
        """Wait until a series has a value: other workers' numbers are half a second old."""
        _wait(lambda: self.value(name, **labels) == wanted, lambda: str(self.value(name, **labels)))


def _wait(holds: Callable[[], bool], shown: Callable[[], str]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, shown()
        time.sleep(0.1)


@pytest.fixture
def served(tmp_path: Path) -> Generator[tuple[Gateway, Metrics]]:
    with recording_upstream() as upstream, serving(tmp_path, upstream) as world:
        yield world


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Gateway, Metrics]]:
    """Yield a gateway for the tests that count nothing."""
    with recording_upstream() as upstream, serving(tmp_path_factory.mktemp("kept"), upstream) as world:
        yield world


@contextlib.contextmanager
def serving(folder: Path, upstream: Recorder) -> Generator[tuple[Gateway, Metrics]]:
    """Serve with two workers and metrics."""
    port = free_port()
    lines = (
        f'database_url = "sqlite:///{folder}/store.db"',
        f'metrics = {{bind = "127.0.0.1:{port}"}}',
        "serve = {workers = 2}",
    )
    config = write_config(folder, f"http://127.0.0.1:{upstream.port}", "\n".join(lines))
    with running_gateway(config, upstream) as gateway:
        yield gateway, Metrics(port)


def ask(gateway: Gateway, authorization: bytes = basic(), path: str = "/api/x", times: int = 1) -> list[int]:
    """Return the statuses of requests on one connection, and so of one worker."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    statuses: list[int] = []
    for _ in range(times):
        connection.request("GET", path, headers={"Authorization": authorization.decode()})
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()
    return statuses


def test_every_request_is_counted_once_whichever_worker_and_whichever_way(served: tuple[Gateway, Metrics]) -> None:
    gateway, metrics = served

    statuses = [status for _ in range(4) for status in ask(gateway, times=10)]

    assert statuses == [200] * 40
    metrics.wait_for(40, "upstream_responses_total", status="2xx")
    samples = metrics.samples()
    assert sum(samples["compat_auth_decisions_total"].values()) == 40
    # Each worker checks the credential once; the check that the gateway is alive is a request, too.
    assert metrics.value("requests_total", way="fast", status="2xx") >= 38
    assert sum(samples["compat_auth_requests_total"].values()) == 41
    assert metrics.value("stage_seconds_count", stage="upstream") == 40
    assert metrics.value("stage_seconds_count", stage="request") == 41


def test_a_refused_credential_is_counted_by_backend_and_reason(served: tuple[Gateway, Metrics]) -> None:
    gateway, metrics = served

    statuses = ask(gateway, basic("alice", "wrong"), times=2)

    assert statuses == [401, 401]
    metrics.wait_for(2, "decisions_total", backend="basic_auth", outcome="reject", source="chain")
    assert metrics.value("refusals_total", reason="CredentialRefused") == 2


def test_an_upstream_that_is_away_is_counted_and_shown(tmp_path: Path) -> None:
    nobody = Recorder(port=free_port())
    with serving(tmp_path, nobody) as (gateway, metrics):
        statuses = ask(gateway, times=2)

        assert statuses == [502, 502]
        metrics.wait_for(2, "upstream_failures_total", reason="unreachable")
        assert metrics.value("upstream_up") == 0
        assert metrics.value("refusals_total", reason="UpstreamUnreachable") == 2


def test_counters_outlive_a_worker(served: tuple[Gateway, Metrics]) -> None:
    gateway, metrics = served
    ask(gateway, basic("alice", "wrong"))
    metrics.wait_for(1, "refusals_total", reason="CredentialRefused")
    time.sleep(1)

    for child in psutil.Process(gateway.process.pid).children():
        os.kill(child.pid, signal.SIGKILL)

    _wait(lambda: _serves(gateway), lambda: "no worker came back")
    ask(gateway, basic("alice", "wrong"))
    metrics.wait_for(2, "refusals_total", reason="CredentialRefused")


def _serves(gateway: Gateway) -> bool:
    try:
        return ask(gateway) == [200]
    except OSError:
        return False


def test_the_surroundings_are_shown(kept: tuple[Gateway, Metrics]) -> None:
    _, metrics = kept

    samples = metrics.samples()

    known = {family.full_name for family in FAMILIES}
    shown = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in samples}
    assert shown <= known
    assert metrics.value("database_up") == metrics.value("upstream_up") == 1
    assert metrics.value("workers", state="serving") == 2
    assert 0 < metrics.value("signing_key_age_seconds") < 600
    assert metrics.value("threads", lane="chain") == 32
    assert metrics.value("scrape_errors") == 0


def test_only_metrics_are_on_their_listener_and_they_are_on_no_other(kept: tuple[Gateway, Metrics]) -> None:
    gateway, metrics = kept

    statuses = {path: metrics.ask("GET", path)[0] for path in ("/", "/api/x", "/compat-auth/live", "/metricsx")}
    public = ask(gateway, path="/metrics"), gateway.upstream.take()

    assert set(statuses.values()) == {404}
    assert metrics.ask("POST")[0] == 405
    assert metrics.ask("HEAD") == (200, "")
    # There, it is a path of the upstream.
    assert public[0] == [200]
    assert [arrived.target for arrived in public[1]] == [b"/metrics"]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\x00\xff\r\n\r\n", id="no-http"),
        pytest.param(b"GET /metrics\r\n\r\n", id="no-version"),
        pytest.param(b"GET /metrics HTTP/1.1\r\n" + b"a: " + b"x" * 70_000 + b"\r\n\r\n", id="long-head"),
    ],
)
def test_a_malformed_scrape_gets_400_and_the_next_one_is_answered(sent: bytes, kept: tuple[Gateway, Metrics]) -> None:
    _, metrics = kept

    with socket.create_connection(("127.0.0.1", metrics.port), timeout=10) as client:
        client.sendall(sent)
        received = client.recv(100)

    assert received.startswith(b"HTTP/1.1 400 ")
    assert metrics.ask()[0] == 200
