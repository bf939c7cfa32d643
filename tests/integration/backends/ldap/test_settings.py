"""What `[ldap]` and `[pam]` may say, and what is refused at the start."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from compat_auth_backends.ldap.probe import ProbeFailed, probe


@pytest.fixture
def server() -> Iterator[tuple[str, list[bytes]]]:
    """An ldap:// server that says to each caller what the test has put into the list, and then nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    says: list[bytes] = []
    held: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.recv(100)
            connection.sendall(b"".join(says))
            held.append(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"ldap://127.0.0.1:{listener.getsockname()[1]}", says
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)
    for connection in held:
        connection.close()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        pytest.param(b"", "no answer", id="nothing"),
        pytest.param(b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00", "no answer", id="then-silent-in-tls"),
        pytest.param(b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00", "refuses StartTLS", id="refusal"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9, "refuses StartTLS", id="http"),
    ],
)
def test_a_server_that_does_not_come_to_tls_is_given_up_in_time(
    said: bytes, message: str, server: tuple[str, list[bytes]]
) -> None:
    url, says = server
    says.append(said)
    began = time.monotonic()

    with pytest.raises(ProbeFailed, match=message):
        probe(url, start_tls=True, ca_file="", timeout_s=0.3)

    assert time.monotonic() - began < 3


def test_a_port_where_nobody_listens_is_no_server() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"ldaps://127.0.0.1:{bound.getsockname()[1]}"

        with pytest.raises(ProbeFailed, match="refused"):
            probe(url, start_tls=True, ca_file="", timeout_s=1)
