"""How far this machine's clock is from others': an NTP server's, and the one of a peer that sends its time."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from compat_auth.cli.doctor.result import Result
from compat_auth.errors import BackendUnavailable

_WAIT_S = 3.0
_EPOCH_1900_S = 2_208_988_800  # seconds from NTP's epoch to ours (RFC 5905 section 6)
_PACKET = 48
_CLIENT = 0x23  # version 4, mode 3 (RFC 5905 section 7.3)
_SERVER_MODE = 4
_STEP = "set the clocks of both machines by NTP"


def describe_clock(about: str, ahead_s: float, *, limit_s: float, why: str) -> Result:
    """Return the result for a difference.

    Args:
        about: The question, such as `clock KDC`.
        ahead_s: Seconds by which our clock is ahead.
        limit_s: A larger difference is a failure; half of it is a warning.
        why: What happens beyond the limit.
    """
    direction = "ahead of" if ahead_s > 0 else "behind"
    text = f"this machine's clock is {abs(ahead_s):.0f} s {direction} it"
    if abs(ahead_s) > limit_s:
        return Result(about, "failure", f"{text}: {why}", about, _STEP)
    if abs(ahead_s) > limit_s / 2:
        return Result(about, "warning", f"{text}; from {limit_s:.0f} s on, {why}", about, _STEP)
    return Result.okay(about, "as ours" if abs(ahead_s) < 2 else text)


def ahead_of_date(headers: Mapping[str, str], before: float, after: float) -> float | None:
    """Return by how many seconds we are ahead of the Date of an answer (RFC 9110 6.6.1); None if it has none.

    Args:
        headers: Names in lower case.
        before: Our time before the request.
        after: Our time after the answer.
    """
    try:
        theirs = parsedate_to_datetime(headers.get("date", "")).timestamp()
    except ValueError:
        return None
    # Whole seconds, at some time between request and answer.
    if before > theirs + 1:
        return before - theirs - 1
    return min(0.0, after - theirs)


def ask_ntp(server: str) -> float:
    """Return by how many seconds our clock is ahead of an NTP server's (RFC 5905 section 8).

    Args:
        server: HOST or HOST:PORT.

    Raises:
        BackendUnavailable: It does not answer.
    """
    host, _, port = server.rpartition(":") if server.rpartition(":")[2].isdigit() else (server, "", "123")
    packet = bytes([_CLIENT]) + bytes(_PACKET - 1)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as sock:
            sock.settimeout(_WAIT_S)
            sock.connect(address)
            sent = time.time()
            sock.send(packet)
            answer = sock.recv(1024)
            received = time.time()
    except (OSError, ValueError, UnicodeError) as exc:
        raise BackendUnavailable(
            f"--ntp: {server}: does not answer ({type(exc).__name__}); check the name, and that UDP port {port} is open"
        ) from None
    if len(answer) < _PACKET or answer[0] & 7 != _SERVER_MODE or answer[1] == 0:
        raise BackendUnavailable(f"--ntp: {server}: its answer gives no time; name another server")
    arrived, left = _time_at(answer, 32), _time_at(answer, 40)
    return ((sent - arrived) + (received - left)) / 2


def _time_at(packet: bytes, place: int) -> float:
    found: tuple[int, int] = struct.unpack_from(">II", packet, place)
    seconds, fraction = found
    return seconds - _EPOCH_1900_S + fraction / 2**32
