"""The reverse proxy, behind the gate, between a real server and an upstream that does as the test says."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
import uvicorn

from compat_auth.errors import ConfigError, UpstreamUnreachable
from compat_auth.gateway.proxy.reverse_proxy import ReverseProxy
from compat_auth.gateway.server.server import uvicorn_config
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.identity import Identity, Token
from support.stand_ins import GOOD, Clock, accepting, make_decider, make_gate, token_for, upstream_settings

Headers = list[tuple[str, str]]
WAIT_S = 3.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BIG = 1024 * 1024
BOMB = gzip.compress(b"x" * BIG + b"Invalid JWT token", mtime=0)


def parse_head(head: bytes) -> tuple[str, Headers]:
    first, *lines = head.decode("utf-8", "surrogateescape").removesuffix("\r\n\r\n").split("\r\n")
    headers: Headers = []
    for line in lines:
        name, _, value = line.partition(":")
        headers.append((name.lower(), value.strip()))
    return first, headers


async def read_body(reader: asyncio.StreamReader, headers: Headers) -> bytes:
    found = dict(headers)
    if found.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(found.get("content-length", "0")))
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


@dataclass
class Call:
    """One request as it reached the upstream."""

    line: str
    headers: Headers
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def values(self, name: str) -> list[str]:
        return [value for found, value in self.headers if found == name]

    async def body(self) -> bytes:
        return await read_body(self.reader, self.headers)

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


Script = Callable[[Call], Awaitable[None]]


async def say_ok(call: Call) -> None:
    await call.body()
    await call.write(OK)


def say(data: bytes) -> Script:
    async def script(call: Call) -> None:
        await call.body()
        await call.write(data)

    return script


@dataclass
class Upstream:
    """A server that does as the test says."""

    script: Script = say_ok
    calls: list[Call] = field(default_factory=list[Call])
    port: int = 0
    called: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    open: list[asyncio.StreamWriter] = field(default_factory=list[asyncio.StreamWriter])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, headers = parse_head(head)
                call = Call(line, headers, reader, writer)
                self.calls.append(call)
                self.called.set()
                await self.script(call)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone.set()
        finally:
            writer.close()

    @property
    def call(self) -> Call:
        """The only request."""
        (call,) = self.calls
        return call


@dataclass
class Answer:
    """An answer as it reached the client; `whole` tells whether it ended as announced."""

    status: int
    headers: Headers
    body: bytes = b""
    whole: bool = True

    def values(self, name: str) -> list[str]:
        return [value for found, value in self.headers if found == name]


class Client:
    """One connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def begin(self, target: str = "/api/x", *lines: str, method: str = "GET", sign: bool = True) -> None:
        head = [f"{method} {target} HTTP/1.1", "Host: gateway.example", *lines]
        if sign:
            head.append(f"Authorization: {GOOD}")
        await self.send("\r\n".join((*head, "", "")).encode())

    async def head(self) -> Answer:
        line, headers = parse_head(await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), WAIT_S))
        return Answer(int(line.split()[1]), headers)

    async def answer(self, *, bodiless: bool = False) -> Answer:
        answer = await self.head()
        if bodiless or answer.status in (204, 304):
            return answer
        try:
            answer.body = await asyncio.wait_for(read_body(self.reader, answer.headers), WAIT_S)
        except (asyncio.IncompleteReadError, ValueError):
            answer.whole = False
        return answer

    async def get(self, target: str = "/api/x", *lines: str, **options: Any) -> Answer:
        await self.begin(target, *lines, **options)
        return await self.answer()

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return


Connect = Callable[..., Awaitable[Client]]


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    upstream = Upstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    upstream.port = server.sockets[0].getsockname()[1]
    yield upstream
    server.close()
    for writer in upstream.open:
        writer.close()
    await asyncio.sleep(0)


