"""What goes on to the application behind the gate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from compat_auth.credentials import Bearer
from compat_auth.errors import NotPermitted
from compat_auth.gateway.authorization import Authorization, PathRequirement
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.decision import Granted, Unclaimed
from compat_auth.gateway.forwarding import AUTHORIZE, INTAKE, RENEW, Forwarding, adding, authorization_without_ours
from compat_auth.http.asgi import Message, RawHeaders, Receive, Scope, Send
from compat_auth.http.headers import take_in
from compat_auth.http.paths import Prefixes
from compat_auth.http.request import GateRequest
from compat_auth.requirements import Requirements
from support.stand_ins import ALICE, rules

HOST = (b"host", b"gateway.example")
COOKIES = (b"cookie", b"_token=t; ours=1; theme=dark")
GRANTED = Granted(ALICE, b"Bearer t")
DELETE_NEEDS_ADMIN = PathRequirement(Prefixes(["/api/"]), frozenset(("DELETE",)), Requirements(("role:Admin",)))


class Application:
    """Answers with a status, and remembers what it was asked."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self.bodies.append((await receive())["body"])
        await send({"type": "http.response.start", "status": self.status, "headers": [(b"x-app", b"1")]})
        await send({"type": "http.response.body", "body": b"body"})

    @property
    def headers(self) -> RawHeaders:
        return list(self.scopes[-1]["headers"])

    @property
    def extensions(self) -> dict[str, Any]:
        return dict(self.scopes[-1]["extensions"])


class Deciding:
    """Renews a grant as the test says, and remembers what it forgets."""

    def __init__(self) -> None:
        self.renewed: Granted | None = None
        self.forgotten: list[Granted] = []

    async def renew(self, presented: Any, refused: Granted) -> Granted | None:
        assert (presented.path, refused) == ("/api/x", GRANTED)
        return self.renewed

    def forget_token(self, granted: Granted) -> None:
        self.forgotten.append(granted)


class World:
    """A forwarding with an application and an upstream behind it."""

    def __init__(self, status: int = 200, **changed: Any) -> None:
        self.app, self.upstream, self.decider = Application(status), Application(), Deciding()
        self.sent: list[Message] = []
        authorization = Authorization(replace(rules(), **changed))
        self.forwarding = Forwarding(self.app, authorization, cast("Decider", self.decider), self.upstream)

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def receive(self) -> Message:
        return {"type": "http.request", "body": b"asked", "more_body": False}


def request(
    *headers: tuple[bytes, bytes], path: bytes = b"/api/x", raw_path: bytes = b"/api/x", **scope: Any
) -> GateRequest:
    made = {"raw_path": raw_path, "path": raw_path.decode("latin-1"), "query_string": b"raw", "method": "GET", **scope}
    return GateRequest(made, take_in([HOST, *headers]), "GET", path, b"a=1", "192.0.2.1")


async def test_a_caller_is_forwarded_with_one_identity() -> None:
    world = World()
    asked = request((b"x-a", b"1"), (b"authorization", b"Basic YTpi"), COOKIES, extensions={"other": 1})

    await world.forwarding.as_caller(GRANTED, asked, world.receive, world.send)

    assert world.app.headers == [HOST, (b"x-a", b"1"), (b"authorization", b"Bearer t"), (b"cookie", b"theme=dark")]
    assert world.app.scopes[0]["query_string"] == b"a=1"
    assert (world.app.extensions["other"], world.app.extensions[INTAKE]) == (1, asked)
    assert world.app.bodies == [b"asked"]
    assert world.upstream.scopes == []
    assert world.sent[0]["headers"] == [(b"x-app", b"1")]
    assert world.decider.forgotten == []


async def test_the_application_may_ask_what_else_the_caller_may_do() -> None:
    world = World(requirements=(DELETE_NEEDS_ADMIN,))

    await world.forwarding.as_caller(GRANTED, request(), world.receive, world.send)

    world.app.extensions[AUTHORIZE]("GET", b"/api/y", b"")
    with pytest.raises(NotPermitted):
        world.app.extensions[AUTHORIZE]("DELETE", b"/api/y", b"")


async def test_the_application_may_ask_for_another_token() -> None:
    world = World()
    await world.forwarding.as_caller(GRANTED, request(), world.receive, world.send)
    renew = world.app.extensions[RENEW]

    nothing = await renew()
    world.decider.renewed = Granted(ALICE, b"Bearer new")

    assert nothing is None
    assert await renew() == b"Bearer new"


async def test_a_token_that_the_upstream_refuses_is_forgotten() -> None:
    world = World(status=401)

    await world.forwarding.as_caller(GRANTED, request(), world.receive, world.send)

    assert world.decider.forgotten == [GRANTED]


async def test_the_headers_of_a_success_are_added_to_those_of_the_answer() -> None:
    world = World()
    granted = replace(GRANTED, headers=((b"x-leg", b"2"),))

    await world.forwarding.as_caller(granted, request(), world.receive, world.send)

    assert world.sent[0]["headers"] == [(b"x-app", b"1"), (b"x-leg", b"2")]
    assert world.sent[1] == {"type": "http.response.body", "body": b"body"}


