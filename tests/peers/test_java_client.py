"""The JDK's own HttpClient, which offers HTTP/2 (`Upgrade: h2c`) with every request to a server without TLS."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import bcrypt
import pytest

from support.peers.airflows import JWT_SECRET
from support.peers.echo import EchoUpstream
from support.peers.gateway import Gateway, StartGateway
from support.peers.place import HERE

pytestmark = pytest.mark.peer


@pytest.fixture
def instance(gateway: StartGateway, echo_upstream: EchoUpstream, tmp_path: Path) -> Gateway:
    line = f"zoë:{bcrypt.hashpw('pässword'.encode(), bcrypt.gensalt(4)).decode()}\n"
    (tmp_path / "htpasswd").write_text(line, encoding="utf-8")
    (tmp_path / "htpasswd").chmod(0o600)
    return gateway(
        {
            "auth_backends": ["basic_auth"],
            "upstream": {"url": echo_upstream.url, "profile": "generic"},
            "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
            "basic_auth": {"directories": ["htpasswd"]},
            "htpasswd": {"file": str(tmp_path / "htpasswd")},
        }
    )


def test_every_call_of_javas_own_client_is_answered_on_one_connection(instance: Gateway) -> None:
    java = shutil.which("java")
    assert java is not None, "the peer Java is not installed; run: apt-get install default-jdk-headless"

    done = subprocess.run(
        [java, str(HERE / "java" / "Calls.java"), instance.url, "zoë", "pässword"],
        capture_output=True,
        text=True,
        env={"PATH": os.defpath, "LANG": "C.UTF-8"},
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    lines = [line.split(" ") for line in done.stdout.splitlines()]
    assert {(status, version) for _, _, _, status, version in lines} == {("200", "HTTP_1_1")}
    assert len(lines) == 3 * 3 * 4
