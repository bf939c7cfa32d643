"""How the gate takes a request in, and where it sends it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from compat_auth.errors import BadRequest, NoSuchPage, NotImplementedHere, NotPermitted
from compat_auth.gateway import middleware
from compat_auth.gateway.admission import Admission, Browsers
from compat_auth.gateway.middleware import Gate, Page, whole_paths
from compat_auth.gateway.origins import UpstreamOrigins
from compat_auth.gateway.refusals import Refusals
from compat_auth.http.asgi import Message, RawHeaders, Receive, Send, respond
from compat_auth.http.body import BodyBudget
from compat_auth.http.error_responses import ErrorStyle
from compat_auth.http.forwarded import Peers, TrustedProxies
from compat_auth.http.request import GateRequest
from compat_auth.http.root_path import RootPath
from compat_auth.peer import FROM_SOCKET, Peer
from support.stand_ins import Behind, basic, call, http_scope, rules

HOST = (b"host", b"gateway.example")
PREFLIGHT: RawHeaders = [(b"origin", b"https://page.example"), (b"access-control-request-method", b"PUT")]


class Admitting:
    """Admits every request, holds its body if it may have one, and remembers it."""

    def __init__(self) -> None:
        self.seen: list[GateRequest] = []
        self.bodies: list[bytes] = []

    async def admit(self, request: GateRequest, receive: Receive, send: Send) -> None:
        self.seen.append(request)
        if request.held is not None:
            self.bodies.append(await request.held.hold())
            assert await receive() == {"type": "http.request", "body": self.bodies[-1], "more_body": False}
        await respond(send, 200)


class Telling:
    """Adds the upstream's CORS headers."""

    def telling(self, request: GateRequest, send: Send) -> Send:

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-told", request.path)]}
            await send(message)

        return told


