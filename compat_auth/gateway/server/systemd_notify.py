"""systemd's notification protocol (sd_notify(3)): one datagram for each state, nothing where systemd did not ask."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class SystemdNotifier:
    """Tells the service manager how the service is.

    Args:
        environ: With `NOTIFY_SOCKET`, and `WATCHDOG_USEC` and `WATCHDOG_PID` where a watchdog waits.
        pid: Of the process that systemd watches.

    Attributes:
        watchdog_every_s: How often `WATCHDOG=1` is due: half of what systemd waits; None: nobody waits for it.
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
        """Send a state such as "READY=1"; a service manager that cannot be reached changes nothing."""
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
