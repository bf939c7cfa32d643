"""The socket and the server's own limits."""

from __future__ import annotations

import pickle
import socket

import pytest

from compat_auth.errors import AddressTaken, ConfigError
from compat_auth.gateway.connections.uvicorn_protocol import StrictProtocol
from compat_auth.gateway.server.server import bind_socket, uvicorn_config
from compat_auth.gateway.server.worker import stop_accepting
from support.stand_ins import Behind


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "0", "[::1]:0"])
def test_an_address_is_bound(bind: str) -> None:
    with bind_socket(bind) as listener:
        assert listener.getsockname()[1] > 0


@pytest.mark.parametrize("bind", ["", "localhost", "127.0.0.1:x", "127.0.0.1:70000", "192.0.2.1:0"])
def test_an_address_that_is_none_or_not_ours_is_a_matter_of_configuration(bind: str) -> None:
    with pytest.raises(ConfigError, match=r"serve\.bind"):
        bind_socket(bind)


def test_an_address_that_is_taken_is_named() -> None:
    with bind_socket("127.0.0.1:0") as taken, pytest.raises(ConfigError, match="choose another"):
        bind_socket(f"127.0.0.1:{taken.getsockname()[1]}")


def test_the_server_believes_no_forward_header_and_logs_no_request() -> None:
    config = uvicorn_config(Behind())

    assert config.http is StrictProtocol
    assert (config.proxy_headers, config.access_log) == (False, False)


def test_the_server_s_settings_reach_a_process_that_is_spawned() -> None:
    config = pickle.loads(pickle.dumps(uvicorn_config("compat_auth.app:create_app")))  # noqa: S301  # our own bytes

    assert config.bounds.stopping is False


def test_an_address_that_is_taken_may_be_free_later() -> None:
    with bind_socket("127.0.0.1:0") as taken, pytest.raises(AddressTaken) as refused:
        bind_socket(f"127.0.0.1:{taken.getsockname()[1]}")

    assert refused.value.exit_code == 69


def test_a_listener_that_takes_nobody_any_more_still_gives_those_that_it_has() -> None:
    with bind_socket("127.0.0.1:0") as listener, socket.socket() as late:
        late.settimeout(0.3)
        with socket.create_connection(listener.getsockname(), 5):
            stop_accepting(listener)

            with pytest.raises(TimeoutError):
                late.connect(listener.getsockname())
            listener.settimeout(5)
            listener.accept()[0].close()
