"""Opens the listeners of `compat-auth serve`, or takes those that a service manager has opened."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass

from compat_auth.config import Settings
from compat_auth.errors import ConfigError
from compat_auth.gateway.forward_auth.access import access_of
from compat_auth.gateway.server.server import bind_socket
from compat_auth.gateway.service.socket_activation import PassedSockets, take_sockets


@dataclass(frozen=True, slots=True)
class Listeners:
    """The sockets on which clients, front proxies and scrapes come in.

    Attributes:
        serve: Of `[serve] bind`; with a front proxy of our own, the one where only that can connect.
        address: Host and port for clients.
        forward_auth: Of `[forward_auth] bind`, with the address that it really has; None: it has no listener of its own.
        metrics: Of `[metrics] bind`; None: metrics are off.
        passed: File descriptors of those that a service manager has opened: they outlive us.
    """

    serve: tuple[socket.socket, ...]
    address: tuple[str, int]
    forward_auth: tuple[socket.socket, str] | None
    metrics: socket.socket | None
    passed: frozenset[int]

    @property
    def of_workers(self) -> list[socket.socket]:
        """Those on which workers answer HTTP."""
        return [*self.serve, *([self.forward_auth[0]] if self.forward_auth is not None else [])]

    def adjusted(self, settings: Settings) -> Settings:
        """Return settings with forward-auth's real address: by its port, requests from front proxies are known."""
        if self.forward_auth is None:
            return settings
        section = settings.forward_auth.model_copy(update={"bind": self.forward_auth[1]})
        return settings.model_copy(update={"forward_auth": section})


def passed_sockets() -> PassedSockets:
    """Return the sockets that a service manager has passed to this process.

    Raises:
        ConfigError: See `take_sockets`.
    """
    return take_sockets(os.environ, os.getpid())


def open_listeners(
    settings: Settings,
    stack: contextlib.ExitStack,
    passed: PassedSockets,
    own_front: tuple[socket.socket, tuple[str, int]] | None = None,
) -> Listeners:
    """Return the listeners.

    Args:
        settings: The settings.
        stack: Closes them.
        passed: Those that a service manager has opened.
        own_front: The listener behind our own front proxy, and the address for clients; None: there is none.

    Raises:
        ConfigError: An address cannot be used, or a socket was passed that the settings do not want.
        AddressTaken: Another program listens there.
    """
    _require_wanted(passed, settings, has_front=own_front is not None)
    front = _forward_auth(settings, stack, passed)
    if own_front is not None:
        serve: tuple[socket.socket, ...] = (own_front[0],)
        address = own_front[1]
    else:
        serve = passed.serve or (stack.enter_context(bind_socket(settings.serve.bind)),)
        address = serve[0].getsockname()[:2]
    for listener in passed.serve:
        stack.enter_context(listener)
    metrics = None
    if settings.metrics.bind:
        opened = passed.metrics or (bind_socket(settings.metrics.bind, "metrics.bind"),)
        metrics = stack.enter_context(opened[0])
    outliving = frozenset(each.fileno() for each in (*passed.serve, *passed.forward_auth, *passed.metrics))
    return Listeners(serve, address, front, metrics, outliving)


def _require_wanted(passed: PassedSockets, settings: Settings, *, has_front: bool) -> None:
    if has_front and (passed.serve or passed.forward_auth):
        raise ConfigError("--front nginx: nginx opens its own listener; stop the socket unit, or omit --front")
    for name, sockets, bind in (
        ("forward_auth", passed.forward_auth, settings.forward_auth.bind),
        ("metrics", passed.metrics, settings.metrics.bind),
    ):
        if sockets and not bind:
            raise ConfigError(
                f"{name}.bind: empty, and the socket unit passes a socket for it; set it to the address of the unit, or"
                " remove that socket"
            )
        if len(sockets) > 1:
            raise ConfigError(f"{name}.bind: the socket unit passes {len(sockets)} sockets for it; keep one of them")


def _forward_auth(
    settings: Settings, stack: contextlib.ExitStack, passed: PassedSockets
) -> tuple[socket.socket, str] | None:
    bind = settings.forward_auth.bind
    if not bind:
        return None
    access_of(settings)
    opened = passed.forward_auth or (bind_socket(bind, "forward_auth.bind"),)
    listener = stack.enter_context(opened[0])
    return listener, f"{bind.rpartition(':')[0]}:{listener.getsockname()[1]}"
