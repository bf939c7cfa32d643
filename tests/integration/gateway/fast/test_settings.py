"""When a gateway has fast paths."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from compat_auth.app import create_app
from compat_auth.gateway.connections.uvicorn_protocol import StrictProtocol
from compat_auth.gateway.fast.fast_protocol import FastProtocol
from compat_auth.gateway.fast.protocol_choice import protocol_for
from support.fast_world import ELSEWHERE, World, get, settings_for, worlds


def test_by_default_a_gateway_has_fast_paths(tmp_path: Path) -> None:
    app = create_app(settings_for(tmp_path, 1))

    assert issubclass(protocol_for(app.fast_paths), FastProtocol)


@pytest.mark.parametrize("value", ["false", "true"])
def test_a_setting_turns_them_off(tmp_path: Path, value: str) -> None:
    app = create_app(settings_for(tmp_path, 1, f"{ELSEWHERE}\n[serve]\nfast_protocol = {value}"))

    assert (protocol_for(app.fast_paths) is StrictProtocol) == (value == "false")


def test_a_variable_turns_them_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPAT_AUTH_SERVE__FAST_PROTOCOL", "false")

    app = create_app(settings_for(tmp_path, 1))

    assert app.fast_paths is None


def test_an_upstream_with_tls_is_called_the_ordinary_way(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, 1)
    settings = settings.model_copy(
        update={"upstream": settings.upstream.model_copy(update={"url": "https://127.0.0.1:1"})}
    )

    paths = create_app(settings).fast_paths

    assert paths is not None
    assert paths.errands is None


async def test_a_stopped_gateway_keeps_no_connection_to_its_upstream(tmp_path: Path) -> None:
    async with worlds(tmp_path) as world:
        await world.fast.ask(get())
        (call,) = world.upstream.take()
        world.fast.pool().close()
        await asyncio.wait_for(call.writer.wait_closed(), 5)
        answer = await world.fast.ask(get())

    assert (answer.status, world.fast.asked) == (200, 1)


async def test_an_audit_log_that_cannot_be_written_sends_requests_the_ordinary_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compat_auth.gateway.fast.fast_paths.LOSSES.standard_error.is_failing", True)

    answer = await world.fast.ask(get())

    assert (answer.status, world.fast.asked) == (200, 1)
