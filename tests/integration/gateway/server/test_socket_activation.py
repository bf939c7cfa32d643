"""Sockets that a service manager passes: which are taken, for which setting, and which are refused."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from compat_auth.errors import ConfigError
from compat_auth.gateway.service.socket_activation import take_sockets


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def environ_for(count: str, names: str = "", pid: int = 7) -> dict[str, str]:
    return {"LISTEN_PID": str(pid), "LISTEN_FDS": count, "LISTEN_FDNAMES": names, "OTHER": "stays"}


@pytest.mark.parametrize(
    ("name", "place"),
    [("serve", "serve"), ("compat-auth.socket", "serve"), ("forward-auth", "forward_auth"), ("metrics", "metrics")],
)
def test_a_socket_is_for_the_listener_that_its_name_says(listener: socket.socket, name: str, place: str) -> None:
    environ = environ_for("1", name)

    found = take_sockets(environ, 7, first=os.dup(listener.fileno()))

    taken = {one: getattr(found, one) for one in ("serve", "forward_auth", "metrics")}
    assert [one for one in taken if taken[one]] == [place]
    (passed,) = taken[place]
    with passed:
        assert passed.getsockname() == listener.getsockname()
        assert not passed.get_inheritable()
    assert environ == {"OTHER": "stays"}


def test_sockets_for_another_process_are_not_taken_and_not_passed_on(listener: socket.socket) -> None:
    environ = environ_for("1", pid=8)

    found = take_sockets(environ, 7, first=listener.fileno())

    assert (found.serve, found.forward_auth, found.metrics) == ((), (), ())
    assert environ == {"OTHER": "stays"}


@pytest.mark.parametrize("count", ["many", "-1", "9999"])
def test_a_number_that_is_none_is_refused(count: str) -> None:
    with pytest.raises(ConfigError, match="LISTEN_FDS"):
        take_sockets(environ_for(count), 7)


def test_a_socket_that_does_not_listen_is_refused() -> None:
    with socket.socket() as idle, pytest.raises(ConfigError, match="not a listening TCP socket"):
        take_sockets(environ_for("1"), 7, first=idle.fileno())


def test_a_socket_of_a_path_is_refused() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(ConfigError, match="not a listening TCP socket"):
        take_sockets(environ_for("1"), 7, first=ours.fileno())
