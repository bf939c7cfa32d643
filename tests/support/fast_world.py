"""Two gateways in this process before one upstream: one takes the fast paths, one does not."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import uvicorn

from compat_auth.app import create_app
from compat_auth.config import Settings, load_settings
from compat_auth.gateway.connections.bounds import ConnectionBounds
from compat_auth.gateway.connections.uvicorn_protocol import StrictProtocol
from compat_auth.gateway.fast.fast_paths import FastPaths
from compat_auth.gateway.fast.fast_protocol import fast_protocol
from compat_auth.gateway.fast.upstream.pool import UpstreamPool
from compat_auth.gateway.server.server import uvicorn_config
from compat_auth.http.asgi import Receive, Scope, Send
from compat_auth.telemetry import request_ids
from support.security.gateway import basic, write_config

WAIT_S = 10.0
REQUEST_ID = b"4bf92f3577b34da6a3ce929d0e0e4736"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
ALICE = b"Authorization: " + basic()
ELSEWHERE = 'trusted_proxies = ["10.9.0.0/16"]'
SECRET = b"a-secret-of-the-front-proxy-alone-0123456789"
_HEADS = re.compile(rb"(?:HTTP/1.1 1.*?(\r?\n){2})*.*?(\r?\n){2}", re.DOTALL)
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got, and whether all of it."""

    status: int
    headers: Headers
    body: bytes
    is_whole: bool = True


@dataclass
class Call:
    """A request as it reached the upstream, and its connection."""

    head: bytes
    body: bytes
    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader

    @property
    def target(self) -> bytes:
        return self.head.split(b" ")[1]

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of a header; the name is lower case."""
        return [value for found, value in headers_of(self.head) if found == name]

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


Script = Callable[[Call], Awaitable[None]]


def say(data: bytes, *, then_close: bool = False) -> Script:
    """Return a script that answers with these bytes."""

    async def script(call: Call) -> None:
        await call.write(_heads_of(data) if call.head.startswith(b"HEAD ") else data)
        if then_close:
            call.writer.close()

    return script


def _heads_of(data: bytes) -> bytes:
    """Return an answer without its body; the answers before the final one have none."""
    match = _HEADS.match(data)
    return data if match is None else match[0]


def headers_of(head: bytes) -> Headers:
    """Return the headers of a head, names in lower case, values as they are but for the first blank."""
    lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")[1:]
    return [(name.lower(), value.removeprefix(b" ")) for name, _, value in (line.partition(b":") for line in lines)]


@dataclass
class Upstream:
    """A server that does as the test says, and keeps what came."""

    script: Script = field(default_factory=lambda: say(OK))
    calls: list[Call] = field(default_factory=list[Call])
    connections: int = 0
    open: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                found = dict(headers_of(head))
                body = b""
                if found.get(b"transfer-encoding") == b"chunked":
                    while size := int(await reader.readline(), 16):
                        body += (await reader.readexactly(size + 2))[:-2]
                    await reader.readline()
                else:
                    body = await reader.readexactly(int(found.get(b"content-length", b"0")))
                call = Call(head, body, writer, reader)
                self.calls.append(call)
                await self.script(call)
        self.open.discard(writer)
        writer.close()

    def take(self) -> list[Call]:
        """Return what has come, and forget it."""
        taken, self.calls = self.calls, []
        return taken


@dataclass
class Client:
    """One kept connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, method: bytes = b"GET") -> Answer:
        """Return the next answer; what is missing at its end is missing."""
        return await asyncio.wait_for(self._answer(method), WAIT_S)

    async def ask(self, raw: bytes) -> Answer:
        """Send a request and return its answer."""
        await self.send(raw)
        return await self.answer(raw.partition(b" ")[0])

    async def _answer(self, method: bytes) -> Answer:
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as end:
            return Answer(0, [], end.partial, is_whole=False)
        status, headers = int(head.split(b" ")[1]), headers_of(head)
        found = dict(headers)
        body = b""
        if method == b"HEAD" or status in (204, 304):
            return Answer(status, headers, b"")
        try:
            if found.get(b"transfer-encoding") == b"chunked":
                while size := int(await self.reader.readline() or b"x", 16):
                    body += await self.reader.readexactly(size)
                    await self.reader.readexactly(2)
                assert await self.reader.readexactly(2) == b"\r\n"
            else:
                body = await self.reader.readexactly(int(found[b"content-length"]))
        except asyncio.IncompleteReadError as end:
            return Answer(status, headers, body + end.partial, is_whole=False)
        except (ValueError, ConnectionError):
            return Answer(status, headers, body, is_whole=False)
        return Answer(status, headers, body)

    async def is_closed(self) -> bool:
        """Return whether the gateway closes the connection without another byte."""
        try:
            return await asyncio.wait_for(self.reader.read(1), WAIT_S) == b""
        except ConnectionError:
            return True