class Leading:
    """Adds where a browser may log in."""

    def leading_in(self, request: GateRequest, send: Send) -> Send:
        async def led(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-led", request.path)]}
            await send(message)

        return led


class World:
    """A gate with what stands around it."""

    def __init__(self, *, pages: dict[str, Page] | None = None, **options: Any) -> None:
        self.admission, self.app = Admitting(), Behind()
        gate_rules = replace(rules(), **options.pop("rules", {}))
        self.gate = Gate(
            self.app,
            gate_rules,
            cast("Admission", self.admission),
            Refusals(ErrorStyle(), ("Basic",)),
            cast("UpstreamOrigins", Telling()),
            trusted=TrustedProxies(["10.0.0.0/8"]),
            pages=pages or {},
            bodies=options.pop("bodies", None),
            body_timeout_s=5,
            browsers=cast("Browsers | None", options.pop("browsers", None)),
            root=RootPath(options.pop("root", "")),
            **options,
        )

    @property
    def seen(self) -> GateRequest:
        (request,) = self.admission.seen
        return request


def page(name: str) -> Page:
    async def answer(request: GateRequest, _receive: Receive, send: Send) -> None:
        await respond(send, 200, headers=[(b"x-page", name.encode()), (b"x-path", request.path)])

    return answer


PAGES = {
    "live": page("live"),
    "ready": page("ready"),
    "whoami": page("whoami"),
    "forward-auth/nginx": page("nginx"),
    "login/": page("login"),
    "/token": page("token"),
}


async def test_a_request_is_taken_in_as_it_is_forwarded() -> None:
    world = World()
    headers = [(b"x-forwarded-for", b"192.0.2.9"), (b"x-forwarded-proto", b"https"), (b"x-auth-user", b"alice")]
    scope = http_scope(b"/api/%7Ex", headers, method="POST", query=b"a=\xe9", client="10.0.0.1")

    await call(world.gate, scope)

    request = world.seen
    assert (request.method, request.path, request.query) == ("POST", b"/api/~x", b"a=%E9")
    assert (request.client, request.scheme, request.scope) == ("192.0.2.9", "https", scope)
    assert request.identity_headers == [(b"x-auth-user", b"alice")]
    assert (request.held, request.body, request.peer) == (None, b"", Peer())


async def test_what_others_than_a_trusted_proxy_say_is_not_believed() -> None:
    world = World()
    headers = [(b"x-forwarded-for", b"192.0.2.9"), (b"x-forwarded-proto", b"https"), (b"x-auth-user", b"alice")]

    await call(world.gate, http_scope(headers=headers))

    assert (world.seen.client, world.seen.scheme, world.seen.identity_headers) == ("192.0.2.1", "http", [])


@pytest.mark.parametrize(
    ("client", "spelling"),
    [("10.0.0.1", b"x-forwarded-for"), ("10.0.0.1", b"x-real-ip"), ("unix:", b"x-forwarded-for")],
)
@pytest.mark.parametrize("from_socket", [False, True])
async def test_a_proxy_whose_address_a_header_may_have_chosen_says_nothing(
    client: str, spelling: bytes, from_socket: bool
) -> None:
    world = World()
    headers = [(spelling, client.encode()), (b"x-auth-user", b"alice"), (b"x-request-id", b"of-the-caller")]
    scope = {**http_scope(headers=headers, client=client), "extensions": {FROM_SOCKET: from_socket}}

    await call(world.gate, scope)

    assert bool(world.seen.identity_headers) == from_socket
    assert (world.seen.request_id == b"of-the-caller") == from_socket


async def test_the_other_end_of_the_connection_is_read_where_a_backend_wants_to_know() -> None:
    named = frozenset((b"x-user",))
    world = World(peers=Peers(TrustedProxies(["10.0.0.0/8"]), named), rules={"identity_headers": named})

    await call(world.gate, http_scope(headers=[(b"x-user", b"alice")], client="10.0.0.1"))

    assert world.seen.peer == Peer("10.0.0.1", (("x-user", "alice"),))


@pytest.mark.parametrize(
    ("path", "version", "health", "taken"),
    [
        (b"/api/x", "1.1", frozenset(), False),
        (b"/api/x", "1.0", frozenset(), True),
        (b"/compat-auth/live", "1.1", frozenset(), True),
        (b"/compat-auth/ready", "1.1", frozenset(), True),
        (b"/compat-auth/whoami", "1.1", frozenset(), False),
        (b"/health", "1.1", frozenset((b"/health",)), True),
    ],
)
async def test_only_a_health_check_may_lack_its_host(
    path: bytes, version: str, health: frozenset[bytes], taken: bool
) -> None:
    world = World(pages=PAGES, rules={"health": health})

    sent = await call(world.gate, {**http_scope(path), "headers": [], "http_version": version})

    assert sent.status == (200 if taken else BadRequest.status)


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
async def test_a_tunnel_or_an_echo_is_not_implemented(method: str) -> None:
    world = World()

    sent = await call(world.gate, http_scope(method=method))

    assert sent.status == NotImplementedHere.status
    assert world.admission.seen == []


async def test_a_browser_learns_where_to_log_in_and_a_page_of_another_origin_what_it_may() -> None:
    sent = await call(World(browsers=Leading()).gate, http_scope())

    assert (sent.values(b"x-led"), sent.values(b"x-told")) == ([b"/api/x"], [b"/api/x"])


@pytest.mark.parametrize(
    ("headers", "held"), [([(b"content-length", b"4")], True), ([(b"content-length", b"0")], False)]
)
async def test_a_body_is_held_where_a_backend_may_look_at_it(headers: RawHeaders, held: bool) -> None:
    budget = BodyBudget(10, 10)
    world = World(bodies=budget)

    await call(world.gate, http_scope(headers=headers, method="POST"), b"body")

    assert world.admission.bodies == ([b"body"] if held else [])
    assert world.seen.body == (None if held else b"")
    assert budget._held == {}


async def test_a_body_is_not_held_where_no_backend_looks_at_it() -> None:
    world = World()

    await call(world.gate, http_scope(headers=[(b"content-length", b"4")], method="POST"), b"body")

    assert (world.seen.held, world.admission.bodies) == (None, [])


async def test_a_body_belongs_to_the_client_that_a_trusted_proxy_names() -> None:
    clients: list[str] = []

    class Budget(BodyBudget):
        def take(self, client: str, size: int) -> None:
            clients.append(client)
            super().take(client, size)

    headers = [(b"content-length", b"4"), (b"x-forwarded-for", b"192.0.2.9")]

    await call(World(bodies=Budget(10)).gate, http_scope(headers=headers, client="10.0.0.1"), b"body")

    assert clients == ["192.0.2.9"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"/compat-auth/live", b"live"),
        (b"/compat-auth/whoami", b"whoami"),
        (b"/compat-auth/login/", b"login"),
        (b"/compat-auth/login/step/2", b"login"),
        (b"/token", b"token"),
    ],
)
async def test_a_path_of_ours_is_answered_by_its_page(path: bytes, name: bytes) -> None:
    world = World(pages=PAGES)

    sent = await call(world.gate, http_scope(path))

    assert (sent.values(b"x-page"), sent.values(b"x-path")) == ([name], [path])
    assert world.admission.seen == []


@pytest.mark.parametrize(
    "path", [b"/compat-auth/", b"/compat-auth/live/x", b"/compat-auth/nothing", b"/compat-auth/login"]
)
async def test_a_page_of_ours_that_is_none_is_not_the_upstreams(path: bytes) -> None:
    world = World(pages=PAGES)

    sent = await call(world.gate, http_scope(path))

    assert sent.status == NoSuchPage.status
    assert world.admission.seen == []


@pytest.mark.parametrize("path", [b"/token/x", b"/tokens", b"/compat-authx", b"/"])
async def test_every_other_path_is_for_the_application(path: bytes) -> None:
    world = World(pages=PAGES)

    await call(world.gate, http_scope(path))

    assert world.seen.path == path