@pytest.fixture
async def connect(upstream: Upstream) -> AsyncIterator[Connect]:
    async with AsyncExitStack() as stack:

        async def start(
            *, trusted: tuple[str, ...] = (), tokens: Callable[[int], Token] | None = None, **changed: Any
        ) -> Client:
            numbers = iter(range(100))

            def obtain(identity: Identity, *_rest: object) -> Token:
                number = next(numbers)
                return token_for(identity, number) if tokens is None else tokens(number)

            url = changed.pop("url", f"http://127.0.0.1:{upstream.port}")
            decider = make_decider(accepting(), obtain=obtain, monotonic=Clock())
            proxy = ReverseProxy(upstream_settings(url, **changed), TrustedProxies(trusted))
            config = uvicorn_config(make_gate(proxy, decider, trusted=trusted))
            config.lifespan = "off"
            server = uvicorn.Server(config)
            listener = socket.create_server(("127.0.0.1", 0))
            serving = asyncio.ensure_future(server.serve(sockets=[listener]))
            client = Client(*await asyncio.open_connection(*listener.getsockname()))

            async def stop() -> None:
                await client.close()
                server.should_exit = server.force_exit = True
                await asyncio.wait([serving])
                await proxy.close()
                decider.close()

            stack.push_async_callback(stop)
            return client

        yield start


async def test_a_request_and_its_answer_pass(connect: Connect, upstream: Upstream) -> None:
    client = await connect()

    answer = await client.get("/api/%61?q=1%2F2&x=%22")

    assert (answer.status, answer.body) == (200, b"ok")
    assert upstream.call.line == "GET /api/a?q=1%2F2&x=%22 HTTP/1.1"
    assert upstream.call.values("host") == ["gateway.example"]
    assert upstream.call.values("authorization") == ["Bearer token-of-alice-0"]


async def test_a_base_path_of_the_upstream_comes_first(connect: Connect, upstream: Upstream) -> None:
    client = await connect(url=f"http://127.0.0.1:{upstream.port}/airflow/")

    await client.get("/api/x")

    assert upstream.call.line == "GET /airflow/api/x HTTP/1.1"


async def test_nothing_is_added_that_a_client_would_have_sent_itself(connect: Connect, upstream: Upstream) -> None:
    await (await connect()).get()

    names = [name for name, _ in upstream.call.headers]
    forwarded = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]
    assert sorted(names) == ["authorization", "host", *forwarded, "x-request-id"]


async def test_header_values_pass_byte_for_byte(connect: Connect, upstream: Upstream) -> None:
    await (await connect()).get("/api/x", "X-Name: zoë", "Cookie: theme=ünï", "X-Name: two")

    assert upstream.call.values("x-name") == ["zoë", "two"]
    assert upstream.call.values("cookie") == ["theme=ünï"]


async def test_what_is_hop_by_hop_stays_on_its_hop(connect: Connect, upstream: Upstream) -> None:
    upstream.script = say(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Inner\r\nX-Inner: 1\r\nKeep-Alive: timeout=5\r\n"
        b"Proxy-Authenticate: Basic\r\nX-Kept: 1\r\n\r\nok"
    )

    answer = await (await connect()).get(
        "/api/x", "Connection: X-Outer, keep-alive", "X-Outer: 1", "TE: trailers", "Proxy-Authorization: x", "X-Kept: 1"
    )

    names = {name for name, _ in upstream.call.headers}
    assert not names & {"x-outer", "te", "proxy-authorization", "keep-alive"}
    assert "x-kept" in names
    assert not {name for name, _ in answer.headers} & {"x-inner", "keep-alive", "proxy-authenticate"}
    assert answer.values("x-kept") == ["1"]


@pytest.mark.parametrize("nominated", ["Authorization", "Cookie", "Host", "X-Forwarded-For", "Content-Length"])
async def test_what_carries_the_identity_cannot_be_nominated_away(
    connect: Connect, upstream: Upstream, nominated: str
) -> None:
    client = await connect()

    await client.begin("/api/x", f"Connection: {nominated}", "Cookie: a=1", "Content-Length: 2", method="POST")
    await client.send(b"hi")
    await client.answer()

    assert len(upstream.call.values(nominated.lower())) == 1


