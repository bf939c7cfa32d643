"""Ways around the gate inside Airflow: spellings that Airflow routes alike, a path in front, other applications, cookies.

What stands behind is Starlette's router with Airflow's own shape, which is what Airflow routes by.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from types import ModuleType
from typing import Any, Final, cast
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from compat_auth.airflow import body_in_doubt
from compat_auth.airflow.middleware import AirflowMiddleware, Guarded
from compat_auth.airflow_api.paths import whole_paths
from compat_auth.credentials import Absent, Basic, Bearer
from compat_auth.errors import BackendUnavailable
from compat_auth.gateway.authorization import GateRules, PathRequirement
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.health import whoami_page
from compat_auth.http.asgi import ASGIApp, Message, RawHeaders, Receive, Scope, Send
from compat_auth.http.error_responses import ErrorStyle
from compat_auth.http.paths import AIRFLOW_RESTS, Prefixes
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Reject
from compat_auth.requirements import Requirements
from compat_auth.scopes import parse_scope
from corpora.cases import cases
from support.stand_ins import ALICE, GOOD, Sent, accepting, call, http_scope, make_airflow, make_decider, scripted

ROOTS: Final = ("", "/af", "/api", "/team.a/af")
CORPUS: Final = [case["path"] for case in cases("paths")]
PROTECT: Final = ["/api/", "/auth/fab/v1/"]
AUTHORIZATION: Final = (b"authorization", GOOD.encode())
OWN_JWT: Final = (b"authorization", b"Bearer eyJhbGciOiJIUzUxMiJ9.e30.c2ln")
HTTPTOOLS: Final = "uvicorn.protocols.http.httptools_impl"
CHALLENGE: Final = 'Basic realm="Airflow", charset="UTF-8"'


async def echo(request: Request) -> JSONResponse:
    state = cast("dict[str, Any]", request.scope.get("state", {}))
    content = {
        "path": request.scope["path"],
        "raw_path": request.scope["raw_path"].decode("latin-1"),
        "authorization": request.headers.getlist("authorization"),
        "cookies": request.headers.getlist("cookie"),
        "forwarded": request.headers.getlist("x-forwarded-proto"),
        "user": state.get("user"),
        "trusted": state.get("user_authenticated_via"),
        "kept": state.get("kept"),
    }
    status = 401 if request.url.path.endswith("/closed") else 200
    return JSONResponse(content, status)


async def chatter(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close()


def airflow() -> Starlette:
    every = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    below = [Route("/{rest:path}", echo, methods=every), WebSocketRoute("/{rest:path}", chatter)]
    return Starlette(
        routes=[
            Mount("/execution", routes=below),
            Mount("/auth", routes=below),
            Mount("/pluginsv2", routes=below),
            Route("/api/v2/{rest:path}", echo, methods=every),
            WebSocketRoute("/api/v2/{rest:path}", chatter),
            Route("/{rest:path}", echo, methods=every),
        ]
    )


def make_instance(decider: Decider, *, app: ASGIApp | None = None, required: str = "") -> AirflowMiddleware:
    asked = (PathRequirement(Prefixes(PROTECT), frozenset(), Requirements((required,), ())),) if required else ()
    rules = GateRules(
        Prefixes(PROTECT),
        b"/compat-auth/",
        (b"_token", b"session"),
        frozenset({b"ours"}),
        ErrorStyle(),
        asked,
        rests=AIRFLOW_RESTS,
    )
    rules = replace(rules, public=whole_paths("public", below="/api/"), preflights=True)
    behind = app or airflow()
    return make_airflow(
        behind,
        decider,
        rules,
        [*PROTECT, "/compat-auth/"],
        lambda parts: {"whoami": whoami_page(parts.identification, parts.refusals)},
    )


def scope_of(path: str, headers: RawHeaders | None = None, *, root: str = "", **changed: Any) -> Scope:
    """Return the scope as uvicorn and FastAPI make it: the path decoded, the root beside it."""
    scope = http_scope(path.encode("latin-1"), headers)
    return {**scope, "path": unquote(path), "root_path": root, "state": {}, **changed}


async def ask(instance: ASGIApp, path: str, headers: RawHeaders | None = None, **options: Any) -> Sent:
    return await call(instance, scope_of(path, headers, **options))


def spellings(root: str) -> list[str]:
    found = [root + path for path in CORPUS] + CORPUS
    tails = ("/api/v2/dags", "/api/v2/x/y", "/auth/fab/v1/users")
    for tail in tails:
        found += [
            root + tail,
            tail,
            root.upper() + tail,
            root + root + tail,
            root + "/" + tail,
            root + "%2F" + tail[1:],
        ]
        found += [
            root.replace("/", "%2f", 1) + tail,
            root + tail.replace("/", "%2F", 2),
            root + tail.replace("a", "%61", 1),
        ]
        found += [
            root + "/." + tail,
            root + "/x/.." + tail,
            root + ";v=1" + tail,
            "/." + root + tail,
            "/%2e" + root + tail,
        ]
    return [path for path in dict.fromkeys(found) if path.startswith("/")]


def routed(path: str, root: str) -> str:
    """Return what Starlette finds a route by."""
    decoded = unquote(path)
    return decoded[len(root) :] if root and decoded.startswith(f"{root}/") else decoded


@pytest.mark.parametrize("root", ROOTS)
async def test_no_spelling_of_a_protected_path_leads_around_what_is_required_there(root: str) -> None:
    instance = make_instance(make_decider(accepting()), required="role:nobody")

    let_through = [
        path
        for path in spellings(root)
        if routed(path, root).startswith(tuple(PROTECT))
        and (await ask(instance, path, [OWN_JWT], root=root)).status == 200
    ]

    assert let_through == []


@pytest.mark.parametrize("root", ["", "/af"])
@pytest.mark.parametrize("path", ["//api/v2/dags", "/api//v2//dags", "/api/v2//dags"])
async def test_a_merged_path_of_the_api_is_308_below_the_path_of_base_url(root: str, path: str) -> None:
    instance = make_instance(make_decider(accepting()))

    sent = await ask(instance, root + path, [AUTHORIZATION], root=root, query_string=b"a=1")

    assert sent.status == 308
    assert sent.values(b"location") == [f"{root}/api/v2/dags?a=1".encode()]


@pytest.mark.parametrize("root", ["", "/af"])
async def test_a_key_with_two_slashes_reaches_airflow_as_it_is(root: str) -> None:
    instance = make_instance(make_decider(accepting()))

    sent = await ask(instance, f"{root}/api/v2/variables/a//b", [AUTHORIZATION], root=root)

    assert sent.status == 200
    assert json.loads(sent.body)["path"] == f"{root}/api/v2/variables/a//b"


async def test_a_request_of_1_0_needs_no_host() -> None:
    instance = make_instance(make_decider(accepting()))
    scope = {**scope_of("/api/v2/dags", [AUTHORIZATION]), "http_version": "1.0"}

    sent = await call(instance, {**scope, "headers": [AUTHORIZATION]})

    assert sent.status == 200


def waiting(*headers: tuple[bytes, bytes]) -> Scope:
    return {**scope_of("/api/v2/dags", [*headers]), "method": "POST"}


@pytest.mark.parametrize("framing", [(b"content-length", b"2"), (b"transfer-encoding", b"chunked")])
async def test_a_body_that_airflows_server_drops_is_refused_with_what_to_change(
    monkeypatch: pytest.MonkeyPatch, framing: tuple[bytes, bytes]
) -> None:
    monkeypatch.setitem(sys.modules, HTTPTOOLS, ModuleType(HTTPTOOLS))
    backend = accepting()
    instance = make_instance(make_decider(backend))

    sent = await call(instance, waiting(AUTHORIZATION, (b"upgrade", b"h2c"), framing))

    assert sent.status == 400
    assert "version(HttpClient.Version.HTTP_1_1)" in json.loads(sent.body)["detail"]
    assert sent.values(b"connection") == [b"close"]
    assert backend.asked == []


@pytest.mark.parametrize("framing", [[], [(b"content-length", b"0")], [(b"content-length", b"000")]])
async def test_an_upgrade_without_a_body_is_ignored(
    monkeypatch: pytest.MonkeyPatch, framing: list[tuple[bytes, bytes]]
) -> None:
    monkeypatch.setitem(sys.modules, HTTPTOOLS, ModuleType(HTTPTOOLS))
    instance = make_instance(make_decider(accepting()))

    sent = await call(instance, waiting(AUTHORIZATION, (b"upgrade", b"h2c"), *framing))

    assert sent.status == 200


async def test_a_server_that_reads_the_body_of_an_upgrade_gets_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, HTTPTOOLS, raising=False)
    instance = make_instance(make_decider(accepting()))

    sent = await call(instance, waiting(AUTHORIZATION, (b"upgrade", b"h2c"), (b"content-length", b"2")), b"{}")

    assert sent.status == 200


async def test_a_refused_client_that_waits_to_send_its_body_is_asked_for_it_first() -> None:
    events: list[str] = []

    async def receive() -> Message:
        events.append("asked")
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Message) -> None:
        events.append(str(message.get("status", "body")))

    scope = waiting(AUTHORIZATION, (b"expect", b"100-continue"), (b"content-length", b"2"))

    await make_instance(make_decider(scripted("basic_auth", Reject("wrong"))))(scope, receive, send)

    assert events == ["asked", "401", "body"]


async def test_a_client_that_waits_to_send_a_body_that_is_dropped_reads_what_to_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, HTTPTOOLS, ModuleType(HTTPTOOLS))
    asked: list[bool] = []
    sent = Sent()

    async def receive() -> Message:
        asked.append(True)
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]  # never ends

    async def send(message: Message) -> None:
        sent.messages.append(message)

    scope = waiting((b"upgrade", b"h2c"), (b"expect", b"100-continue"), (b"content-length", b"2"))

    await make_instance(make_decider(accepting()))(scope, receive, send)

    assert asked == [True]
    assert sent.status == 400
    assert sent.values(b"connection") == [b"close"]


async def test_a_client_that_does_not_send_its_body_when_asked_loses_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(body_in_doubt, "BODY_S", 0.01)
    sent = Sent()

    async def receive() -> Message:
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]  # never ends

    async def send(message: Message) -> None:
        sent.messages.append(message)

    scope = waiting(AUTHORIZATION, (b"expect", b"100-continue"), (b"content-length", b"2"))

    await make_instance(make_decider(scripted("basic_auth", Reject("wrong"))))(scope, receive, send)

    assert sent.status == 401
    assert sent.values(b"connection") == [b"close"]


@pytest.mark.parametrize("root", ["", "/af", "/team.a/af"])
async def test_every_plain_spelling_of_a_protected_path_gets_an_answer_about_the_requirement(root: str) -> None:
    instance = make_instance(make_decider(accepting()), required="role:nobody")

    for path in (root + "/api/v2/dags", "/api/v2/dags", root + "/auth/fab/v1/users"):
        answer = await ask(instance, path, [OWN_JWT], root=root)
        assert answer.status == 403, path


@given(
    root=st.sampled_from(ROOTS),
    parts=st.lists(
        st.sampled_from(
            ["/", "%2F", "%2f", "api", "API", "%61pi", "v2", "..", ".", "%2e", ";", "af", "auth", "fab", "v1", "x", "%"]
        ),
        max_size=12,
    ),
)
@example(root="/af", parts=["%2F", "af", "/", "api", "/", "v2", "/", "x"])
@example(root="", parts=["/", "api", "%2F", "v2", "/", "x"])
@settings(deadline=None)
def test_whatever_airflow_routes_to_a_protected_view_has_come_through_the_gate(root: str, parts: list[str]) -> None:
    path = "/" + "".join(parts)
    scope = scope_of(path, root=root)

    covered = Guarded([*PROTECT, "/compat-auth/"]).cover(scope)

    assert covered or not routed(path, root).startswith(tuple(PROTECT))


@pytest.mark.parametrize("root", ["", "/af"])
@pytest.mark.parametrize(
    "path", ["/", "/dags/x", "/static/a//b.js", "/ui/auth/me", "/execution/variables/a", "/auth/login/", "/pluginsv2/x"]
)
async def test_what_is_not_ours_passes_by_untouched(root: str, path: str) -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope)

    backend = accepting()
    scope = scope_of(root + path, [AUTHORIZATION, (b"x-forwarded-proto", b"https")], root=root)

    await make_instance(make_decider(backend), app=app)(scope, _receive_nothing, _send_nothing)

    (passed,) = seen
    assert passed is scope
    assert backend.asked == []


async def _receive_nothing() -> Message:
    return {"type": "http.disconnect"}


async def _send_nothing(_message: Message) -> None:
    return


@pytest.mark.parametrize("root", ["", "/af"])
async def test_an_accepted_request_arrives_at_its_whole_path_as_the_caller_alone(root: str) -> None:
    state = {"user": "whom the cookie names", "user_authenticated_via": "a sentinel", "kept": "by others"}
    headers = [AUTHORIZATION, (b"cookie", b"_token=a; session=b; ours=c; theme=dark"), (b"x-forwarded-proto", b"https")]

    answer = await ask(
        make_instance(make_decider(accepting())), f"{root}/api/v2/a%2Fb", headers, root=root, state=state
    )

    content = json.loads(answer.body)
    assert content["path"] == f"{root}/api/v2/a/b"
    assert content["raw_path"] == f"{root}/api/v2/a%2Fb"
    assert content["authorization"] == ["Bearer token-of-alice-0"]
    assert content["cookies"] == ["theme=dark"]
    assert content["forwarded"] == []
    assert (content["user"], content["trusted"], content["kept"]) == (None, None, "by others")
    assert state["user"] == "whom the cookie names"


@pytest.mark.parametrize("root", ["", "/af"])
async def test_our_pages_are_below_the_path_in_front_and_beside_it_where_a_proxy_has_taken_it_off(root: str) -> None:
    instance = make_instance(make_decider(accepting()))

    for path in (f"{root}/compat-auth/whoami", "/compat-auth/whoami"):
        answer = await ask(instance, path, [AUTHORIZATION], root=root)
        assert json.loads(answer.body)["username"] == "alice"


async def test_what_airflow_is_to_judge_reaches_it_as_it_came() -> None:
    state = {"user": "whom the cookie names", "user_authenticated_via": "a sentinel"}
    headers = [(b"cookie", b"_token=a; session=b"), (b"x-forwarded-proto", b"https")]

    by_cookie = await ask(make_instance(make_decider(accepting())), "/api/v2/x", headers, state=state)
    by_token = await ask(make_instance(make_decider(accepting())), "/api/v2/x", [OWN_JWT, *headers])

    assert json.loads(by_cookie.body)["user"] == "whom the cookie names"
    assert json.loads(by_cookie.body)["forwarded"] == ["https"]
    assert json.loads(by_token.body)["authorization"] == [OWN_JWT[1].decode()]
    assert json.loads(by_token.body)["cookies"] == ["_token=a; session=b"]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([AUTHORIZATION, OWN_JWT], id="two-credentials"),
        pytest.param([OWN_JWT, AUTHORIZATION], id="two-credentials-the-other-way"),
        pytest.param([(b"authorization_", b"x"), (b"x_forwarded_user", b"admin")], id="underscores"),
        pytest.param([(b"cookie_", b"x"), (b"remote.user", b"admin")], id="dots"),
    ],
)
async def test_a_request_with_two_readings_is_refused(headers: RawHeaders) -> None:
    answer = await ask(make_instance(make_decider(accepting())), "/api/v2/x", headers)

    assert answer.status == 400


async def test_a_wrong_credential_is_refused_whatever_cookie_or_public_user_there_is() -> None:
    backend = scripted("basic_auth", Reject("wrong"), invites=(CHALLENGE,))
    headers = [AUTHORIZATION, (b"cookie", b"_token=good")]

    answer = await ask(make_instance(make_decider(backend)), "/api/v2/x", headers, state={"user": "public"})

    assert answer.status == 401
    assert answer.values(b"www-authenticate") == [CHALLENGE.encode()]


async def test_a_backend_that_cannot_be_asked_is_503_and_airflow_is_not_asked_instead() -> None:
    backend = scripted("basic_auth", BackendUnavailable("the database is away"))
    headers = [AUTHORIZATION, (b"cookie", b"_token=good")]

    answer = await ask(make_instance(make_decider(backend)), "/api/v2/x", headers)

    assert answer.status == 503
    assert b"database" not in answer.body


async def test_nobody_is_airflow_s_to_judge_but_not_where_more_is_required() -> None:
    backend = scripted("basic_auth", Accept(ALICE), invites=(CHALLENGE,))

    open_page = await ask(make_instance(make_decider(backend)), "/api/v2/version")
    closed_page = await ask(make_instance(make_decider(backend)), "/api/v2/closed")
    required = await ask(make_instance(make_decider(backend), required="role:nobody"), "/api/v2/version")

    assert (open_page.status, open_page.values(b"www-authenticate")) == (200, [])
    assert (closed_page.status, closed_page.values(b"www-authenticate")) == (401, [CHALLENGE.encode()])
    assert (required.status, required.values(b"www-authenticate")) == (401, [CHALLENGE.encode()])


@pytest.mark.parametrize("header", [(b"sec-fetch-mode", b"cors"), (b"cookie", b"_token=ended")])
async def test_a_browser_on_airflow_s_own_pages_gets_no_challenge_which_it_would_answer_itself(
    header: tuple[bytes, bytes],
) -> None:
    backend = scripted("basic_auth", Accept(ALICE), invites=(CHALLENGE,))

    answer = await ask(make_instance(make_decider(backend)), "/api/v2/closed", [header])

    assert (answer.status, answer.values(b"www-authenticate")) == (401, [])


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("source", [(b"origin", b"https://evil.example"), (b"sec-fetch-site", b"cross-site")])
async def test_another_site_cannot_steer_a_browser_by_a_cookie_or_a_remembered_password(
    method: str, source: tuple[bytes, bytes]
) -> None:
    by_cookie = scripted("session", Accept(ALICE), takes=frozenset({Absent}), alike=False)
    headers = [(b"cookie", b"session=good"), source]

    forged = await ask(make_instance(make_decider(by_cookie)), "/api/v2/x", headers, method=method)
    from_a_program = await ask(make_instance(make_decider(by_cookie)), "/api/v2/x", headers[:1], method=method)
    by_password = scripted("basic_auth", Accept(ALICE), takes=frozenset({Basic}))
    remembered = await ask(
        make_instance(make_decider(by_password)), "/api/v2/x", [AUTHORIZATION, source], method=method
    )
    by_bearer = scripted("oidc", Accept(ALICE), takes=frozenset({Bearer}))
    by_script = await ask(make_instance(make_decider(by_bearer)), "/api/v2/x", [OWN_JWT, source], method=method)

    # A browser adds a password by itself, and never a Bearer.
    assert (forged.status, from_a_program.status, remembered.status, by_script.status) == (403, 200, 403, 200)


async def _websocket(instance: ASGIApp, path: str, root: str = "") -> list[Message]:
    sent: list[Message] = []
    incoming: list[Message] = [{"type": "websocket.connect"}]

    async def receive() -> Message:
        return incoming.pop() if incoming else {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {**scope_of(path, root=root), "type": "websocket", "scheme": "ws", "subprotocols": []}
    await instance(scope, receive, send)
    return sent


async def test_a_websocket_passes_but_not_where_the_gate_would_have_to_know_who_it_is() -> None:
    instance = make_instance(make_decider(accepting()))

    passed = await _websocket(instance, "/af/pluginsv2/chat", "/af")
    refused = await _websocket(instance, "/af/api/v2/chat", "/af")

    assert passed[0]["type"] == "websocket.accept"
    assert refused == [{"type": "websocket.close", "code": 1008}]


async def test_the_start_and_the_end_pass_and_the_end_stops_our_threads() -> None:
    decider = make_decider(accepting())
    incoming: list[Message] = [{"type": "lifespan.shutdown"}, {"type": "lifespan.startup"}]
    sent: list[Message] = []

    async def receive() -> Message:
        return incoming.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    instance = make_instance(decider)
    await instance({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)

    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    with pytest.raises(RuntimeError, match="after shutdown"):
        await ask(instance, "/api/v2/x", [AUTHORIZATION])


async def test_a_stream_passes_part_by_part() -> None:
    parts: list[bytes] = []
    seen_when_sent: list[int] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(3):
            await send({"type": "http.response.body", "body": b"%d" % number, "more_body": True})
            seen_when_sent.append(len(parts))
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Message) -> None:
        if message.get("body"):
            parts.append(message["body"])

    each: list[RawHeaders] = [[], [AUTHORIZATION], [OWN_JWT]]
    for headers in each:
        parts.clear()
        seen_when_sent.clear()
        await make_instance(make_decider(accepting()), app=app)(
            scope_of("/api/v2/log", headers), _receive_nothing, send
        )
        assert seen_when_sent == [1, 2, 3]


@pytest.mark.parametrize(("path", "root"), [("/api/v2/b", ""), ("/site/api/v2/b", "/site")])
async def test_a_missing_scope_is_named_inside_airflow_as_its_paths_are_known_to_scopes(path: str, root: str) -> None:
    limited = Identity("alice", "first", scopes=(parse_scope("GET /api/v2/a"),))
    instance = make_instance(make_decider(scripted("first", Accept(limited))))

    sent = await ask(instance, path, [(b"authorization", GOOD.encode())], root=root)

    assert sent.status == 403
    assert sent.values(b"www-authenticate") == [b'Bearer error="insufficient_scope", scope="GET:/api/v2/b"']
