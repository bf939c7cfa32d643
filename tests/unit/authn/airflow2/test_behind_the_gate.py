"""An unmodified Airflow 2 module behind the gate: whose request it sees, which body, and which headers."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable
from typing import Any

import flask
import pytest

from compat_auth.authn.airflow2.backend import LegacyBackend
from compat_auth.gateway.middleware import Gate
from compat_auth.http.asgi import Message, RawHeaders
from compat_auth.http.request import Shown
from compat_auth.outcome import Reject
from support.stand_ins import GOOD, Sent, accepting, call, http_scope, make_decider, make_gate, scripted

KEY = b"key-of-alice"
AUTHORIZATION = (b"authorization", GOOD.encode())


class Module:
    def __init__(self, behave: Callable[[Any], Any]) -> None:
        self.behave = behave

    def init_app(self, app: flask.Flask) -> None:
        pass

    def requires_authentication(self, function: Any) -> Any:
        return lambda: self.behave(function)


def get_data() -> bytes:
    return flask.request.get_data()


def read_stream() -> bytes:
    return flask.request.stream.read()


def read_input() -> bytes:
    return bytes(flask.request.environ["wsgi.input"].read())


def signed(read: Callable[[], bytes]) -> Module:
    """Return a module that checks a signature over the body."""

    def behave(function: Any) -> Any:
        if flask.request.headers.get("X-Digest") != hashlib.sha256(KEY + read()).hexdigest():
            return "no", 401
        flask.g.user = "alice"
        return function()

    return Module(behave)


def digest(body: bytes) -> tuple[bytes, bytes]:
    return (b"x-digest", hashlib.sha256(KEY + body).hexdigest().encode())


class Upstream:
    """Answers, and remembers the bodies that reach it, part by part."""

    def __init__(self) -> None:
        self.bodies: list[list[bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        parts: list[bytes] = []
        more = True
        while more:
            message = await receive()
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        self.bodies.append(parts)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


def gate_of(upstream: Upstream, *backends: Any, trusted: tuple[str, ...] = ()) -> Gate:
    return make_gate(upstream, make_decider(*backends), trusted=trusted)


async def post(gate: Gate, parts: list[bytes], *headers: tuple[bytes, bytes], path: bytes = b"/api/x") -> Sent:
    sent, incoming = Sent(), [*parts]
    framing = (
        [(b"content-length", b"%d" % sum(map(len, parts)))] if len(parts) == 1 else [(b"transfer-encoding", b"chunked")]
    )

    async def receive() -> Message:
        if incoming:
            return {"type": "http.request", "body": incoming.pop(0), "more_body": bool(incoming)}
        stays: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        return await stays

    async def send(message: Message) -> None:
        sent.messages.append(message)

    await gate(http_scope(path, [*framing, *headers], method="POST"), receive, send)
    return sent


READERS = pytest.mark.parametrize(
    "read",
    [
        get_data,
        lambda: flask.request.data,
        read_stream,
        read_input,
        lambda: flask.request.environ["wsgi.input"].read(int(flask.request.environ["CONTENT_LENGTH"])),
    ],
    ids=["get-data", "data", "stream", "wsgi-input", "wsgi-input-by-length"],
)
PARTS = pytest.mark.parametrize("parts", [[b'{"a": 1}'], [b'{"a"', b"", b": 1}"]], ids=["whole", "chunked"])


@READERS
@PARTS
async def test_the_body_that_is_judged_is_the_body_that_goes_on(
    upstream: Upstream, read: Callable[[], bytes], parts: list[bytes]
) -> None:
    gate = gate_of(upstream, LegacyBackend(signed(read), "signed"))
    body = b"".join(parts)

    right = await post(gate, parts, digest(body))
    wrong = await post(gate, parts, digest(b""))

    assert (right.status, wrong.status) == (200, 401)
    assert [b"".join(seen) for seen in upstream.bodies] == [body]


async def test_what_one_module_has_read_the_next_one_still_sees(upstream: Upstream) -> None:
    first = Module(lambda _function: (flask.request.stream.read(), 401))
    gate = gate_of(upstream, LegacyBackend(first, "first"), LegacyBackend(signed(read_stream), "second"))

    right = await post(gate, [b"order"], digest(b"order"))
    wrong = await post(gate, [b"order"], digest(b""))

    assert (right.status, wrong.status) == (200, 401)


async def test_json_forms_and_files_are_read_as_flask_reads_them(upstream: Upstream) -> None:
    seen: list[object] = []

    def behave(_function: Any) -> Any:
        request = flask.request
        seen.append((request.content_length, request.mimetype, request.get_json(silent=True), dict(request.form)))
        seen.append({name: file.read() for name, file in request.files.items()})
        return "no", 401

    gate = gate_of(upstream, LegacyBackend(Module(behave), "looks"))
    file = b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\nzo\xc3\xab\r\n--x--\r\n'

    await post(gate, [b'{"a": 1}'], (b"content-type", b"application/json"))
    await post(gate, [b"a=1"], (b"content-type", b"application/x-www-form-urlencoded"))
    await post(gate, [file], (b"content-type", b"multipart/form-data; boundary=x"))

    assert seen == [
        (8, "application/json", {"a": 1}, {}),
        {},
        (3, "application/x-www-form-urlencoded", None, {"a": "1"}),
        {},
        (len(file), "multipart/form-data", None, {}),
        {"f": "zoë".encode()},
    ]


async def test_a_body_is_not_held_where_an_earlier_backend_decides(upstream: Upstream) -> None:
    gate = gate_of(upstream, accepting(), LegacyBackend(signed(lambda: b""), "signed"))
    parts = [b"x" * 1_000_000] * 3

    sent = await post(gate, parts, AUTHORIZATION)

    assert sent.status == 200
    assert upstream.bodies == [parts]


async def test_a_module_that_ignores_bodies_waits_for_none(upstream: Upstream) -> None:
    seen: list[bytes] = []

    def behave(function: Any) -> Any:
        seen.append(flask.request.get_data())
        flask.g.user = "alice"
        return function()

    gate = gate_of(upstream, LegacyBackend(Module(behave), "ignores", reads_body=False))

    sent = await post(gate, [b"x" * 1_000_000] * 3)

    assert (sent.status, seen) == (200, [b""])
    assert [len(parts) for parts in upstream.bodies] == [3]


async def test_a_body_that_is_too_large_to_be_judged_is_413(upstream: Upstream) -> None:
    gate = gate_of(upstream, LegacyBackend(signed(lambda: b""), "signed"))

    sent = await post(gate, [b"x" * 1_000_000, b"x" * 100_000], digest(b""))

    assert sent.status == 413
    assert b"larger than 1048576 bytes" in sent.body
    assert upstream.bodies == []


async def test_an_earlier_backend_is_not_asked_again_once_the_body_is_there(upstream: Upstream) -> None:
    earlier = scripted("earlier", Reject("wrong"))
    decider = make_decider(earlier, LegacyBackend(signed(get_data), "signed"), mode="airflow2")
    gate = make_gate(upstream, decider)

    sent = await post(gate, [b"order"], AUTHORIZATION, digest(b"order"))

    assert sent.status == 200
    assert len(earlier.asked) == 1


@PARTS
async def test_what_a_module_leaves_to_the_upstream_goes_on_with_its_body(
    upstream: Upstream, parts: list[bytes]
) -> None:
    gate = gate_of(upstream, LegacyBackend(signed(read_stream), "signed"))

    sent = await post(gate, parts, (b"authorization", b"Bearer a.b.c"), digest(b"another"))

    assert sent.status == 200
    assert upstream.bodies == [[b"".join(parts)]]


async def test_what_a_module_has_granted_is_not_remembered(upstream: Upstream) -> None:
    decider = make_decider(LegacyBackend(signed(get_data), "signed"), accepting())
    gate = make_gate(upstream, decider)

    right = await post(gate, [b"order"], AUTHORIZATION, digest(b"order"))

    assert right.status == 200
    assert decider.recall(Shown(GOOD), lambda: pytest.fail("asked again")) is None


@pytest.mark.parametrize("path", ["whoami", "introspect"])
async def test_a_page_of_ours_that_is_no_page_is_still_none(upstream: Upstream, path: str) -> None:
    gate = gate_of(upstream, LegacyBackend(signed(lambda: b""), "signed"))

    sent = await post(gate, [b"x"], path=f"/compat-auth/{path}".encode())

    assert sent.status == 404


IDENTITY = ["x-forwarded-user", "remote-user", "x-goog-iap-jwt-assertion", "x-amzn-oidc-data", "x-auth-request-email"]


def believing(name: str) -> Module:
    def behave(function: Any) -> Any:
        user = flask.request.headers.get(name)
        if user is None or "REMOTE_USER" in flask.request.environ:
            return "no", 401
        flask.g.user = user
        return function()

    return Module(behave)


@pytest.mark.parametrize("name", IDENTITY)
@pytest.mark.parametrize(
    ("trusted", "values", "status"),
    [
        (("192.0.2.0/24",), [b"alice"], 200),
        (("192.0.2.0/24",), [b"admin", b"alice"], 401),
        (("198.51.100.0/24",), [b"alice"], 401),
        ((), [b"alice"], 401),
    ],
    ids=["trusted", "twice", "another", "nobody"],
)
async def test_a_module_sees_what_a_trusted_proxy_says_about_the_caller(
    name: str, trusted: tuple[str, ...], values: list[bytes], status: int
) -> None:
    passed: list[RawHeaders] = []

    async def behind(scope: Any, _receive: Any, send: Any) -> None:
        passed.append(scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    gate = make_gate(behind, make_decider(LegacyBackend(believing(name), "proxy")), trusted=trusted)

    sent = await call(gate, http_scope(headers=[(name.encode(), value) for value in values]))

    assert sent.status == status
    assert all(header[0] != name.encode() for headers in passed for header in headers)


@pytest.mark.parametrize("alias", [b"x_auth_mail", b"x-auth_mail", b"x_acme_login"])
async def test_an_alias_that_a_trusted_proxy_passes_on_names_nobody(upstream: Upstream, alias: bytes) -> None:
    name = alias.decode().replace("_", "-")
    gate = gate_of(upstream, LegacyBackend(believing(name), "proxy"), trusted=("192.0.2.0/24",))

    sent = await call(gate, http_scope(headers=[(alias, b"admin")]))

    assert sent.status == 401


async def test_only_modules_of_airflow_2_see_identity_headers(upstream: Upstream) -> None:
    seen: list[str | None] = []

    def says(_credential: Any) -> Any:
        seen.append(flask.request.headers.get("X-Forwarded-User"))
        return Reject("no")

    gate = gate_of(upstream, scripted("native", says), trusted=("192.0.2.0/24",))

    await call(gate, http_scope(headers=[AUTHORIZATION, (b"x-forwarded-user", b"alice")]))

    assert seen == [None]


async def ask_forward_auth(gate: Gate, method: bytes, *headers: tuple[bytes, bytes]) -> Sent:
    told: RawHeaders = [(b"x-original-uri", b"/api/x"), (b"x-original-method", method), *headers]
    return await call(gate, http_scope(b"/compat-auth/forward-auth/nginx", told))


FORWARD_AUTH = {"trusted": ("192.0.2.0/24",)}


@pytest.mark.parametrize(
    ("method", "extra", "status"),
    [
        (b"GET", (), 200),
        (b"HEAD", (), 200),
        (b"GET", ((b"content-length", b"3"),), 403),
        (b"GET", ((b"x-http-method-override", b"POST"),), 403),
        (b"POST", (), 403),
        (b"PATCH", (), 403),
        (b"DELETE", (), 403),
    ],
)
@pytest.mark.parametrize("reads_body", [True, False])
async def test_forward_auth_has_no_body_to_show_to_a_module(
    upstream: Upstream, method: bytes, extra: tuple[tuple[bytes, bytes], ...], status: int, reads_body: bool
) -> None:
    backend = LegacyBackend(signed(lambda: b""), "signed", reads_body=reads_body)
    gate = gate_of(upstream, backend, **FORWARD_AUTH)

    sent = await ask_forward_auth(gate, method, digest(b""), *extra)

    assert sent.status == (status if reads_body else 200)


async def test_forward_auth_shows_no_identity_headers(upstream: Upstream) -> None:
    gate = gate_of(upstream, LegacyBackend(believing("x-forwarded-user"), "proxy"), **FORWARD_AUTH)

    sent = await ask_forward_auth(gate, b"GET", (b"x-forwarded-user", b"admin"))

    assert sent.status == 401


async def test_a_module_that_is_safe_for_threads_has_many_requests_at_once(upstream: Upstream) -> None:
    barrier = threading.Barrier(3, timeout=5)

    def behave(function: Any) -> Any:
        barrier.wait()
        flask.g.user = "alice"
        return function()

    gate = gate_of(upstream, LegacyBackend(Module(behave), "safe", thread_safe=True))

    answers = await asyncio.gather(*(call(gate, http_scope(client=f"192.0.2.{n}")) for n in range(3)))

    assert [answer.status for answer in answers] == [200, 200, 200]


async def test_a_module_that_hangs_is_503_for_those_who_wait_and_holds_up_nobody_else(upstream: Upstream) -> None:
    release = threading.Event()

    def behave(_function: Any) -> Any:
        release.wait(10)
        return "no", 401

    hanging = LegacyBackend(Module(behave), "hangs", timeout_s=0.2)
    gate = make_gate(upstream, make_decider(accepting(reusable_s=0), hanging, threads=4, timeout_s=5))

    waiting = [asyncio.ensure_future(call(gate, http_scope(client=f"192.0.2.{n}"))) for n in range(12)]
    await asyncio.sleep(0.05)
    password = await asyncio.wait_for(call(gate, http_scope(headers=[AUTHORIZATION], client="192.0.2.99")), 3)
    second = (await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED))[0].pop().result()
    release.set()
    await asyncio.gather(*waiting)

    assert (password.status, second.status) == (200, 503)
