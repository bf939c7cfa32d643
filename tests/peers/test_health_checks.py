"""HAProxy's own health checks, which send HTTP/1.0 without a Host unless told otherwise."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.peers.airflows import JWT_SECRET
from support.peers.echo import EchoUpstream
from support.peers.gateway import StartGateway, call
from support.peers.process import free_port
from support.peers.proxies import start_haproxy

pytestmark = pytest.mark.peer

CHECKED_S = 20


@pytest.fixture(
    params=[
        pytest.param("option httpchk", id="plain"),
        pytest.param("option httpchk GET /compat-auth/ready", id="ready"),
        pytest.param("option httpchk HEAD /compat-auth/ready HTTP/1.1", id="ready-in-1.1"),
    ]
)
def checked(
    request: pytest.FixtureRequest, gateway: StartGateway, echo_upstream: EchoUpstream, tmp_path: Path
) -> Iterator[str]:
    """An HAProxy in front of a gateway with an upstream, and of one without."""
    instances = {
        name: gateway(
            {
                "auth_backends": ["deny_all"],
                "upstream": {"url": url, "profile": "generic"},
                "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
            }
        )
        for name, url in (("ready", echo_upstream.url), ("alone", f"http://127.0.0.1:{free_port()}"))
    }
    servers = [
        f"  server {name} {instance.url.removeprefix('http://')} check inter 200ms"
        for name, instance in instances.items()
    ]
    process, url = start_haproxy(tmp_path, "\n".join([f"  {request.param}", "  stats uri /stats", *servers]))
    yield url
    process.stop()


def states(url: str) -> dict[str, tuple[str, str]]:
    """Return the state of each server, and the status with which it answered its check."""
    table = call("GET", f"{url}/stats;csv").text.removeprefix("# ").splitlines()
    rows = [row for row in csv.DictReader(table) if row["pxname"] == "behind" and row["svname"] != "BACKEND"]
    return {row["svname"]: (row["status"], row["check_code"]) for row in rows}


def test_haproxy_takes_a_gateway_for_up_that_is_ready_and_no_other(checked: str) -> None:
    wanted = {"ready": ("UP", "200"), "alone": ("DOWN", "503")}
    deadline = time.monotonic() + CHECKED_S

    while states(checked) != wanted and time.monotonic() < deadline:
        time.sleep(0.2)

    assert states(checked) == wanted
