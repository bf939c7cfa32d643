"""Sockets that a service manager has opened and passes on: sd_listen_fds(3)."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass, field

from compat_auth.errors import ConfigError

FIRST = 3
"""The number of the first file descriptor: SD_LISTEN_FDS_START."""
FORWARD_AUTH = "forward-auth"
METRICS = "metrics"
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


@dataclass(frozen=True, slots=True)
class PassedSockets:
    """The listening sockets that were passed; each tuple is empty if none was.

    Attributes:
        serve: In place of `[serve] bind`.
        forward_auth: In place of `[forward_auth] bind`.
        metrics: In place of `[metrics] bind`.
    """

    serve: tuple[socket.socket, ...] = ()
    forward_auth: tuple[socket.socket, ...] = field(default=())
    metrics: tuple[socket.socket, ...] = field(default=())


def take_sockets(environ: MutableMapping[str, str], pid: int, *, first: int = FIRST) -> PassedSockets:
    """Return the sockets that were passed to this process, by the name in the socket unit (`FileDescriptorName=`).

    A socket named `forward-auth` or `metrics` is for that listener, and one with any other name for `[serve] bind`. The
    variables are removed, so that a program that we start does not take the sockets for its own.

    Args:
        environ: Holds `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` if there are any.
        pid: Of this process; sockets that were passed to another process are not ours.
        first: Number of the first file descriptor.

    Raises:
        ConfigError: What was passed is no listening TCP socket, or the number is none.
    """
    owner, count, names = (environ.pop(name, "") for name in _VARIABLES)
    if owner != str(pid) or not count:
        return PassedSockets()
    if not count.isdecimal() or int(count) > 64:
        raise ConfigError(f"LISTEN_FDS: {count!r}: not a number of sockets (sd_listen_fds(3)); start it by systemd")
    by_name: dict[str, list[socket.socket]] = {"": [], FORWARD_AUTH: [], METRICS: []}
    known = names.split(":") if names else []
    for index in range(int(count)):
        name = known[index] if index < len(known) else ""
        by_name[name if name in by_name else ""].append(_listener(first + index, name))
    return PassedSockets(tuple(by_name[""]), tuple(by_name[FORWARD_AUTH]), tuple(by_name[METRICS]))


def _listener(descriptor: int, name: str) -> socket.socket:
    said = f"socket {descriptor - FIRST + 1} of the socket unit ({name or 'without a name'})"
    try:
        listener = socket.socket(fileno=descriptor)
    except OSError as exc:
        raise ConfigError(f"LISTEN_FDS: {said}: {exc.strerror}; systemd must pass a socket there") from None
    is_stream = listener.type == socket.SOCK_STREAM and listener.family in _FAMILIES
    if not is_stream or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        listener.detach()
        raise ConfigError(
            f"LISTEN_FDS: {said}: not a listening TCP socket; write ListenStream= with an address or a port, and Accept=no"
        )
    os.set_inheritable(descriptor, False)
    return listener