async def test_the_plain_check_of_haproxy_asks_whether_the_gate_is_ready() -> None:
    world = World(pages=PAGES)
    check = {**http_scope(b"/", method="OPTIONS"), "headers": [], "http_version": "1.0"}

    assert (await call(world.gate, check)).values(b"x-page") == [b"ready"]
    for other in ({**check, "method": "GET"}, {**check, "raw_path": b"/x"}, {**check, "headers": [HOST]}):
        assert (await call(world.gate, other)).values(b"x-page") == []
    assert len(world.admission.seen) == 3


@pytest.mark.parametrize(("preflights", "answered"), [(True, []), (False, [b"token"])])
async def test_a_preflight_about_a_shared_path_is_the_upstreams_to_answer(
    preflights: bool, answered: list[bytes]
) -> None:
    world = World(pages=PAGES, rules={"preflights": preflights})

    shared = await call(world.gate, http_scope(b"/token", PREFLIGHT, method="OPTIONS"))
    own = await call(world.gate, http_scope(b"/compat-auth/live", PREFLIGHT, method="OPTIONS"))
    plain = await call(world.gate, http_scope(b"/token"))

    assert shared.values(b"x-page") == answered
    assert (own.values(b"x-page"), plain.values(b"x-page")) == ([b"live"], [b"token"])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (b"/compat-auth/whoami", 200),
        (b"/compat-auth/forward-auth/nginx", 200),
        (b"/compat-auth/login/", 403),
        (b"/token", 403),
    ],
)
async def test_who_acts_for_a_user_has_no_pages_of_that_user(path: bytes, status: int) -> None:
    acting = [(b"authorization", basic("a", "b").encode()), (b"x-do-as", b"bob")]

    sent = await call(World(pages=PAGES, rules={"do_as": True}).gate, http_scope(path, acting))

    assert sent.status == status
    assert NotPermitted.status == 403


async def test_the_root_is_taken_off_the_path_and_told_to_the_application() -> None:
    world = World(root="/air")

    await call(world.gate, http_scope(b"/air/api/x"))

    assert (world.seen.path, world.seen.root) == (b"/api/x", "/air")


@pytest.mark.parametrize(
    ("root", "scope_root", "path", "location"),
    [
        ("", "", b"//api//x", b"/api/x?a=1"),
        ("/air", "", b"/air//api/x", b"/air/api/x?a=1"),
        ("/air", "", b"//api/x", b"/air/api/x?a=1"),
        ("", "/zoë", b"//api/x", b"/zo/api/x?a=1"),
        ("", "/mounted", b"//api/x", b"/mounted/api/x?a=1"),
        ("", "//evil.example", b"//api/x", b"/evil.example/api/x?a=1"),
    ],
)
async def test_a_path_with_empty_segments_is_redirected_on_this_host(
    root: str, scope_root: str, path: bytes, location: bytes
) -> None:
    world = World(root=root)

    sent = await call(world.gate, {**http_scope(path, query=b"a=1"), "root_path": scope_root})

    assert (sent.status, sent.values(b"location")) == (308, [location])
    assert world.admission.seen == []


async def test_a_server_that_tells_no_root_has_none() -> None:
    sent = await call(World().gate, http_scope(b"//api//x"))

    assert sent.values(b"location") == [b"/api/x"]


async def test_a_request_without_a_query_has_an_empty_one() -> None:
    world = World()

    await call(world.gate, http_scope(b"/api/x"))

    assert world.seen.query == b""


async def test_a_websocket_is_refused_once_it_has_asked() -> None:
    received: list[int] = []
    sent: list[Message] = []

    async def receive() -> Message:
        received.append(1)
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await World().gate({"type": "websocket", "extensions": {}}, receive, send)

    assert (received, [message["type"] for message in sent]) == ([1], ["websocket.close"])


async def test_events_that_are_no_request_are_the_applications() -> None:
    world = World()

    await world.gate({"type": "lifespan"}, cast("Receive", None), _ignore)

    assert [scope["type"] for scope in world.app.scopes] == ["lifespan"]


async def _ignore(_message: Message) -> None:
    return None


async def test_an_audit_log_that_fails_closes_all_but_the_pages_about_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Failing:
        is_failing = True

        def require_log(self) -> None:
            raise NotPermitted

    monkeypatch.setattr(middleware, "LOSSES", Failing())
    world = World(pages=PAGES)

    statuses = [
        (await call(world.gate, http_scope(path))).status
        for path in (b"/compat-auth/live", b"/compat-auth/ready", b"/compat-auth/whoami", b"/api/x")
    ]

    assert statuses == [200, 200, 403, 403]


def test_a_page_below_the_prefix_has_a_whole_path() -> None:
    assert set(whole_paths("/compat-auth/", PAGES)) == World(pages=PAGES).gate.paths
    assert "/compat-auth/live" in World(pages=PAGES).gate.paths
    assert "/token" in World(pages=PAGES).gate.paths