async def test_our_request_id_cannot_be_nominated_away(connect: Connect, upstream: Upstream) -> None:
    answer = await (await connect()).get("/api/x", "Connection: X-Request-Id")

    assert upstream.call.values("x-request-id") == answer.values("x-request-id")
    assert len(answer.values("x-request-id")) == 1


async def test_forward_headers_tell_the_truth_whatever_a_stranger_says(connect: Connect, upstream: Upstream) -> None:
    await (await connect()).get(
        "/api/x", "X-Forwarded-For: 10.9.9.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil"
    )

    assert upstream.call.values("x-forwarded-for") == ["127.0.0.1"]
    assert upstream.call.values("x-forwarded-proto") == ["http"]
    assert upstream.call.values("x-forwarded-host") == ["gateway.example"]


async def test_a_trusted_proxys_forward_headers_are_passed_on(connect: Connect, upstream: Upstream) -> None:
    client = await connect(trusted=("127.0.0.0/8",))

    await client.get("/api/x", "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: front")

    assert upstream.call.values("x-forwarded-for") == ["192.0.2.7, 127.0.0.1"]
    assert upstream.call.values("x-forwarded-proto") == ["https"]
    assert upstream.call.values("x-forwarded-host") == ["front"]


async def test_an_answer_streams_before_it_is_whole(connect: Connect, upstream: Upstream) -> None:
    seen = asyncio.Event()

    async def script(call: Call) -> None:
        await call.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await asyncio.wait_for(seen.wait(), WAIT_S)
        await call.write(b"4\r\nlast\r\n0\r\n\r\n")

    upstream.script = script
    client = await connect()
    await client.begin()
    answer = await client.head()
    first = await client.reader.readuntil(b"first\r\n")
    seen.set()

    rest = await client.reader.readuntil(b"0\r\n\r\n")

    assert answer.values("transfer-encoding") == ["chunked"]
    assert first == b"5\r\nfirst\r\n"
    assert b"last" in rest


async def test_an_upload_streams_before_it_is_whole(connect: Connect, upstream: Upstream) -> None:
    seen = asyncio.Event()

    async def script(call: Call) -> None:
        assert (await call.reader.readuntil(b"first")).endswith(b"first")
        seen.set()
        await call.reader.readuntil(b"0\r\n\r\n")
        await call.write(OK)

    upstream.script = script
    client = await connect()
    await client.begin("/api/x", "Transfer-Encoding: chunked", method="POST")
    await client.send(b"5\r\nfirst\r\n")
    await asyncio.wait_for(seen.wait(), WAIT_S)
    await client.send(b"4\r\nlast\r\n0\r\n\r\n")

    assert (await client.answer()).status == 200


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, BIG])
async def test_an_upload_of_known_length_arrives_whole(connect: Connect, upstream: Upstream, size: int) -> None:
    bodies: list[bytes] = []

    async def script(call: Call) -> None:
        bodies.append(await call.body())
        await call.write(OK)

    upstream.script = script
    client = await connect()

    await client.begin("/api/x", f"Content-Length: {size}", "Content-Type: text/plain", method="POST")
    await client.send(b"x" * size)
    answer = await client.answer()

    assert answer.status == 200
    assert bodies == [b"x" * size]
    assert upstream.call.values("content-length") == [str(size)]
    assert upstream.call.values("transfer-encoding") == []
    assert upstream.call.values("content-type") == ["text/plain"]


