"""A real `compat-auth serve` and its processes: signals, a stop under way, a worker that hangs, connections without end."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from support.peers.airflows import JWT_SECRET
from support.peers.gateway import COMMAND, Gateway, StartGateway, clean_environment, toml
from support.peers.process import free_port
from support.serving import served

pytestmark = pytest.mark.peer

WORKERS = pytest.mark.parametrize("workers", [1, 2])
START_S: Final = 30.0


class Upstream(BaseHTTPRequestHandler):
    """Answers at once, below /slow after three seconds, and below /never after thirty."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with what came."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith(("/slow", "/never")):
            time.sleep(3 if self.path.startswith("/slow") else 30)
        with suppress(OSError):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def do_POST(self) -> None:
        """Do the same."""
        self.do_GET()


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    # Not at its end: a request below /never would be waited for.
    with served(Upstream) as url:
        yield url


class Running:
    """One gateway that a test may end."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.port = int(gateway.url.rpartition(":")[2])
        assert gateway.process.pid is not None
        self.pid = gateway.process.pid
        self._process = psutil.Process(self.pid)

    def workers(self) -> list[int]:
        return [child.pid for child in self._process.children()]

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def has_ended(self, within_s: float) -> bool:
        with suppress(psutil.TimeoutExpired, psutil.NoSuchProcess):
            self._process.wait(within_s)
        return self.gateway.process.pid is None

    def log(self) -> str:
        return self.gateway.process.log.read_text(encoding="utf-8")

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=40)

    def ask(self, path: str, method: str = "GET") -> tuple[int, bytes, http.client.HTTPMessage]:
        connection = self.connect()
        try:
            return answer_on(connection, path, method)
        finally:
            connection.close()


def answer_on(
    connection: http.client.HTTPConnection, path: str, method: str = "GET"
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection.request(method, path, b"body" if method == "POST" else None)
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def outcome_on(connection: http.client.HTTPConnection) -> int | str:
    """Return the status of one more answer on a connection, which ends with it."""
    try:
        return answer_on(connection, "/x")[0]
    except (OSError, http.client.HTTPException):
        return "closed"
    finally:
        connection.close()


Start = Callable[..., Running]


@pytest.fixture
def start(gateway: StartGateway, upstream: str, tmp_path: Path) -> Iterator[Start]:
    started: list[Running] = []

    def begin(*, environ: dict[str, str] | None = None, **serve: Any) -> Running:
        (tmp_path / "htpasswd").touch(mode=0o600)
        running = Running(
            gateway(
                {
                    "auth_backends": ["basic_auth"],
                    "upstream": {"url": upstream, "profile": "generic", "protect": ["/closed/"]},
                    "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
                    "basic_auth": {"directories": ["htpasswd"]},
                    "htpasswd": {"file": str(tmp_path / "htpasswd")},
                    "serve": serve,
                },
                environ,
            )
        )
        started.append(running)
        deadline = time.monotonic() + START_S
        while running.log().count("startup complete") < serve.get("workers", 1) and time.monotonic() < deadline:
            time.sleep(0.05)
        return running

    yield begin
    for running in started:
        for worker in running.workers() if running.gateway.process.pid else []:
            os.kill(worker, signal.SIGCONT)
        running.gateway.process.stop()


@WORKERS
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_that_is_not_used_ends_nothing_and_is_logged(
    start: Start, workers: int, number: signal.Signals
) -> None:
    running = start(workers=workers)
    before = running.workers()

    for pid in (running.pid, *before):
        os.kill(pid, number)
    time.sleep(1)

    assert running.ask("/compat-auth/live")[0] == 200
    assert running.workers() == before
    assert running.log().count(f"{number.name} ignored") == 1 + workers


@WORKERS
def test_a_replica_says_that_it_stops_before_it_refuses_connections(start: Start, workers: int) -> None:
    running = start(workers=workers, drain_s=1.5)
    assert running.ask("/compat-auth/ready")[0] == 200

    running.signal(signal.SIGTERM)
    time.sleep(0.5)
    answers = [running.ask("/compat-auth/ready") for _ in range(6)]
    posted = running.ask("/x", "POST")

    assert [status for status, _, _ in answers] == [503] * 6
    assert b"the replica is stopping" in answers[0][1]
    assert (posted[0], posted[1], posted[2]["Connection"]) == (200, b"body", "close")
    assert running.has_ended(10)
    with pytest.raises(ConnectionRefusedError):
        running.ask("/x")


@WORKERS
def test_while_a_long_answer_ends_new_connections_are_refused_at_once(start: Start, workers: int) -> None:
    running = start(workers=workers)
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(running.ask("/slow", "POST")[0]))
    asking.start()
    time.sleep(0.5)

    running.signal(signal.SIGTERM)
    time.sleep(1)
    with pytest.raises(ConnectionRefusedError):
        running.ask("/x", "POST")
    was_still_asking = asking.is_alive()
    asking.join()

    assert was_still_asking
    assert answers == [200]
    assert running.has_ended(10)


@WORKERS
def test_a_post_on_a_connection_that_was_idle_when_the_stop_began_is_answered(start: Start, workers: int) -> None:
    running = start(workers=workers)
    connections = [running.connect() for _ in range(10)]
    for connection in connections:
        answer_on(connection, "/x")
    time.sleep(1.5)

    running.signal(signal.SIGTERM)
    time.sleep(0.5)
    answers = [answer_on(connection, "/x", "POST") for connection in connections]

    for connection in connections:
        connection.close()
    assert [(status, body) for status, body, _ in answers] == [(200, b"body")] * 10
    assert {headers["Connection"] for _, _, headers in answers} == {"close"}
    assert running.has_ended(5)


def test_every_connection_that_was_made_is_answered_however_many_come_at_the_stop(start: Start) -> None:
    running = start(workers=2)
    outcomes: Counter[str] = Counter()

    def knock() -> None:
        for _ in range(200):
            with socket.socket() as client:
                client.settimeout(20)
                try:
                    client.connect(("127.0.0.1", running.port))
                except ConnectionRefusedError:
                    outcomes["refused"] += 1
                    return
                try:
                    client.sendall(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
                    outcomes[client.recv(12).decode()] += 1
                except ConnectionError:
                    outcomes["reset"] += 1

    clients = [threading.Thread(target=knock) for _ in range(8)]
    for client in clients:
        client.start()
    time.sleep(0.3)
    running.signal(signal.SIGTERM)
    for client in clients:
        client.join()

    assert set(outcomes) == {"HTTP/1.1 200", "refused"}, outcomes
    assert running.has_ended(10)


@WORKERS
def test_a_request_that_waits_too_long_when_the_stop_ends_gets_503(start: Start, workers: int) -> None:
    running = start(workers=workers)
    answers: list[tuple[int, bytes, http.client.HTTPMessage]] = []
    asking = threading.Thread(target=lambda: answers.append(running.ask("/never")))
    asking.start()
    time.sleep(0.5)

    running.signal(signal.SIGTERM)
    time.sleep(0.5)
    running.signal(signal.SIGTERM)
    asking.join(5)

    ((status, body, headers),) = answers
    assert (status, headers["Content-Type"]) == (503, "application/problem+json")
    assert headers["Retry-After"].isdigit()
    assert b"stopping" in body
    assert running.has_ended(8)
    assert "Traceback" not in running.log()


@WORKERS
def test_a_worker_that_hangs_is_replaced_and_its_connections_end(start: Start, workers: int) -> None:
    running = start(workers=workers, worker_timeout_s=3)
    connections = [running.connect() for _ in range(12)]
    for connection in connections:
        answer_on(connection, "/x")
    hung, *others = running.workers()

    os.kill(hung, signal.SIGSTOP)
    ready: list[int] = []
    deadline = time.monotonic() + 15
    while len(now := running.workers()) < workers or hung in now:
        assert time.monotonic() < deadline
        if others:
            ready.append(running.ask("/compat-auth/ready")[0])
        time.sleep(0.1)
    outcomes: Counter[int | str] = Counter()
    for connection in connections:
        outcomes[outcome_on(connection)] += 1

    assert set(outcomes) <= {200, "closed"}
    assert set(others) < set(now)
    assert running.ask("/compat-auth/live")[0] == 200
    assert running.ask("/compat-auth/ready")[0] == 200
    assert f"worker {hung} has not responded for" in running.log()
    assert not others or 503 in ready


def test_a_worker_that_hangs_does_not_hold_up_a_stop(start: Start) -> None:
    running = start(workers=2, drain_s=0)
    os.kill(running.workers()[0], signal.SIGSTOP)
    began = time.monotonic()

    running.signal(signal.SIGTERM)
    time.sleep(2)
    with pytest.raises(ConnectionRefusedError):
        running.ask("/x")

    assert running.has_ended(12)
    assert time.monotonic() - began < 12


def test_a_replica_that_was_stopped_as_a_whole_goes_on_with_its_workers(start: Start) -> None:
    running = start(workers=2, worker_timeout_s=2)
    before = running.workers()

    for pid in (running.pid, *before):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(4)
    for pid in (running.pid, *before):
        os.kill(pid, signal.SIGCONT)
    time.sleep(2)

    assert running.workers() == before


def test_connections_of_one_address_leave_room_for_others_and_the_log_says_so(start: Start) -> None:
    running = start(workers=1, max_connections=40)
    stalled: list[socket.socket] = []
    for _ in range(60):
        client = socket.create_connection(("127.0.0.1", running.port), 5)
        with suppress(OSError):
            client.sendall(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        stalled.append(client)

    refused = running.ask("/compat-auth/live")
    with socket.create_connection(("127.0.0.1", running.port), 5, source_address=("127.0.0.2", 0)) as other:
        other.sendall(b"GET /compat-auth/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        from_elsewhere = other.recv(12)
    time.sleep(5.5)
    later = running.ask("/compat-auth/live")

    for client in stalled:
        client.close()
    assert (refused[0], refused[2]["Retry-After"], refused[2]["Connection"]) == (503, "5", "close")
    assert from_elsewhere == b"HTTP/1.1 200"
    assert later[0] == 200
    assert "20 from one address" in running.log()


def serve_with(folder: Path, bind: str) -> subprocess.CompletedProcess[str]:
    config = folder / "compat_auth.toml"
    settings = {
        "auth_backends": ["deny_all"],
        "database_url": f"sqlite:///{folder}/state.db",
        "upstream": {"url": "http://127.0.0.1:9", "profile": "generic"},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "serve": {"bind": bind},
    }
    config.write_text(toml(settings), encoding="utf-8")
    command = [COMMAND, "serve", "--config", str(config)]
    return subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False, timeout=60)


def test_a_port_that_is_taken_is_worth_another_try_and_one_that_is_none_is_not(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        busy = serve_with(tmp_path, f"127.0.0.1:{taken.getsockname()[1]}")

    malformed = serve_with(tmp_path, "127.0.0.1:http")

    assert (busy.returncode, malformed.returncode) == (69, 78)
    assert "choose another address or stop the program that uses it" in busy.stderr


def test_systemd_learns_of_the_start_of_life_and_of_the_stop(start: Start, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(10)
        manager.bind(str(tmp_path / "notify"))
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
        running = start(workers=2, environ=environ)

        states = [manager.recv(200) for _ in range(3)]
        running.signal(signal.SIGTERM)
        while states[-1] != b"STOPPING=1":
            states.append(manager.recv(200))

    assert states[0].startswith(b"READY=1\n")
    assert set(states[1:-1]) == {b"WATCHDOG=1"}
    assert running.has_ended(10)
