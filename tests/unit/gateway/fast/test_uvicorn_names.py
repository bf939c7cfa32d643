"""uvicorn's private names, on which the fast paths rely: without one of them, they are off."""

from __future__ import annotations

import logging
from typing import cast

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from compat_auth.gateway.connections.uvicorn_protocol import StrictProtocol
from compat_auth.gateway.fast import protocol_choice, uvicorn_names
from compat_auth.gateway.fast.fast_paths import FastPaths
from compat_auth.gateway.fast.fast_protocol import FastProtocol
from compat_auth.gateway.fast.protocol_choice import protocol_for
from compat_auth.gateway.fast.uvicorn_names import missing_names
from compat_auth.http.forwarded import TrustedProxies

PATHS = FastPaths(TrustedProxies([]), None, None, None)


def test_this_uvicorn_has_every_name_that_the_fast_paths_rely_on() -> None:
    assert missing_names() == []


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        pytest.param(HttpToolsProtocol, "on_headers_complete", id="event"),
        pytest.param(HttpToolsProtocol, "_start_asgi_task", id="task"),
        pytest.param(FlowControl, "pause_reading", id="flow"),
    ],
)
def test_a_method_that_uvicorn_has_renamed_is_named(
    monkeypatch: pytest.MonkeyPatch, owner: type[object], name: str
) -> None:
    monkeypatch.delattr(owner, name)

    assert [missing.partition("(")[0] for missing in missing_names()] == [f"{owner.__name__}.{name}"]


def test_a_method_with_other_parameters_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_body(self: HttpToolsProtocol, body: bytes, is_last: bool) -> None:
        del self, body, is_last

    monkeypatch.setattr(HttpToolsProtocol, "on_body", on_body)

    assert missing_names() == ["HttpToolsProtocol.on_body(body)"]


@pytest.mark.parametrize("name", ["cycle", "pipeline", "expect_100_continue", "response_complete", "write_paused"])
def test_an_attribute_that_uvicorn_has_renamed_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    used = uvicorn_names._assigned  # the function that reads uvicorn's code

    monkeypatch.setattr(uvicorn_names, "_assigned", lambda owner: used(owner) - {name})

    assert [missing.partition(".")[2] for missing in missing_names()] == [name]


def test_with_another_uvicorn_every_request_takes_the_ordinary_way_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(protocol_choice, "missing_names", lambda: ["HttpToolsProtocol.cycle"])

    with caplog.at_level(logging.WARNING):
        chosen = protocol_for(PATHS)

    assert chosen is StrictProtocol
    (line,) = caplog.messages
    assert "fast_protocol: off" in line
    assert "HttpToolsProtocol.cycle" in line


def test_without_fast_paths_the_ordinary_class_serves() -> None:
    assert protocol_for(None) is StrictProtocol


def test_each_gateway_has_a_class_with_its_own_fast_paths() -> None:
    one, other = (
        cast("type[FastProtocol]", protocol_for(paths))
        for paths in (PATHS, FastPaths(TrustedProxies([]), None, None, 1))
    )

    assert one.paths is PATHS
    assert other.paths is not PATHS
    assert issubclass(one, FastProtocol)


def test_a_cycle_says_whether_it_is_complete() -> None:
    assert "response_complete" in RequestResponseCycle.__init__.__code__.co_names