async def test_a_chunked_upload_stays_chunked(connect: Connect, upstream: Upstream) -> None:
    bodies: list[bytes] = []

    async def script(call: Call) -> None:
        bodies.append(await call.body())
        await call.write(OK)

    upstream.script = script
    client = await connect()

    await client.begin("/api/x", "Transfer-Encoding: chunked", method="PUT")
    await client.send(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    await client.answer()

    assert bodies == [b"abcde"]
    assert upstream.call.values("transfer-encoding") == ["chunked"]


async def test_a_client_that_expects_100_gets_it_from_us(connect: Connect, upstream: Upstream) -> None:
    client = await connect()
    await client.begin("/api/x", "Content-Length: 2", "Expect: 100-continue", method="POST")

    interim = await client.head()
    await client.send(b"hi")
    answer = await client.answer()

    assert (interim.status, answer.status) == (100, 200)
    assert upstream.call.values("expect") == []


async def test_head_has_the_length_and_no_body(connect: Connect, upstream: Upstream) -> None:
    upstream.script = say(b"HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n")
    client = await connect()

    await client.begin(method="HEAD")
    first = await client.answer(bodiless=True)
    await client.begin(method="HEAD")
    second = await client.answer(bodiless=True)

    assert first.values("content-length") == ["42"]
    assert (first.status, second.status) == (200, 200)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n',
        b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nContent-Length: 42\r\n\r\n',
    ],
)
async def test_an_answer_without_a_body_leaves_the_connection_usable(
    connect: Connect, upstream: Upstream, head: bytes
) -> None:
    upstream.script = say(head)
    client = await connect()

    first = await client.get()
    second = await client.get()

    assert first.status == second.status == int(head.split()[1])


async def test_redirects_and_cookies_pass_untouched(connect: Connect, upstream: Upstream) -> None:
    upstream.script = say(
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /api/y?z=%2F\r\nSet-Cookie: a=1; Path=/; HttpOnly\r\n"
        b"Set-Cookie: b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT\r\nContent-Length: 0\r\n\r\n"
    )
    client = await connect()

    answer = await client.get()
    await client.get()

    assert answer.status == 307
    assert answer.values("location") == ["/api/y?z=%2F"]
    assert answer.values("set-cookie") == ["a=1; Path=/; HttpOnly", "b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT"]
    assert [call.values("cookie") for call in upstream.calls] == [[], []]


async def test_a_compressed_body_stays_compressed(connect: Connect, upstream: Upstream) -> None:
    packed = gzip.compress(b"x" * 1000, mtime=0)
    upstream.script = say(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(packed), packed)
    )

    answer = await (await connect()).get("/api/x", "Accept-Encoding: gzip")

    assert answer.body == packed
    assert answer.values("content-encoding") == ["gzip"]
    assert upstream.call.values("accept-encoding") == ["gzip"]


