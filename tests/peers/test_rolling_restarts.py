"""Two replicas behind a real nginx and a real HAProxy are restarted in turn under load: every POST arrives once."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final

import bcrypt
import pytest

from support.peers.airflows import JWT_SECRET
from support.peers.gateway import Gateway, StartGateway
from support.peers.process import Process, free_port
from support.peers.proxies import start_haproxy, start_nginx
from support.serving import served
from support.stand_ins import basic

pytestmark = pytest.mark.peer

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "service.md").read_text(encoding="utf-8")
CLIENTS: Final = 6
CALM_S: Final = 1.0
# nginx asks a replica again two seconds after it was refused there, and HAProxy when it was found well twice.
PAUSE_S: Final = 3.0


@dataclass
class Load:
    """What the clients have sent and seen.

    Attributes:
        sent: Names of the POSTs that were answered with 200.
        failed: What became of the others.
    """

    sent: list[str] = field(default_factory=list[str])
    failed: list[str] = field(default_factory=list[str])
    ended: threading.Event = field(default_factory=threading.Event)

    def client(self, number: int, port: int) -> None:
        """Send POSTs on kept connections until the end."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        count = 0
        while not self.ended.is_set():
            count += 1
            name = f"{number}-{count}"
            try:
                connection.request("POST", "/api/count", name, {"Authorization": basic("zoë", "pässword")})
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as exc:
                connection.close()
                self.failed.append(f"{name}: {exc!r}")
                continue
            if answer.status == 200:
                self.sent.append(name)
            else:
                self.failed.append(f"{name}: {answer.status} {body[:100]!r}")
            time.sleep(0.002)
        connection.close()


@contextmanager
def counting_upstream() -> Generator[tuple[str, Counter[str]]]:
    """Yield the URL of an upstream, and how often each name has arrived there."""
    arrived: Counter[str] = Counter()
    lock = threading.Lock()

    class Count(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            name = self.rfile.read(int(self.headers["Content-Length"])).decode()
            with lock:
                arrived[name] += 1
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with served(Count) as url:
        yield url, arrived


def block(language: str, beginning: str) -> str:
    """Return the block of the documentation that begins so."""
    (found,) = [text for text in PAGE.split(f"```{language}\n")[1:] if text.startswith(beginning)]
    return found.partition("```")[0]


def through_nginx(folder: Path, ports: list[int]) -> tuple[Process, str]:
    """Start nginx as documented."""
    upstream = block("nginx", "upstream compat_auth").replace("10.0.0.1:8088", f"127.0.0.1:{ports[0]}")
    upstream = upstream.replace("10.0.0.2:8088", f"127.0.0.1:{ports[1]}")
    return start_nginx(folder, block("nginx", "location / {"), upstream)


def through_haproxy(folder: Path, ports: list[int]) -> tuple[Process, str]:
    """Start HAProxy as documented."""
    backend = (
        block("haproxy", "backend compat_auth").partition("\n")[2].replace("10.0.0.1:8088", f"127.0.0.1:{ports[0]}")
    )
    return start_haproxy(folder, backend.replace("10.0.0.2:8088", f"127.0.0.1:{ports[1]}"))


@pytest.fixture
def htpasswd(tmp_path: Path) -> Path:
    file = tmp_path / "htpasswd"
    file.write_text(f"zoë:{bcrypt.hashpw('pässword'.encode(), bcrypt.gensalt(4)).decode()}\n", encoding="utf-8")
    file.chmod(0o600)
    return file


@pytest.mark.parametrize(
    ("start_proxy", "drain_s", "rounds"),
    [
        pytest.param(through_nginx, 0, 2, id="nginx-at-once"),
        pytest.param(through_nginx, 2, 1, id="nginx"),
        pytest.param(through_haproxy, 2, 2, id="haproxy"),
        pytest.param(through_haproxy, 0, 1, id="haproxy-at-once"),
    ],
)
def test_no_post_is_lost_or_doubled_while_replicas_restart_in_turn(
    start_proxy: Callable[[Path, list[int]], tuple[Process, str]],
    drain_s: float,
    rounds: int,
    gateway: StartGateway,
    htpasswd: Path,
    tmp_path: Path,
) -> None:
    load = Load()
    ports = [free_port(), free_port()]
    with counting_upstream() as (url, arrived):

        def start(port: int) -> Gateway:
            serve: dict[str, Any] = {"bind": f"127.0.0.1:{port}", "workers": 2, "drain_s": drain_s}
            return gateway(
                {
                    "auth_backends": ["basic_auth"],
                    "trusted_proxies": ["127.0.0.1/32"],
                    "upstream": {"url": url, "profile": "generic"},
                    "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
                    "basic_auth": {"directories": ["htpasswd"]},
                    "htpasswd": {"file": str(htpasswd)},
                    "serve": serve,
                }
            )

        replicas = [start(port) for port in ports]
        proxy, front = start_proxy(tmp_path, ports)
        clients = [
            threading.Thread(target=load.client, args=(number, int(front.rpartition(":")[2])))
            for number in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        try:
            for _ in range(rounds):
                for number, port in enumerate(ports):
                    time.sleep(CALM_S)
                    replicas[number].process.stop()
                    replicas[number] = start(port)
                    # The other must be back in the proxy's eyes before this one goes.
                    time.sleep(PAUSE_S)
        finally:
            load.ended.set()
            for client in clients:
                client.join()
            proxy.stop()
            for replica in replicas:
                replica.process.stop()

    assert load.failed == []
    assert len(load.sent) > 500
    assert Counter(load.sent) == arrived
