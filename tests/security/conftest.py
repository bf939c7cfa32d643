"""The gateway under attack: one real process for all modules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from security.gateway import Gateway, running_gateway, write_config
from security.upstream import recording_upstream


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    with recording_upstream() as upstream:
        config = write_config(folder, f"http://127.0.0.1:{upstream.port}")
        with running_gateway(config, upstream) as gateway:
            yield gateway


@pytest.fixture
def gateway(running: Gateway) -> Gateway:
    """Return the gateway, with nothing arrived at its upstream yet."""
    running.upstream.take()
    return running
