"""A clock is compared with an NTP server's."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from compat_auth.cli.doctor.peers.clocks import ask_ntp
from compat_auth.errors import BackendUnavailable


@contextmanager
def ntp_server(offset_s: float, *, stratum: int = 2) -> Generator[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def answer() -> None:
            _, client = sock.recvfrom(1024)
            now = time.time() + offset_s + 2_208_988_800
            stamp = struct.pack(">II", int(now), int(now % 1 * 2**32))
            sock.sendto(bytes([0x24, stratum]) + bytes(30) + stamp + stamp, client)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"127.0.0.1:{sock.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize("offset_s", [pytest.param(90, id="ahead"), pytest.param(-90, id="behind")])
def test_an_ntp_servers_time_is_compared(offset_s: float) -> None:
    with ntp_server(offset_s) as server:
        ahead_s = ask_ntp(server)

    assert abs(ahead_s + offset_s) < 2


def test_an_ntp_server_without_a_time_is_no_answer() -> None:
    with ntp_server(0, stratum=0) as server, pytest.raises(BackendUnavailable, match="gives no time"):
        ask_ntp(server)


def test_a_server_that_does_not_answer_is_named_with_its_port() -> None:
    with pytest.raises(BackendUnavailable, match="UDP port 9 is open"):
        ask_ntp("127.0.0.1:9")
