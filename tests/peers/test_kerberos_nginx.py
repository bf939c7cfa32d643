"""Tickets that are larger than nginx takes by itself, through an nginx that is configured as the page says."""

from __future__ import annotations

import base64
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import bcrypt
import pytest

from support.peers.airflows import JWT_SECRET
from support.peers.echo import EchoUpstream
from support.peers.gateway import Gateway, StartGateway, call
from support.peers.kerberos import Kdc
from support.peers.kerberos_client import Tickets, negotiate
from support.peers.proxies import StartProxy

pytestmark = pytest.mark.peer

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "kerberos.md").read_text(encoding="utf-8")
PATH = "/api/v2/x"
LIMIT = re.compile(r"^ *large_client_header_buffers .*\n", re.MULTILINE)
# The gate takes 60 KiB of headers; these few are the others of the request.
LARGEST = 60 * 1024 - 512


@pytest.fixture(scope="module")
def instance(
    kdc: Kdc, gateway: StartGateway, echo_upstream: EchoUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Gateway:
    folder = tmp_path_factory.mktemp("users")
    known = bcrypt.hashpw(b"local-password", bcrypt.gensalt(4)).decode()
    (folder / "htpasswd").write_text(f"alice:{known}\n", encoding="utf-8")
    (folder / "htpasswd").chmod(0o600)
    settings: dict[str, Any] = {
        "auth_backends": ["kerberos"],
        "kerberos": {"keytab": str(kdc.keytab("HTTP/localhost")), "replay_cache": str(kdc.folder / "replays-nginx")},
        "htpasswd": {"file": str(folder / "htpasswd")},
        "lookup": {"directories": ["htpasswd"]},
        "upstream": {"url": echo_upstream.url, "profile": "generic"},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
    }
    return gateway(settings, kdc.env)


def site_of(instance: Gateway, *, without: re.Pattern[str] | None = None) -> str:
    """Return what stands in the page's server block, without its address and what matches."""
    found = re.search(r"^```nginx\nserver \{\n(.*?)^\}\n```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    site = re.sub(r"^ *listen .*\n", "", found[1], flags=re.MULTILINE)
    site = site.replace("127.0.0.1:8088", urlsplit(instance.url).netloc)
    return without.sub("", site) if without else site


@pytest.fixture(scope="module")
def front(instance: Gateway, nginx: StartProxy) -> str:
    return nginx(site_of(instance))


def status_of(url: str, header: str) -> tuple[int, bytes]:
    """Send a header line as it is, and return status and head of the answer."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        connection.sendall(f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n\r\n".encode())
        answer = b""
        while received := connection.recv(65536):
            answer += received
    return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[0].lower()


def test_a_ticket_reaches_the_upstream_and_its_answer_proves_who_we_are(front: str, kdc: Kdc) -> None:
    tickets = Tickets(kdc)

    answer = call("GET", f"{front}{PATH}", headers=negotiate(tickets.token("alice")))

    assert answer.status_code == 200
    assert answer.headers["WWW-Authenticate"].startswith("Negotiate ")


@pytest.mark.parametrize("size", [9_000, 48_000, LARGEST - len("Authorization: Negotiate ")])
def test_a_header_as_large_as_the_gate_takes_is_judged_by_the_gate(front: str, size: int) -> None:
    token = base64.b64encode(b"\x60" * (size * 3 // 4 - 3)).decode()

    status, head = status_of(front, f"Authorization: Negotiate {token}")

    # Rubbish is no ticket: the gate says so, with what it would take instead.
    assert (status, b"www-authenticate: negotiate" in head) == (401, True)


def test_without_the_line_nginx_refuses_a_large_header_by_itself(instance: Gateway, nginx: StartProxy) -> None:
    bare = nginx(site_of(instance, without=LIMIT))

    status, head = status_of(bare, f"Authorization: Negotiate {'A' * 9_000}")

    assert (status, b"www-authenticate" in head) == (400, False)