async def test_the_task_api_gets_a_caller_without_any_identity() -> None:
    world = World(status=401, task_api=Prefixes(["/api/"]), requirements=(DELETE_NEEDS_ADMIN,))

    await world.forwarding.as_caller(
        GRANTED, request((b"authorization", b"Basic YTpi"), COOKIES), world.receive, world.send
    )

    assert world.app.headers == [HOST, (b"cookie", b"theme=dark")]
    assert world.app.extensions[RENEW] is None
    assert world.decider.forgotten == []
    with pytest.raises(NotPermitted):
        world.app.extensions[AUTHORIZE]("DELETE", b"/api/y", b"")


async def test_a_credential_of_the_upstream_goes_on_as_it_is() -> None:
    world = World(requirements=(DELETE_NEEDS_ADMIN,))
    theirs = (b"authorization", b"Bearer theirs")

    await world.forwarding.with_own_credential(
        Unclaimed(Bearer("theirs"), ()), request(theirs, COOKIES), world.receive, world.send
    )

    assert world.app.headers == [HOST, theirs, (b"cookie", b"_token=t; theme=dark")]
    with pytest.raises(NotPermitted):
        world.app.extensions[AUTHORIZE]("DELETE", b"/api/y", b"")


async def test_a_public_request_goes_on_without_any_identity() -> None:
    world = World()

    await world.forwarding.without_credentials(request(COOKIES), world.receive, world.send)

    assert world.app.headers == [HOST, (b"cookie", b"theme=dark")]
    assert (world.app.extensions[AUTHORIZE], world.app.extensions[RENEW]) == (None, None)


@pytest.mark.parametrize("revoked", [True, False])
async def test_an_unprotected_request_keeps_what_is_the_upstreams(revoked: bool) -> None:
    world = World()
    headers = ((b"authorization", b"Bearer theirs"), COOKIES)

    await world.forwarding.unprotected(request(*headers), world.receive, world.send, is_cookie_revoked=revoked)

    left = b"theme=dark" if revoked else b"_token=t; theme=dark"
    assert world.app.headers == [HOST, headers[0], (b"cookie", left)]


async def test_a_preflight_goes_to_the_upstream_itself_without_cookies() -> None:
    world = World()

    await world.forwarding.preflight(request((b"origin", b"https://a"), COOKIES), world.receive, world.send)

    assert world.upstream.headers == [HOST, (b"origin", b"https://a")]
    assert world.app.scopes == []


async def test_the_upstream_is_asked_with_these_headers_alone() -> None:
    world = World()
    asked = request((b"x-a", b"1"), (b"authorization", b"Bearer t"), COOKIES)

    answer = await world.forwarding.ask(asked, "OPTIONS", [(b"origin", b"https://a")])

    assert (answer.status, answer.headers) == (200, [(b"x-app", b"1")])
    assert world.upstream.headers == [HOST, (b"origin", b"https://a")]
    assert (world.upstream.scopes[0]["method"], world.upstream.bodies) == ("OPTIONS", [b""])
    assert world.upstream.extensions[INTAKE].method == "OPTIONS"
    assert (world.app.scopes, world.sent) == ([], [])


async def test_without_an_upstream_of_its_own_the_application_is_the_upstream() -> None:
    world = World()
    alone = Forwarding(world.app, Authorization(rules()), cast("Decider", world.decider))

    await alone.preflight(request(), world.receive, world.send)

    assert alone.cors_of(request()) is world.app
    assert len(world.app.scopes) == 1


async def test_the_canonical_path_replaces_the_path_of_the_wire() -> None:
    world = World()
    asked = request(path=b"/api/a%2Fz%C3%A4", raw_path=b"/api/a%2fz\xc3\xa4")

    await world.forwarding.without_credentials(asked, world.receive, world.send)

    assert (world.app.scopes[0]["raw_path"], world.app.scopes[0]["path"]) == (b"/api/a%2Fz%C3%A4", "/api/a/zä")
    assert asked.scope["raw_path"] == b"/api/a%2fz\xc3\xa4"


async def test_a_request_without_a_host_goes_on_without_one() -> None:
    world = World()
    asked = request((b"x-a", b"1"))
    asked.intake.host = b""

    await world.forwarding.without_credentials(asked, world.receive, world.send)

    assert world.app.headers == [(b"x-a", b"1")]


@pytest.mark.parametrize(
    ("authorization", "kept"),
    [
        (b"Bearer theirs", True),
        (b"Other x", True),
        (b"Basically x", True),
        (b"x-basic y", True),
        (b"Basic YTpi", False),
        (b"bAsIc", False),
        (b"Negotiate YII=", False),
        (b"\tbasic x", False),
        (b"Bearer x, basic y", False),
        (b"Bearer x,negotiate y", False),
        (b"Bearer cat_pat_x", False),
        (b"Other Y2F0X3BhdF94", False),
    ],
)
def test_passwords_tickets_and_personal_tokens_are_for_us_alone(authorization: bytes, kept: bool) -> None:
    found = authorization_without_ours(request((b"authorization", authorization)))

    assert found == (authorization if kept else None)
    assert authorization_without_ours(request()) is None


async def test_headers_are_added_to_the_start_of_an_answer_alone() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    start: Message = {"type": "http.response.start", "status": 200, "headers": [(b"a", b"1")]}
    trailers: Message = {"type": "http.response.trailers", "headers": [(b"b", b"1")]}
    adds = adding(((b"c", b"1"),), send)
    await adds(start)
    await adds(trailers)

    assert sent == [{**start, "headers": [(b"a", b"1"), (b"c", b"1")]}, trailers]
    assert start["headers"] == [(b"a", b"1")]
