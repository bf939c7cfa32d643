"""systemd's notification protocol (sd_notify(3)): one datagram per state, and none if systemd did not ask for it."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class SystemdNotifier:
    """Reports the service's state to the service manager.

    Args:
        environ: Holds `NOTIFY_SOCKET`, and `WATCHDOG_USEC` and `WATCHDOG_PID` if systemd runs a watchdog.
        pid: The process that systemd watches.

    Attributes:
        watchdog_every_s: Seconds between two `WATCHDOG=1`: half of systemd's timeout; None without a watchdog.
    """

    def __init__(self, environ: Mapping[str, str], *, pid: int) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        usec = environ.get("WATCHDOG_USEC", "")
        is_ours = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        self.watchdog_every_s = int(usec) / 2_000_000 if self._address and usec.isdigit() and is_ours else None

    @classmethod
    def from_environment(cls) -> SystemdNotifier:
        """Return the notifier of this process."""
        return cls(os.environ, pid=os.getpid())

    def send(self, state: str) -> None:
        """Send a state such as "READY=1"; ignore a service manager that cannot be reached."""
        if not self._address:
            return
        # sd_notify(3): "@" stands for the NUL byte of the abstract namespace.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
                connection.setblocking(False)
                connection.sendto(state.encode(), address)
        except OSError:
            return