async def test_an_upstream_that_is_down_is_502(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    answer = await (await connect(url=f"http://127.0.0.1:{port}")).get()

    assert answer.status == 502
    assert answer.values("content-type") == ["application/problem+json"]
    assert str(port).encode() not in answer.body


async def test_an_upstream_that_hangs_up_without_an_answer_is_502(connect: Connect, upstream: Upstream) -> None:
    async def script(call: Call) -> None:
        call.writer.close()

    upstream.script = script
    client = await connect()
    await client.begin("/api/x", "Content-Length: 0", method="POST")

    assert (await client.answer()).status == 502


async def test_an_upstream_that_speaks_no_http_is_502(connect: Connect, upstream: Upstream) -> None:
    upstream.script = say(b"SSH-2.0-x\r\n\r\n")

    assert (await (await connect()).get()).status == 502


async def test_an_upstream_that_is_slow_to_begin_is_504(connect: Connect, upstream: Upstream) -> None:
    async def script(call: Call) -> None:
        await call.reader.read()

    upstream.script = script

    answer = await (await connect(timeout_s=0.1)).get()

    assert answer.status == 504


async def test_a_body_that_pauses_too_long_ends_the_connection_without_a_clean_end(
    connect: Connect, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(call: Call) -> None:
        await call.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await call.reader.read()

    upstream.script = script

    answer = await (await connect(idle_timeout_s=0.1, timeout_s=2)).get()

    assert answer.status == 200
    assert not answer.whole


async def test_a_body_may_pause_longer_than_the_first_byte_may_take(connect: Connect, upstream: Upstream) -> None:
    async def script(call: Call) -> None:
        await call.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        await asyncio.sleep(0.25)
        await call.write(b"late")

    upstream.script = script

    answer = await (await connect(timeout_s=0.1, idle_timeout_s=2)).get()

    assert (answer.body, answer.whole) == (b"late", True)


@pytest.mark.parametrize(
    "begun", [b"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n", b"Content-Length: 100\r\n\r\nfirst"]
)
async def test_an_upstream_that_dies_in_the_middle_leaves_no_clean_end(
    connect: Connect, upstream: Upstream, begun: bytes
) -> None:
    async def script(call: Call) -> None:
        await call.write(b"HTTP/1.1 200 OK\r\n" + begun)
        call.writer.close()

    upstream.script = script

    answer = await (await connect()).get()

    assert answer.status == 200
    assert not answer.whole


async def test_a_client_that_goes_while_the_upstream_thinks_ends_the_call(connect: Connect, upstream: Upstream) -> None:
    async def script(call: Call) -> None:
        if not await call.reader.read():
            upstream.gone.set()

    upstream.script = script
    client = await connect()
    await client.begin()
    await asyncio.wait_for(upstream.called.wait(), WAIT_S)

    await client.close()

    await asyncio.wait_for(upstream.gone.wait(), WAIT_S)
    assert upstream.gone.is_set()


async def test_a_client_that_goes_in_the_middle_of_an_answer_ends_the_call(
    connect: Connect, upstream: Upstream
) -> None:
    async def script(call: Call) -> None:
        await call.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        if not await call.reader.read():
            upstream.gone.set()

    upstream.script = script
    client = await connect()
    await client.begin()
    await client.reader.readuntil(b"first")

    await client.close()

    await asyncio.wait_for(upstream.gone.wait(), WAIT_S)
    assert upstream.gone.is_set()


@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", f"Content-Length: {BIG}"])
async def test_a_client_that_goes_in_the_middle_of_an_upload_ends_the_call(
    connect: Connect, upstream: Upstream, framing: str
) -> None:
    async def script(call: Call) -> None:
        while await call.reader.read(65536):
            pass
        upstream.gone.set()

    upstream.script = script
    client = await connect()
    await client.begin("/api/x", framing, method="POST")
    await client.send(b"5\r\nfirst\r\n")
    await asyncio.wait_for(upstream.called.wait(), WAIT_S)

    await client.close()

    await asyncio.wait_for(upstream.gone.wait(), WAIT_S)
    assert upstream.gone.is_set()


async def test_a_client_that_goes_in_the_middle_of_a_small_upload_reaches_no_upstream(
    connect: Connect, upstream: Upstream
) -> None:
    client = await connect()
    await client.begin("/api/x", "Content-Length: 10", method="POST")
    await client.send(b"first")

    await client.close()
    await asyncio.sleep(0.05)

    assert upstream.calls == []


async def test_a_client_that_goes_after_its_upload_ends_the_call(connect: Connect, upstream: Upstream) -> None:
    async def script(call: Call) -> None:
        await call.body()
        if not await call.reader.read():
            upstream.gone.set()

    upstream.script = script
    client = await connect()
    await client.begin("/api/x", "Transfer-Encoding: chunked", method="POST")
    await client.send(b"5\r\nfirst\r\n0\r\n\r\n")
    await asyncio.wait_for(upstream.called.wait(), WAIT_S)

    await client.close()

    await asyncio.wait_for(upstream.gone.wait(), WAIT_S)
    assert upstream.gone.is_set()


REFUSED_401 = b'HTTP/1.1 401 Unauthorized\r\nContent-Length: 12\r\n\r\n{"detail":1}'
REFUSED_403 = b'HTTP/1.1 403 Forbidden\r\nContent-Length: 30\r\n\r\n{"detail":"Invalid JWT token"}'


def refuse_first(refusal: bytes, upstream: Upstream, bodies: list[bytes]) -> Script:
    async def script(call: Call) -> None:
        bodies.append(await call.body())
        await call.write(refusal if len(upstream.calls) == 1 else OK)

    return script


def compressed(framing: str) -> bytes:
    """Return a refusal as Airflow sends it to a client that takes gzip."""
    body = gzip.compress(REFUSED_403.partition(b"\r\n\r\n")[2], mtime=0)
    head = b"HTTP/1.1 403 Forbidden\r\nContent-Encoding: gzip\r\n"
    if framing == "length":
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    parts = (body[:7], body[7:])
    return (
        head
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"%x\r\n%b\r\n" % (len(x), x) for x in parts)
        + b"0\r\n\r\n"
    )


@pytest.mark.parametrize("refusal", [REFUSED_401, REFUSED_403, compressed("length"), compressed("chunked")])
@pytest.mark.parametrize("body", [b"", b"x" * 1000])
async def test_a_refused_token_is_replaced_once_where_the_body_can_be_sent_again(
    connect: Connect, upstream: Upstream, refusal: bytes, body: bytes
) -> None:
    bodies: list[bytes] = []
    upstream.script = refuse_first(refusal, upstream, bodies)
    client = await connect()

    await client.begin("/api/x", f"Content-Length: {len(body)}", method="POST")
    await client.send(body)
    answer = await client.answer()

    assert (answer.status, answer.body) == (200, b"ok")
    assert bodies == [body, body]
    tokens = [call.values("authorization") for call in upstream.calls]
    assert tokens == [["Bearer token-of-alice-0"], ["Bearer token-of-alice-1"]]


@pytest.mark.parametrize("refusal", [REFUSED_401, REFUSED_403])
async def test_a_second_refusal_is_the_answer(connect: Connect, upstream: Upstream, refusal: bytes) -> None:
    upstream.script = say(refusal)

    answer = await (await connect()).get()

    assert len(upstream.calls) == 2
    assert answer.status == int(refusal.split()[1])
    assert answer.body == refusal.partition(b"\r\n\r\n")[2]


async def test_without_another_token_the_refusal_is_the_answer(connect: Connect, upstream: Upstream) -> None:
    upstream.script = say(REFUSED_403)
    client = await connect()
    await client.get()

    answer = await client.get()

    assert len(upstream.calls) == 3
    assert answer.status == 403
    assert answer.body == REFUSED_403.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", "Content-Length: 70000"])
async def test_a_big_or_streamed_body_is_not_sent_again(connect: Connect, upstream: Upstream, framing: str) -> None:
    upstream.script = say(REFUSED_401)
    client = await connect()

    await client.begin("/api/x", framing, method="POST")
    await client.send(b"3\r\nabc\r\n0\r\n\r\n" if "chunked" in framing else b"x" * 70000)
    answer = await client.answer()

    assert len(upstream.calls) == 1
    assert answer.status == 401


@pytest.mark.parametrize("refusal", [REFUSED_401, REFUSED_403, compressed("length"), compressed("chunked")])
@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", "Content-Length: 70000"])
async def test_after_a_body_that_cannot_be_sent_again_the_next_request_gets_another_token(
    connect: Connect, upstream: Upstream, framing: str, refusal: bytes
) -> None:
    upstream.script = refuse_first(refusal, upstream, [])
    client = await connect()
    statuses: list[int] = []

    for _ in range(2):
        await client.begin("/api/x", framing, method="POST")
        await client.send(b"3\r\nabc\r\n0\r\n\r\n" if "chunked" in framing else b"x" * 70000)
        statuses.append((await client.answer()).status)

    assert statuses == [int(refusal.split()[1]), 200]
    tokens = [call.values("authorization") for call in upstream.calls]
    assert tokens == [["Bearer token-of-alice-0"], ["Bearer token-of-alice-1"]]


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(b'Content-Length: 22\r\n\r\n{"detail":"Forbidden"}', id="permission"),
        pytest.param(b"Content-Length: 0\r\n\r\n", id="empty"),
        pytest.param(b"Content-Length: 5000\r\n\r\n" + b"Invalid JWT token" + b"x" * 4983, id="long"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n4\r\nnope\r\n0\r\n\r\n", id="streamed"),
        pytest.param(
            b"Transfer-Encoding: chunked\r\n\r\n2000\r\n" + b"x" * 8192 + b"\r\n0\r\n\r\n", id="streamed-and-long"
        ),
        pytest.param(b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope", id="not-what-it-says"),
        pytest.param(
            b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB, id="unpacks-to-a-million-bytes"
        ),
    ],
)
async def test_a_403_about_permission_passes_whole_and_is_not_repeated(
    connect: Connect, upstream: Upstream, refusal: bytes
) -> None:
    upstream.script = say(b"HTTP/1.1 403 Forbidden\r\n" + refusal)

    answer = await (await connect()).get()

    assert len(upstream.calls) == 1
    assert (answer.status, answer.whole) == (403, True)
    if b"chunked" not in refusal:
        assert answer.body == refusal.partition(b"\r\n\r\n")[2]


FORBIDDEN = b'HTTP/1.1 403 Forbidden\r\nContent-Length: 22\r\n\r\n{"detail":"Forbidden"}'


def carrying(age_s: int, **claims: object) -> Callable[[int], Token]:
    """Return what makes tokens as KeycloakAuthManager does, which were made so many seconds ago."""

    def make(number: int) -> Token:
        now = int(time.time())
        said = {"sub": "alice", "jti": str(number), "iat": now - age_s, "exp": now + 600, "access_token": "x.y.z"}
        return Token(jwt.encode({**said, **claims}, "s" * 64, algorithm="HS512"), now + 600)

    return make


@pytest.mark.parametrize("framing", ["Content-Length: 3", "Content-Length: 70000"])
async def test_a_plain_403_to_a_token_that_carries_others_means_that_those_may_have_ended(
    connect: Connect, upstream: Upstream, framing: str
) -> None:
    upstream.script = refuse_first(FORBIDDEN, upstream, [])
    client = await connect(tokens=carrying(11))
    body = b"x" * int(framing.rpartition(" ")[2])
    statuses: list[int] = []

    for _ in range(2):
        await client.begin("/api/x", framing, method="POST")
        await client.send(body)
        statuses.append((await client.answer()).status)

    assert statuses[-1] == 200
    assert statuses[0] == (200 if len(body) == 3 else 403)
    assert len({call.values("authorization")[0] for call in upstream.calls[:2]}) == 2


@pytest.mark.parametrize(
    "tokens",
    [
        pytest.param(carrying(0), id="made-a-moment-ago"),
        pytest.param(carrying(11, access_token=None), id="carries-none"),
        pytest.param(carrying(11, access_token=["x.y.z"]), id="carries-no-text"),
    ],
)
async def test_a_403_that_only_says_forbidden_is_about_permission_for_every_other_token(
    connect: Connect, upstream: Upstream, tokens: Callable[[int], Token]
) -> None:
    upstream.script = say(FORBIDDEN)

    answer = await (await connect(tokens=tokens)).get()

    assert len(upstream.calls) == 1
    assert (answer.status, answer.body) == (403, b'{"detail":"Forbidden"}')


async def test_who_lacks_a_permission_costs_one_login_and_not_one_for_each_request(
    connect: Connect, upstream: Upstream
) -> None:
    upstream.script = say(FORBIDDEN)
    client = await connect(tokens=carrying(11))

    statuses = [(await client.get()).status for _ in range(4)]

    assert statuses == [403] * 4
    assert len({call.values("authorization")[0] for call in upstream.calls}) == 2


async def test_a_token_that_is_not_ours_is_not_replaced(connect: Connect, upstream: Upstream) -> None:
    upstream.script = say(REFUSED_401)

    answer = await (await connect()).get("/api/x", "Authorization: Bearer theirs", sign=False)

    assert len(upstream.calls) == 1
    assert answer.status == 401


async def test_an_upstream_that_dies_in_the_middle_of_a_refusal_is_502(connect: Connect, upstream: Upstream) -> None:
    async def script(call: Call) -> None:
        await call.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nInv")
        call.writer.close()

    upstream.script = script

    assert (await (await connect()).get()).status == 502


async def test_an_upstream_that_stops_in_the_middle_of_a_refusal_is_504(connect: Connect, upstream: Upstream) -> None:
    async def script(call: Call) -> None:
        await call.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nInv")
        await call.reader.read()

    upstream.script = script

    assert (await (await connect(timeout_s=0.1)).get()).status == 504


@pytest.mark.parametrize(
    "url",
    ["", "airflow:8080", "ftp://a", "http://", "http://u:hunter2@a", "http://a?x=1", "http://[x", "http://a:99999"],
)
def test_an_address_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ReverseProxy(upstream_settings(url), TrustedProxies([]))

    assert "hunter2" not in str(caught.value)


async def test_a_ca_file_that_cannot_be_read_is_a_matter_of_configuration() -> None:
    proxy = ReverseProxy(upstream_settings("https://127.0.0.1:1", verify="/nowhere/ca.pem"), TrustedProxies([]))

    with pytest.raises(ConfigError, match=r"upstream\.verify: /nowhere/ca\.pem"):
        await proxy.open()


async def test_a_reachable_upstream_is_told_from_one_that_is_not(upstream: Upstream) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    up = ReverseProxy(upstream_settings(f"http://127.0.0.1:{upstream.port}"), TrustedProxies([]))
    down = ReverseProxy(upstream_settings(f"http://127.0.0.1:{port}"), TrustedProxies([]))

    await up.require_reachable()
    with pytest.raises(UpstreamUnreachable, match="does not accept connections"):
        await down.require_reachable()
    await up.close()


def test_no_connection_is_opened_before_the_first_request() -> None:
    proxy = ReverseProxy(upstream_settings("http://127.0.0.1:1"), TrustedProxies([]))

    assert proxy._session is None


@pytest.mark.parametrize("value", ["José".encode("latin-1"), "José".encode(), b"\xff\x80 a"])
async def test_header_values_of_an_answer_pass_byte_for_byte(
    connect: Connect, upstream: Upstream, value: bytes
) -> None:
    upstream.script = say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Name: %s\r\n\r\nok" % value)

    answer = await (await connect()).get()

    assert [found.encode("utf-8", "surrogateescape") for found in answer.values("x-name")] == [value]


@pytest.mark.parametrize(
    ("said", "pause_s", "connections"),
    [
        pytest.param(b"", 0, 1, id="at-once"),
        pytest.param(b"", 0.3, 2, id="longer-than-we-keep"),
        pytest.param(b"Keep-Alive: timeout=100\r\n", 0, 1, id="kept-for-long"),
        pytest.param(b"Keep-Alive: timeout=100\r\n", 0.3, 2, id="kept-for-longer-than-by-us"),
        pytest.param(b"Keep-Alive: max=7, Timeout=1\r\n", 0.01, 2, id="closed-in-a-moment"),
        pytest.param(b"Keep-Alive: xtimeout=1\r\n", 0.01, 1, id="another-parameter"),
    ],
)
async def test_a_connection_is_given_up_before_the_upstream_closes_it(
    connect: Connect, upstream: Upstream, said: bytes, pause_s: float, connections: int
) -> None:
    upstream.script = say(OK.replace(b"\r\n\r\n", b"\r\n" + said + b"\r\n"))
    client = await connect(keepalive_s=0.2)

    first = await client.get(method="POST")
    await asyncio.sleep(pause_s)
    second = await client.get(method="POST")

    assert (first.status, second.status) == (200, 200)
    assert len(upstream.open) == connections


async def test_every_request_may_have_a_connection_of_its_own(connect: Connect, upstream: Upstream) -> None:
    client = await connect(keepalive_s=0)

    for _ in range(3):
        await client.get(method="POST")

    assert len(upstream.open) == 3


async def test_a_post_takes_another_connection_where_the_upstream_has_closed_one(
    connect: Connect, upstream: Upstream
) -> None:
    async def answer_and_close(call: Call) -> None:
        await say_ok(call)
        call.writer.close()

    upstream.script = answer_and_close
    client = await connect()

    statuses = [(await client.get(method="POST")).status for _ in range(50)]

    assert set(statuses) == {200}


async def test_an_upstream_that_closes_every_connection_at_once_is_502(connect: Connect) -> None:
    async def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        answer = await (await connect(url=url)).get(method="POST")

    assert answer.status == 502
