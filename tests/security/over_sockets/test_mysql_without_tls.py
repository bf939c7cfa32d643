"""A MySQL that says it has no TLS, as an attacker in between makes it say: a password is not shown to it."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pymysql
import pytest
from pymysql.constants import CLIENT
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from compat_auth.net.mysql import open_mysql, read_mysql_url

_CAPABILITIES = CLIENT.PROTOCOL_41 | CLIENT.SECURE_CONNECTION | CLIENT.PLUGIN_AUTH | CLIENT.CONNECT_WITH_DB
_PASSWORD = "a-secret-of-the-database"


@dataclass
class Stripped:
    """The server.

    Attributes:
        port: Where it listens.
        received: What one client has sent.
    """

    port: int
    received: bytearray = field(default_factory=bytearray)


def _packet(number: int, body: bytes) -> bytes:
    return struct.pack("<I", len(body))[:3] + bytes((number,)) + body


def _greeting() -> bytes:
    capabilities = struct.pack("<I", _CAPABILITIES)
    return _packet(
        0,
        b"\x0a8.0.0\0" + struct.pack("<I", 1) + b"12345678\0" + capabilities[:2] + b"\x21" + struct.pack("<H", 2)
        + capabilities[2:] + b"\x15" + bytes(10) + b"123456789012\0" + b"mysql_native_password\0",
    )  # fmt: skip


@pytest.fixture
def stripped(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stripped]:
    """A server without TLS that asks for the password in the clear, and a PyMySQL that lets it, as before 1.2."""
    monkeypatch.setattr(
        pymysql.connections.Connection, "_ssl_required", property(lambda _: False, lambda _, __: None), raising=False
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Stripped(listener.getsockname()[1])

        listener.settimeout(10)

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.settimeout(10)
                client.sendall(_greeting())
                server.received += client.recv(65536)
                if server.received:
                    client.sendall(_packet(2, b"\xfemysql_clear_password\0"))
                    server.received += client.recv(65536)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server
        thread.join()


@pytest.mark.parametrize("mode", ["REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"])
def test_where_tls_is_required_nothing_is_sent_to_a_server_without(stripped: Stripped, mode: str) -> None:
    url = make_url(f"mysql://airflow:{_PASSWORD}@127.0.0.1:{stripped.port}/airflow?ssl_mode={mode}")
    engine = open_mysql(read_mysql_url(url, "airflow_db.url"), max_overflow=0)

    with pytest.raises(OperationalError, match=r"requires TLS, and the server has none"):
        engine.connect()

    assert stripped.received == b""
