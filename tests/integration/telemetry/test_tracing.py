"""Spans of a gateway, as OpenTelemetry's own SDK records them."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from compat_auth.app import create_app
from compat_auth.config import load_settings
from compat_auth.errors import ConfigError
from compat_auth.telemetry import tracing
from compat_auth.telemetry.tracing import Tracer
from support.security.gateway import basic, free_port, write_config
from support.security.upstream import Recorder, recording_upstream

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
AUTHORIZATION = {"Authorization": basic().decode()}


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def upstream() -> Generator[Recorder]:
    with recording_upstream() as recorder:
        yield recorder


@dataclass
class World:
    client: httpx.AsyncClient
    exporter: InMemorySpanExporter
    upstream: Recorder
    has_fast_paths: bool

    def spans(self) -> dict[SpanKind, list[ReadableSpan]]:
        """Return the finished spans by kind."""
        found: dict[SpanKind, list[ReadableSpan]] = {}
        for span in self.exporter.get_finished_spans():
            found.setdefault(span.kind, []).append(span)
        return found


@pytest.fixture
async def world(
    request: pytest.FixtureRequest, tmp_path: Path, exporter: InMemorySpanExporter, upstream: Recorder
) -> AsyncGenerator[World]:
    """Yield a gateway with traces; its clients are trusted proxies where the parameter says so."""
    trusted = '["127.0.0.1"]' if getattr(request, "param", False) else "[]"
    extra = f'trusted_proxies = {trusted}\ndatabase_url = "sqlite:///{tmp_path}/s.db"\ntracing = {{enabled = true}}'
    port = upstream.port if getattr(request, "param", None) != "away" else free_port()
    app = create_app(load_settings(str(write_config(tmp_path, f"http://127.0.0.1:{port}", extra))))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    assert tracing.OPTIONS.tracer is not None
    # A process has one provider for ever; this one is the test's.
    tracing.OPTIONS.tracer._tracer = provider.get_tracer("compat_auth")
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 5000))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield World(client, exporter, upstream, app.fast_paths is not None)
    await app._proxy.close()
    app._core.decider.close()
    provider.shutdown()
    tracing.OPTIONS.tracer = None


async def test_a_request_has_spans_for_itself_the_check_and_the_upstream(world: World) -> None:
    answer = await world.client.get("/api/x?token=secret", headers=AUTHORIZATION)

    spans = world.spans()
    (server,), (decision,), (client,) = (spans[kind] for kind in (SpanKind.SERVER, SpanKind.INTERNAL, SpanKind.CLIENT))
    assert server.context is not None
    assert server.parent is None
    assert [span.parent.span_id for span in (decision, client) if span.parent] == [server.context.span_id] * 2
    assert dict(server.attributes or {}) == {
        "http.request.method": "GET",
        "url.path": "/api/x",
        "url.scheme": "http",
        "http.response.status_code": 200,
        "compat_auth.request_id": answer.headers["x-request-id"],
        "compat_auth.backend": "basic_auth",
    }
    assert dict(client.attributes or {}) == {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": world.upstream.port,
        "url.path": "/api/x",
        "http.response.status_code": 200,
    }
    assert (server.name, decision.name, client.name) == ("GET", "compat_auth.decision", "GET")


async def test_a_warm_request_has_no_span_of_a_check(world: World) -> None:
    await world.client.get("/api/x", headers=AUTHORIZATION)
    world.exporter.clear()

    await world.client.get("/api/x", headers=AUTHORIZATION)

    assert {kind: len(spans) for kind, spans in world.spans().items()} == {SpanKind.SERVER: 1, SpanKind.CLIENT: 1}


@pytest.mark.parametrize("world", [True], indirect=True)
async def test_the_trace_of_a_trusted_proxy_goes_on_to_the_upstream(world: World) -> None:
    await world.client.get("/api/x", headers={**AUTHORIZATION, "traceparent": TRACEPARENT, "tracestate": "a=b"})

    (client,) = world.spans()[SpanKind.CLIENT]
    (arrived,) = world.upstream.take()
    assert client.context is not None
    (traceparent,) = arrived.values(b"traceparent")
    assert traceparent.rpartition(b"-")[0] == f"00-{TRACE}-{client.context.span_id:016x}".encode()
    # An older OpenTelemetry passes the flag for a random id on as well; sampled is the lowest bit.
    assert int(traceparent.rpartition(b"-")[2], 16) & 1
    assert arrived.values(b"tracestate") == [b"a=b"]


async def test_the_trace_of_anybody_else_ends_here(world: World) -> None:
    await world.client.get("/api/x", headers={**AUTHORIZATION, "traceparent": TRACEPARENT, "tracestate": "a=b"})

    (arrived,) = world.upstream.take()
    (traceparent,) = arrived.values(b"traceparent")
    assert TRACE.encode() not in arrived.head
    assert traceparent.count(b"-") == 3
    assert arrived.values(b"tracestate") == []


async def test_of_two_traces_of_anybody_else_none_reaches_the_upstream(world: World) -> None:
    twice = [("traceparent", TRACEPARENT), ("tracestate", "a=b"), ("baggage", "a=b")] * 2

    await world.client.get("/api/x", headers=[*AUTHORIZATION.items(), *twice])

    (arrived,) = world.upstream.take()
    assert TRACE.encode() not in arrived.head
    assert [len(arrived.values(name)) for name in (b"traceparent", b"tracestate", b"baggage")] == [1, 0, 0]


@pytest.mark.parametrize("world", [True], indirect=True)
@pytest.mark.parametrize("value", ["00-zz", "", "00-" + "0" * 32 + "-00f067aa0ba902b7-01"])
async def test_a_malformed_trace_begins_a_new_one(value: str, world: World) -> None:
    answer = await world.client.get("/api/x", headers={**AUTHORIZATION, "traceparent": value})

    assert answer.status_code == 200
    assert world.spans()[SpanKind.SERVER][0].parent is None


async def test_a_refused_request_has_a_span_without_the_credential(world: World) -> None:
    answer = await world.client.get("/api/x", headers={"Authorization": basic("alice", "canary-password").decode()})

    (server,) = world.spans()[SpanKind.SERVER]
    assert answer.status_code == 401
    assert (server.attributes or {})["http.response.status_code"] == 401
    assert server.status.status_code is StatusCode.UNSET
    assert not any("canary" in span.to_json() for span in world.exporter.get_finished_spans())


@pytest.mark.parametrize("world", ["away"], indirect=True)
async def test_an_upstream_that_is_away_is_an_error_of_both_spans(world: World) -> None:
    answer = await world.client.get("/api/x", headers=AUTHORIZATION)

    spans = world.spans()
    (server,), (client,) = spans[SpanKind.SERVER], spans[SpanKind.CLIENT]
    assert answer.status_code == 502
    assert (client.attributes or {})["error.type"] == "UpstreamUnreachable"
    assert (server.attributes or {})["error.type"] == "502"
    assert {server.status.status_code, client.status.status_code} == {StatusCode.ERROR}


async def test_an_unknown_method_is_no_name_of_a_span(world: World) -> None:
    await world.client.request("CANARY", "/api/x", headers=AUTHORIZATION)

    (server,) = world.spans()[SpanKind.SERVER]
    assert server.name == "HTTP"
    assert (server.attributes or {})["http.request.method"] == "_OTHER"


async def test_every_request_takes_the_ordinary_way_while_spans_are_made(world: World) -> None:
    assert not world.has_fast_paths


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)

    with pytest.raises(ConfigError, match=r"tracing\.enabled: opentelemetry-api is not installed; .*extra 'otel'"):
        Tracer()


async def test_nothing_is_traced_unless_it_is_configured(tmp_path: Path, upstream: Recorder) -> None:
    extra = f'database_url = "sqlite:///{tmp_path}/s.db"'
    app = create_app(load_settings(str(write_config(tmp_path, f"http://127.0.0.1:{upstream.port}", extra))))

    assert tracing.OPTIONS.tracer is None
    assert app.fast_paths is not None
