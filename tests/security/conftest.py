"""The gateway under attack: one real process for all modules, or one with personal tokens in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from compat_auth.config import Settings
from support.security.gateway import Gateway, running_gateway, write_config
from support.security.token_gateway import settings_with_tokens
from support.security.upstream import Recorder, recording_upstream


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


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    with recording_upstream() as recorder:
        yield recorder


@pytest.fixture
def upstream(recorder: Recorder) -> Recorder:
    """Return an upstream at which nothing has arrived yet."""
    recorder.take()
    return recorder


@pytest.fixture
def settings(tmp_path: Path, upstream: Recorder) -> Settings:
    """Return those of a gateway with personal tokens, before the upstream."""
    return settings_with_tokens(tmp_path, upstream.port)