@dataclass
class Gateway:
    """A gateway that listens, and how many requests its ASGI application has got."""

    port: int
    bounds: ConnectionBounds
    state: Any
    asked: int = 0
    paths: FastPaths | None = None

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncGenerator[Client]:
        """Yield a connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def ask(self, raw: bytes) -> Answer:
        """Return the answer to one request on a connection of its own, which the client keeps."""
        async with self.connected() as client:
            return await client.ask(raw)

    def pool(self) -> UpstreamPool:
        """Return the fast paths' connections to the upstream."""
        assert self.paths is not None
        errands = self.paths.errands
        assert errands is not None
        return errands.pool

    def protocols(self) -> list[StrictProtocol]:
        return [connection for connection in self.state.connections if isinstance(connection, StrictProtocol)]


@dataclass
class World:
    """Both gateways and their upstream."""

    fast: Gateway
    ordinary: Gateway
    upstream: Upstream

    async def warm(self, *authorizations: bytes) -> None:
        """Have both gateways check credentials once."""
        script, self.upstream.script = self.upstream.script, say(OK)
        for gateway in (self.fast, self.ordinary):
            for authorization in authorizations or (ALICE,):
                assert (await gateway.ask(get(authorization=authorization))).status == 200
        self.upstream.script = script
        self.upstream.take()
        self.fast.asked = self.ordinary.asked = 0


def get(target: bytes = b"/api/v2/x", *lines: bytes, method: bytes = b"GET", authorization: bytes = ALICE) -> bytes:
    """Return a request without a body."""
    return b"\r\n".join((b"%b %b HTTP/1.1" % (method, target), b"Host: gateway", authorization, *lines, b"", b""))


def post(body: bytes, *lines: bytes, method: bytes = b"POST") -> bytes:
    """Return a request with a body."""
    return get(b"/api/v2/x", b"Content-Length: %d" % len(body), *lines, method=method) + body


def settings_for(
    folder: Path, upstream_port: int, extra: str = ELSEWHERE, *, url_path: str = "", backends: str = '["basic_auth"]'
) -> Settings:
    """Return the settings of a gateway with password users and forward-auth by secret."""
    folder.mkdir(exist_ok=True)
    lines = f'database_url = "sqlite:///{folder}/store.db"\n{extra}\n[forward_auth]\nsecret = "{SECRET.decode()}"'
    return load_settings(str(write_config(folder, f"http://127.0.0.1:{upstream_port}{url_path}", lines, backends)))


@contextlib.asynccontextmanager
async def gateway(settings: Settings, *, is_fast: bool) -> AsyncGenerator[Gateway]:
    """Serve a gateway on this event loop."""
    app = create_app(settings)
    bounds = ConnectionBounds()
    served = Gateway(0, bounds, None, paths=app.fast_paths)

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        served.asked += 1
        await app(scope, receive, send)

    assert app.fast_paths is not None
    protocol = fast_protocol(app.fast_paths) if is_fast else StrictProtocol
    config = uvicorn_config(counted, "off", bounds=bounds, protocol=protocol)
    config.load()
    state = served.state = uvicorn.Server(config).server_state
    phases: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    done: asyncio.Queue[Any] = asyncio.Queue()
    life = asyncio.ensure_future(app({"type": "lifespan"}, phases.get, done.put))
    phases.put_nowait({"type": "lifespan.startup"})
    await done.get()
    server = await asyncio.get_running_loop().create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        phases.put_nowait({"type": "lifespan.shutdown"})
        await done.get()
        await life
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def worlds(
    folder: Path, extra: str = ELSEWHERE, *, url_path: str = "", backends: str = '["basic_auth"]'
) -> AsyncGenerator[World]:
    """Serve both gateways; alice is warm at both."""
    upstream = Upstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    upstream.port = server.sockets[0].getsockname()[1]
    settings = [
        settings_for(folder / name, upstream.port, extra, url_path=url_path, backends=backends)
        for name in ("fast", "ordinary")
    ]
    # Answers of both are compared: the ids that they make must not differ.
    same_id = mock.patch.object(request_ids, "make_id", return_value=REQUEST_ID)
    with same_id:
        async with gateway(settings[0], is_fast=True) as fast, gateway(settings[1], is_fast=False) as ordinary:
            world = World(fast, ordinary, upstream)
            await world.warm()
            yield world
    server.close()
    for writer in list(upstream.open):
        writer.close()
    await asyncio.sleep(0.01)
