"""The other end of a connection whose socket has no address."""

from __future__ import annotations

import asyncio
import socket

from compat_auth.http.forwarded import PRIVATE_SOCKET


def far_end(transport: asyncio.BaseTransport) -> tuple[str, int] | None:
    """Return `PRIVATE_SOCKET` with a port of 0 for a connection over a Unix socket; None for all others.

    The only Unix socket that we listen on is in a folder that no other account may enter: our own front proxy connects there.
    """
    end: socket.socket | None = transport.get_extra_info("socket")
    return (PRIVATE_SOCKET, 0) if end is not None and end.family == socket.AF_UNIX else None
