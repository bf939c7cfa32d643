"""What the upstream says about origins is on every answer for another origin's page, also on those that we make ourselves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.middleware.cors import CORSMiddleware

from compat_auth.airflow.v1.translation import V1Translation, public_pages
from compat_auth.api.swagger_ui import Site
from compat_auth.composition.gate import GateParts
from compat_auth.composition.rules import gate_rules
from compat_auth.config import parse_settings
from compat_auth.errors import BackendUnavailable, UpstreamUnreachable
from compat_auth.gateway.forwarding import FROM_UPSTREAM
from compat_auth.gateway.health import live, whoami_page
from compat_auth.gateway.middleware import Gate, Page
from compat_auth.http.asgi import ASGIApp, RawHeaders, Receive, Scope, Send, respond
from compat_auth.http.browser.cors import MAX_ORIGINS, RETRY_S, TTL_S, OriginHeaders
from compat_auth.outcome import Reject
from support.stand_ins import (
    GOOD,
    Clock,
    Sent,
    accepting,
    basic,
    call,
    forward_auth,
    http_scope,
    make_airflow,
    make_decider,
    make_gate,
    scripted,
)

FRIEND, EVIL = b"https://friend.example", b"https://evil.example"
ALLOW, VARY = b"access-control-allow-origin", b"vary"
SETTINGS = parse_settings(
    {"upstream": {"url": "http://127.0.0.1:9", "profile": "airflow-simple", "roles": {"*": "VIEWER"}}}, origin="test"
)
PREFLIGHT: RawHeaders = [
    (b"access-control-request-method", b"PATCH"),
    (b"access-control-request-headers", b"authorization"),
]
WRONG = (b"authorization", basic("alice", "wrong").encode())


class Upstream:
    """An Airflow whose CORS settings allow one origin, behind a reverse proxy."""

    def __init__(self, origins: tuple[str, ...] = (FRIEND.decode(),)) -> None:
        self.scopes: list[Scope] = []
        self.is_away = False
        self._app = CORSMiddleware(
            self._answer,
            allow_origins=origins,
            allow_methods=["GET", "PATCH", "POST"],
            allow_headers=["authorization", "content-type"],
            expose_headers=["x-total"],
            allow_credentials=True,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.is_away:
            raise UpstreamUnreachable("away")
        self.scopes.append(scope)

        async def send_marked(message: Any) -> None:
            await send({**message, FROM_UPSTREAM: True})

        await self._app(scope, receive, send_marked)

    @staticmethod
    async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, 200, b'{"version": "3.3.2", "git_version": null}', content_type=b"application/json")

    @property
    def asked(self) -> list[tuple[str, str]]:
        """Method and path of what has reached it."""
        return [(scope["method"], scope["path"]) for scope in self.scopes]


def gateway(upstream: Upstream, *backends: Any) -> Gate:
    decider = make_decider(*(backends or (scripted("basic_auth", Reject("wrong")),)))

    def pages(parts: GateParts) -> dict[str, Page]:
        found: dict[str, Page] = {
            "whoami": whoami_page(parts.identification, parts.refusals),
            "live": live,
            **forward_auth(parts),
        }
        return found | dict(public_pages(parts.forwarding, Site(SETTINGS.prefix, found)))

    return make_gate(
        V1Translation(upstream),
        decider,
        gate_rules=gate_rules(SETTINGS),
        trusted=["192.0.2.0/24"],
        pages=pages,
        upstream=upstream,
        tells_origins=True,
    )


def in_airflow(upstream: Upstream) -> ASGIApp:
    """Return the plugin's gate, with Airflow's CORS middleware before it."""
    inner = upstream._answer
    decider = make_decider(scripted("basic_auth", Reject("wrong")))
    stack = CORSMiddleware(
        make_airflow(inner, decider, gate_rules(SETTINGS), ["/api/"]),
        allow_origins=[FRIEND.decode()],
        allow_methods=["GET", "PATCH"],
        allow_headers=["authorization"],
        allow_credentials=True,
    )

    async def airflow(scope: Scope, receive: Receive, send: Send) -> None:
        await stack({"root_path": "", **scope}, receive, send)

    return airflow


places = pytest.mark.parametrize("place", [gateway, in_airflow])
Place = Callable[[Upstream], ASGIApp]


async def ask(app: ASGIApp, path: bytes, *headers: tuple[bytes, bytes], origin: bytes = FRIEND, **more: Any) -> Sent:
    return await call(app, http_scope(path, [(b"origin", origin), *headers], **more))


@places
@pytest.mark.parametrize("path", [b"/api/v2/dags", b"/api/v1/dags", b"/auth/token", b"/ui/dags", b"/api/v1/health"])
async def test_an_anonymous_preflight_gets_the_upstream_s_answer(place: Place, path: bytes) -> None:
    answer = await ask(place(Upstream()), path, *PREFLIGHT, method="OPTIONS")

    assert (answer.status, answer.values(ALLOW)) == (200, [FRIEND])
    assert b"PATCH" in answer.values(b"access-control-allow-methods")[0]


@places
async def test_the_upstream_refuses_the_preflight_of_an_origin_that_it_does_not_allow(place: Place) -> None:
    answer = await ask(place(Upstream()), b"/api/v2/dags", *PREFLIGHT, method="OPTIONS", origin=EVIL)

    assert (answer.status, answer.values(ALLOW)) == (400, [])


async def test_a_preflight_carries_no_cookie_and_costs_no_decision() -> None:
    upstream, password = Upstream(), scripted("basic_auth", Reject("wrong"))
    cookies = (b"cookie", b"_token=t; session=s; theme=dark")

    await ask(gateway(upstream, password), b"/api/v2/dags", *PREFLIGHT, cookies, method="OPTIONS")

    (scope,) = upstream.scopes
    assert not {b"cookie", b"authorization"} & {name for name, _ in scope["headers"]}
    assert password.asked == []


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        pytest.param("OPTIONS", [(b"origin", FRIEND)], id="asks-for-no-method"),
        pytest.param("OPTIONS", [*PREFLIGHT], id="no-origin"),
        pytest.param("OPTIONS", [(b"origin", FRIEND), (b"origin", EVIL), *PREFLIGHT], id="two-origins"),
        pytest.param("OPTIONS", [(b"origin", FRIEND), *PREFLIGHT, (b"content-length", b"3")], id="a-body"),
        pytest.param("OPTIONS", [(b"origin", FRIEND), *PREFLIGHT, WRONG], id="a-credential"),
        pytest.param("GET", [(b"origin", FRIEND), *PREFLIGHT], id="another-method"),
        pytest.param("POST", [(b"origin", FRIEND), *PREFLIGHT], id="a-post"),
    ],
)
async def test_what_is_no_preflight_is_judged(method: str, headers: RawHeaders) -> None:
    upstream = Upstream()

    answer = await call(gateway(upstream), http_scope(b"/api/v2/dags", headers, method=method), b"abc")

    assert answer.status == 401
    assert [asked for asked in upstream.asked if asked[1] != "/api/v2/version"] == []


@places
@pytest.mark.parametrize("path", [b"/api/v2/dags", b"/api/v1/dags"])
async def test_a_refusal_says_what_the_upstream_says_about_the_origin(place: Place, path: bytes) -> None:
    app = place(Upstream())

    friend, evil = await ask(app, path, WRONG), await ask(app, path, WRONG, origin=EVIL)

    assert (friend.status, friend.values(ALLOW), friend.values(VARY)) == (401, [FRIEND], [b"Origin"])
    assert friend.values(b"access-control-allow-credentials") == [b"true"]
    assert (evil.status, evil.values(ALLOW)) == (401, [])


async def test_headers_that_a_script_may_read_are_named_too() -> None:
    answer = await ask(gateway(Upstream()), b"/api/v2/dags", WRONG)

    assert answer.values(b"access-control-expose-headers") == [b"x-total"]


async def test_a_refusal_for_want_of_a_directory_says_so_too() -> None:
    away = scripted("basic_auth", BackendUnavailable("away"))

    answer = await ask(gateway(Upstream(), away), b"/api/v2/dags", WRONG)

    assert (answer.status, answer.values(ALLOW)) == (503, [FRIEND])


async def test_an_upstream_that_went_away_is_remembered() -> None:
    upstream = Upstream()
    app = gateway(upstream, accepting())
    await ask(app, b"/api/v2/dags", WRONG, origin=FRIEND)
    await ask(app, b"/api/v1/nothing", origin=FRIEND)
    upstream.is_away = True

    answer = await ask(app, b"/api/v2/dags", (b"authorization", GOOD.encode()))

    assert (answer.status, answer.values(ALLOW)) == (502, [FRIEND])


async def test_a_translated_answer_says_so_too() -> None:
    app = gateway(Upstream(), accepting())

    answer = await ask(app, b"/api/v1/version")

    assert (answer.status, answer.values(ALLOW)) == (200, [FRIEND])
    assert json.loads(answer.body)["version"] == "3.3.2"


async def test_what_the_upstream_answered_itself_is_passed_and_not_asked_about() -> None:
    upstream = Upstream()

    answer = await ask(gateway(upstream, accepting()), b"/api/v2/dags", (b"authorization", GOOD.encode()))

    assert (answer.values(ALLOW), upstream.asked) == ([FRIEND], [("GET", "/api/v2/dags")])


async def test_our_own_pages_are_for_their_own_origin_alone() -> None:
    upstream = Upstream()
    app = gateway(upstream, accepting())

    answers = [await ask(app, path) for path in (b"/compat-auth/whoami", b"/compat-auth/live", b"/compat-auth/no")]
    preflight = await ask(app, b"/compat-auth/whoami", *PREFLIGHT, method="OPTIONS")

    assert [answer.values(ALLOW) for answer in (*answers, preflight)] == [[]] * 4
    assert upstream.asked == []


@pytest.mark.parametrize(
    ("dialect", "asked"),
    [
        ("nginx", [(b"x-original-uri", b"/api/v2/dags"), (b"x-original-method", b"GET")]),
        ("traefik", [(b"x-forwarded-uri", b"/api/v2/dags"), (b"x-forwarded-method", b"GET")]),
    ],
)
async def test_a_refusal_by_forward_auth_says_so_for_the_proxy_to_pass_on(dialect: str, asked: RawHeaders) -> None:
    answer = await ask(gateway(Upstream()), f"/compat-auth/forward-auth/{dialect}".encode(), *asked, WRONG)

    assert (answer.status, answer.values(ALLOW)) == (401, [FRIEND])


async def test_forward_auth_lets_a_preflight_on_as_nobody() -> None:
    asked = [(b"x-original-uri", b"/api/v2/dags"), (b"x-original-method", b"OPTIONS"), (b"cookie", b"_token=theirs")]
    upstream = Upstream()

    answer = await ask(gateway(upstream), b"/compat-auth/forward-auth/nginx", *asked, *PREFLIGHT)

    assert (answer.status, answer.values(b"authorization")) == (200, [])
    assert answer.values(b"x-compat-auth-cookie") == [b""]
    assert upstream.asked == []


async def test_a_preflight_that_is_another_method_to_some_upstreams_is_judged() -> None:
    asked = [(b"x-original-uri", b"/api/v2/dags"), (b"x-original-method", b"OPTIONS")]
    override = (b"x-http-method-override", b"DELETE")

    answer = await ask(gateway(Upstream()), b"/compat-auth/forward-auth/nginx", *asked, *PREFLIGHT, override)

    assert answer.status == 401


async def test_the_upstream_is_asked_once_for_each_origin_and_again_after_a_while() -> None:
    clock, count = Clock(), 0
    known = OriginHeaders(clock)

    async def answer() -> RawHeaders:
        nonlocal count
        count += 1
        await asyncio.sleep(0)
        return [(ALLOW, FRIEND), (b"set-cookie", b"a=b"), (b"server", b"uvicorn")]

    at_once = await asyncio.gather(*(known.about(FRIEND, answer, has_cookies=False) for _ in range(20)))
    clock.time += TTL_S + 1
    later = await known.about(FRIEND, answer, has_cookies=False)

    assert [*at_once, later] == [[(ALLOW, FRIEND), (VARY, b"Origin")]] * 21
    assert count == 2


async def test_what_was_said_holds_while_the_upstream_is_away_and_it_is_not_asked_at_every_request() -> None:
    clock, count = Clock(), 0
    known = OriginHeaders(clock)

    async def answer() -> RawHeaders:
        return [(ALLOW, FRIEND)]

    async def fail() -> RawHeaders:
        nonlocal count
        count += 1
        raise UpstreamUnreachable("away")

    await known.about(FRIEND, answer, has_cookies=False)
    clock.time += TTL_S + 1
    said = [await known.about(FRIEND, fail, has_cookies=False) for _ in range(5)]
    clock.time += RETRY_S + 1
    await known.about(FRIEND, fail, has_cookies=False)

    assert said == [[(ALLOW, FRIEND), (VARY, b"Origin")]] * 5
    assert count == 2


@pytest.mark.parametrize("origin", [b"", b"friend", b"https://a, https://b", b"https://" + b"a" * 400, b"https://a/b"])
async def test_what_is_no_origin_is_not_asked_about(origin: bytes) -> None:
    async def ask_upstream() -> RawHeaders:
        raise AssertionError

    assert await OriginHeaders().about(origin, ask_upstream, has_cookies=False) == []


async def test_origins_without_number_do_not_fill_the_memory() -> None:
    known = OriginHeaders(Clock())

    async def answer() -> RawHeaders:
        return []

    for number in range(MAX_ORIGINS + 50):
        await known.about(b"https://o%d.example" % number, answer, has_cookies=False)

    assert len(known._known) == MAX_ORIGINS
