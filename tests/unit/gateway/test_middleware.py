"""The gate: what passes as it is, what is dropped, what is refused."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import flask
import pytest

from compat_auth.composition.rules import HEALTH
from compat_auth.credentials import Absent, Basic
from compat_auth.errors import BackendUnavailable
from compat_auth.gateway.authorization import PathRequirement
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.forwarding import INTAKE, RENEW
from compat_auth.gateway.middleware import Gate
from compat_auth.http.asgi import Message, RawHeaders
from compat_auth.http.error_responses import ErrorStyle
from compat_auth.http.paths import AIRFLOW_RESTS, Prefixes
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Reject, Skip
from compat_auth.requirements import Requirements
from compat_auth.scopes import parse_scope
from support.stand_ins import (
    GOOD,
    Behind,
    Sent,
    accepting,
    basic,
    call,
    http_scope,
    make_decider,
    make_gate,
    rules,
    scripted,
    token_for,
)

AUTHORIZATION = (b"authorization", GOOD.encode())
BASIC_CHALLENGE = 'Basic realm="Airflow", charset="UTF-8"'


@pytest.fixture
def behind() -> Behind:
    return Behind()


@pytest.fixture
def gate(behind: Behind) -> Gate:
    return make_gate(behind, make_decider(accepting()))


def refusing(behind: Behind, style: ErrorStyle | None = None, decider: Decider | None = None) -> Gate:
    backend = scripted("basic_auth", Reject("wrong"), invites=(BASIC_CHALLENGE,))
    return make_gate(behind, decider or make_decider(backend), gate_rules=rules(style=style))


async def test_an_accepted_credential_goes_on_as_a_token_and_never_itself(gate: Gate, behind: Behind) -> None:
    sent = await call(gate, http_scope(headers=[AUTHORIZATION]))

    assert sent.status == 200
    assert behind.values(b"authorization") == [b"Bearer token-of-alice-0"]
    assert GOOD.split()[1] not in repr(behind.scopes[0]["headers"])


async def test_an_accepted_caller_has_one_identity(gate: Gate, behind: Behind) -> None:
    cookies = (b"cookie", b"_token=theirs; session=theirs; ours=1; theme=dark")

    await call(gate, http_scope(headers=[AUTHORIZATION, cookies]))

    assert behind.values(b"cookie") == [b"theme=dark"]


async def test_identity_and_forward_headers_from_outside_are_dropped(gate: Gate, behind: Behind) -> None:
    forged: RawHeaders = [
        (b"remote-user", b"admin"),
        (b"x-forwarded-user", b"admin"),
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"x-compat-auth-user", b"admin"),
        (b"x-kept", b"1"),
    ]

    await call(gate, http_scope(headers=[AUTHORIZATION, *forged]))
    await call(gate, http_scope(b"/ui", headers=forged))

    for scope in behind.scopes:
        names = {name for name, _ in scope["headers"]}
        assert names <= {b"host", b"x-kept", b"x-request-id", b"authorization"}


@pytest.mark.parametrize("token", [b"Bearer eyJ.abc.def", b"bearer opaque"])
async def test_a_bearer_that_no_backend_takes_is_the_upstreams_own(gate: Gate, behind: Behind, token: bytes) -> None:
    cookies = (b"cookie", b"_token=theirs; ours=1")

    await call(gate, http_scope(headers=[(b"authorization", token), cookies]))

    assert behind.values(b"authorization") == [token]
    assert behind.values(b"cookie") == [b"_token=theirs"]
    assert behind.scopes[0]["extensions"][RENEW] is None


@pytest.mark.parametrize("cookie", [b"_token=theirs", b"session=theirs", b"a=1; _token=theirs"])
async def test_the_upstreams_own_login_cookie_passes_unchanged(gate: Gate, behind: Behind, cookie: bytes) -> None:
    sent = await call(gate, http_scope(headers=[(b"cookie", cookie)]))

    assert sent.status == 200
    assert behind.values(b"cookie") == [cookie]
    assert behind.values(b"authorization") == []


async def test_the_upstreams_token_cookie_wins_over_a_session_of_ours_without_a_check(behind: Behind) -> None:
    backend = scripted("session", Reject("x"), takes=frozenset({Absent}), alike=False)
    gate = make_gate(behind, make_decider(backend))

    await call(gate, http_scope(headers=[(b"cookie", b"_token=theirs; ours=1")]))

    assert backend.asked == []
    assert behind.values(b"cookie") == [b"_token=theirs"]


async def test_a_session_that_a_backend_refuses_does_not_pass_as_the_upstreams(behind: Behind) -> None:
    backend = scripted("session", Reject("disabled"), takes=frozenset({Absent}), alike=False)
    gate = make_gate(behind, make_decider(backend))

    sent = await call(gate, http_scope(headers=[(b"cookie", b"session=theirs")]))

    assert sent.status == 401
    assert behind.scopes == []


@pytest.mark.parametrize("path", [b"/", b"/ui/dags", b"/auth/login/", b"/apix"])
async def test_an_unprotected_path_passes_as_it_is_but_for_our_own_cookies(
    gate: Gate, behind: Behind, path: bytes
) -> None:
    headers: RawHeaders = [(b"authorization", b"Bearer theirs"), (b"cookie", b"_token=t; ours=1")]

    sent = await call(gate, http_scope(path, headers))

    assert sent.status == 200
    assert behind.values(b"authorization") == [b"Bearer theirs"]
    assert behind.values(b"cookie") == [b"_token=t"]


OUR_CREDENTIALS = (
    GOOD.encode(),
    b"Basic !!!",
    b"basic YTpi",
    b"BASIC\tYTpi",
    b" Basic  YTpi",
    b"Basic",
    b"Bearer theirs, Basic YTpi",
    b"Digest a=b,Basic YTpi",
    b"Negotiate YIIabc",
    b"negotiate YIIabc",
)


@pytest.mark.parametrize("credential", OUR_CREDENTIALS)
async def test_a_password_or_ticket_never_goes_on_where_nobody_has_to_be_known(
    gate: Gate, behind: Behind, credential: bytes
) -> None:
    sent = await call(gate, http_scope(b"/ui/dags", [(b"authorization", credential), (b"cookie", b"_token=t")]))

    assert sent.status == 200
    assert behind.values(b"authorization") == []
    assert behind.values(b"cookie") == [b"_token=t"]


@pytest.mark.parametrize(
    "credential", [b"Bearer a-basic-negotiate", b"Basically x", b"AWS4-HMAC-SHA256 a=b", b"Token basic.x"]
)
async def test_the_upstreams_own_kinds_of_credentials_go_on_where_nobody_has_to_be_known(
    gate: Gate, behind: Behind, credential: bytes
) -> None:
    await call(gate, http_scope(b"/ui/dags", [(b"authorization", credential)]))

    assert behind.values(b"authorization") == [credential]


async def test_the_way_to_the_upstreams_own_login_needs_no_decision(behind: Behind) -> None:
    gate = make_gate(behind, make_decider(), gate_rules=replace(rules(), to_login=frozenset((b"/api/v2/auth/login",))))

    statuses = [
        (await call(gate, http_scope(path))).status
        for path in (b"/api/v2/auth/login", b"/api/v2/auth/login/", b"/api/v2/auth/logins", b"/api/v2/auth")
    ]

    assert statuses == [200, 401, 401, 401]


@pytest.mark.parametrize("cookie", [b"session=valid", b"_token=valid"])
async def test_an_explicit_credential_that_is_wrong_beats_a_cookie(behind: Behind, cookie: bytes) -> None:
    password = scripted("basic_auth", Reject("wrong"), invites=(BASIC_CHALLENGE,))
    session = scripted("session", Accept(Identity("bob", "session")), takes=frozenset({Absent}), alike=False)
    for backends in ((password, session), (session, password)):
        sent = await call(
            make_gate(behind, make_decider(*backends)), http_scope(headers=[AUTHORIZATION, (b"cookie", cookie)])
        )

        assert sent.status == 401
    assert behind.scopes == []


async def test_nothing_at_all_is_401_with_every_challenge(behind: Behind) -> None:
    tickets = scripted("kerberos", Skip(), invites=("Negotiate",))
    password = scripted("basic_auth", Skip(), invites=(BASIC_CHALLENGE,))

    sent = await call(make_gate(behind, make_decider(tickets, password)), http_scope())

    assert sent.status == 401
    assert sent.values(b"www-authenticate") == [b"Negotiate", BASIC_CHALLENGE.encode()]
    assert sent.values(b"content-type") == [b"application/problem+json"]
    assert sent.values(b"cache-control") == [b"no-store"]
    assert behind.scopes == []


async def test_a_cookie_that_is_nobodys_identity_is_401(gate: Gate, behind: Behind) -> None:
    sent = await call(gate, http_scope(headers=[(b"cookie", b"theme=dark; ours=1")]))

    assert sent.status == 401
    assert behind.scopes == []


async def test_another_scheme_is_401_and_never_passes(gate: Gate, behind: Behind) -> None:
    sent = await call(gate, http_scope(headers=[(b"authorization", b"Foo abc"), (b"cookie", b"session=1")]))

    assert sent.status == 401
    assert behind.scopes == []


@pytest.mark.parametrize("headers", [[], [AUTHORIZATION], [(b"authorization", b"Basic !!!")]])
@pytest.mark.parametrize(
    ("style", "status", "title"),
    [
        (ErrorStyle(), 401, "Unauthorized"),
        (ErrorStyle("airflow2"), 401, "Unauthorized"),
        (ErrorStyle("airflow2", public_role=True), 403, "Forbidden"),
    ],
)
async def test_every_refusal_is_worded_in_the_configured_style(
    behind: Behind, headers: RawHeaders, style: ErrorStyle, status: int, title: str
) -> None:
    sent = await call(refusing(behind, style), http_scope(headers=headers))

    body = json.loads(sent.body)
    assert (sent.status, body["title"]) == (status, title)
    assert ("Errors/" in body["type"]) == (style.mode == "airflow2")
    assert bool(sent.values(b"www-authenticate")) == (status == 401)


async def test_a_source_that_is_down_is_503_with_a_time_to_come_back(behind: Behind) -> None:
    gate = make_gate(behind, make_decider(scripted("basic_auth", BackendUnavailable("ldap://10.0.0.7"))))

    sent = await call(gate, http_scope(headers=[AUTHORIZATION]))

    assert sent.status == 503
    assert sent.values(b"retry-after") == [b"5"]
    assert b"10.0.0.7" not in sent.body


async def test_a_backend_that_breaks_is_no_500(behind: Behind) -> None:
    gate = make_gate(behind, make_decider(scripted("basic_auth", RuntimeError("secret"))))

    sent = await call(gate, http_scope(headers=[AUTHORIZATION]))

    assert sent.status == 503
    assert b"secret" not in sent.body


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
async def test_a_method_that_echoes_credentials_or_tunnels_is_501(gate: Gate, behind: Behind, method: str) -> None:
    sent = await call(gate, http_scope(method=method))

    assert sent.status == 501
    assert behind.scopes == []


@pytest.mark.parametrize(
    "scope",
    [
        pytest.param(http_scope(b"/api/../secret"), id="dot-segment"),
        pytest.param(http_scope(b"//api/../x"), id="empty-and-dot-segment"),
        pytest.param(http_scope(query=b"a#b"), id="query"),
        pytest.param(http_scope(host=b"a b"), id="host"),
        pytest.param(http_scope(headers=[(b"host", b"second")]), id="two-hosts"),
        pytest.param(http_scope(headers=[AUTHORIZATION, AUTHORIZATION]), id="two-credentials"),
        pytest.param(
            http_scope(headers=[(b"authorization", GOOD.encode() + b", " + GOOD.encode())]), id="joined-credentials"
        ),
        pytest.param(http_scope(headers=[(b"remote_user", b"admin")]), id="alias"),
    ],
)
@pytest.mark.parametrize("style", [ErrorStyle(), ErrorStyle("airflow2", public_role=True)])
async def test_a_shape_with_two_readings_is_400_in_every_style(
    behind: Behind, scope: dict[str, Any], style: ErrorStyle
) -> None:
    sent = await call(refusing(behind, style), dict(scope))

    assert sent.status == 400
    assert json.loads(sent.body)["detail"]
    assert behind.scopes == []


async def test_the_canonical_path_and_query_are_what_goes_on(gate: Gate, behind: Behind) -> None:
    await call(gate, http_scope(b"/%61pi/zo%c3%ab%2f", [AUTHORIZATION], query="q=zoë".encode()))

    scope = behind.scopes[0]
    assert scope["raw_path"] == b"/api/zo%C3%AB%2F"
    assert scope["path"] == "/api/zoë/"
    assert scope["query_string"] == b"q=zo%C3%AB"
    assert scope["extensions"][INTAKE].path == b"/api/zo%C3%AB%2F"


async def test_an_encoded_slash_does_not_lead_around_the_fence(behind: Behind) -> None:
    sent = await call(refusing(behind), http_scope(b"/api%2Fv2"))

    assert sent.status == 401


async def test_the_headers_of_a_success_reach_the_client(behind: Behind) -> None:
    accept = Accept(Identity("zoë", "kerberos"), (("WWW-Authenticate", "Negotiate oRQw"),))
    gate = make_gate(behind, make_decider(scripted("kerberos", accept)))

    sent = await call(gate, http_scope(headers=[AUTHORIZATION]))

    assert sent.status == 200
    assert sent.values(b"www-authenticate") == [b"Negotiate oRQw"]


async def test_a_warm_credential_is_answered_without_asking_a_backend(behind: Behind) -> None:
    backend = accepting()
    gate = make_gate(behind, make_decider(backend))

    for _ in range(3):
        await call(gate, http_scope(headers=[AUTHORIZATION]))

    assert len(backend.asked) == 1
    assert len(behind.scopes) == 3


async def test_what_stands_behind_can_ask_for_another_token(behind: Behind) -> None:
    numbers = iter(range(9))
    decider = make_decider(accepting(), obtain=lambda identity, *_: token_for(identity, next(numbers)))
    gate = make_gate(behind, decider)
    await call(gate, http_scope(headers=[AUTHORIZATION]))
    renew = behind.scopes[0]["extensions"][RENEW]

    assert await renew() == b"Bearer token-of-alice-1"


async def test_there_may_be_no_other_token(gate: Gate, behind: Behind) -> None:
    await call(gate, http_scope(headers=[AUTHORIZATION]))

    assert await behind.scopes[0]["extensions"][RENEW]() is None


async def test_two_users_at_once_never_share_an_identity(behind: Behind) -> None:
    def who(credential: Any) -> Accept:
        assert isinstance(credential, Basic)
        return Accept(Identity(credential.username, "basic_auth"), reusable_s=60)

    gate = make_gate(behind, make_decider(scripted("basic_auth", who)))
    names = [f"user{number % 7}" for number in range(70)]
    scopes = [http_scope(headers=[(b"authorization", basic(n, "x").encode()), (b"x-name", n.encode())]) for n in names]

    await asyncio.gather(*(call(gate, scope) for scope in scopes))

    assert len(behind.scopes) == 70
    for scope in behind.scopes:
        headers = dict(scope["headers"])
        assert headers[b"authorization"] == b"Bearer token-of-" + headers[b"x-name"] + b"-0"


async def test_a_page_of_ours_that_is_none_is_404(gate: Gate, behind: Behind) -> None:
    sent = await call(gate, http_scope(b"/compat-auth/nowhere"))

    assert sent.status == 404
    assert behind.scopes == []


async def test_the_servers_own_messages_pass_through(behind: Behind) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    await make_gate(app, make_decider(accepting()))({"type": "lifespan"}, _connected, _nowhere)

    assert seen == ["lifespan"]


async def _connected() -> Message:
    return {"type": "websocket.connect"}


async def _nowhere(_message: Message) -> None: ...


async def test_a_websocket_is_501_with_a_clear_message(gate: Gate, behind: Behind) -> None:
    sent = Sent()

    async def send(message: Message) -> None:
        sent.messages.append(message)

    await gate({"type": "websocket", "extensions": {"websocket.http.response": {}}}, _connected, send)

    assert sent.status == 501
    assert b"not passed on" in sent.body
    assert behind.scopes == []


@pytest.mark.parametrize("extensions", [{}, None])
async def test_a_websocket_is_closed_where_the_server_can_say_no_more(gate: Gate, extensions: Any) -> None:
    sent = Sent()

    async def send(message: Message) -> None:
        sent.messages.append(message)

    await gate({"type": "websocket", "extensions": extensions}, _connected, send)

    assert [message["type"] for message in sent.messages] == ["websocket.close"]


async def test_data_with_two_slashes_is_judged_as_it_goes_on(behind: Behind) -> None:
    about = PathRequirement(Prefixes(["/api/v2/variables/a/"]), frozenset(), Requirements(("role:nobody",), ()))
    gate = make_gate(
        behind, make_decider(accepting()), gate_rules=replace(rules(), rests=AIRFLOW_RESTS, requirements=(about,))
    )

    refused = await call(gate, http_scope(b"/api/v2/variables/a//b", [AUTHORIZATION]))
    passed = await call(gate, http_scope(b"/api/v2/variables/c//d", [AUTHORIZATION]))

    assert (refused.status, passed.status) == (403, 200)
    assert [(scope["raw_path"], scope["path"]) for scope in behind.scopes] == [
        (b"/api/v2/variables/c%2F%2Fd", "/api/v2/variables/c//d")
    ]


@pytest.mark.parametrize(
    ("granted", "status"),
    [
        ("GET /api/v2/variables/", 200),
        ("GET /api/v2/variables/a/", 403),
        ("GET /api/v2/variables/a", 403),
    ],
)
async def test_no_scope_on_the_beginning_of_a_key_covers_the_key(behind: Behind, granted: str, status: int) -> None:
    limited = Accept(Identity("alice", "first", scopes=(parse_scope(granted),)))
    gate = make_gate(behind, make_decider(scripted("first", limited)), gate_rules=replace(rules(), rests=AIRFLOW_RESTS))

    sent = await call(gate, http_scope(b"/api/v2/variables/a//b", [AUTHORIZATION]))

    assert sent.status == status


@pytest.mark.parametrize("path", [b"/health", b"/api/v1/health", b"/api/v2/monitor/health"])
@pytest.mark.parametrize("headers", [[], [(b"host", b"")]], ids=["no-host", "empty-host"])
async def test_the_upstreams_health_is_shown_without_a_host(behind: Behind, path: bytes, headers: RawHeaders) -> None:
    gate = make_gate(
        behind, make_decider(accepting()), gate_rules=replace(rules(), health=HEALTH, protect=Prefixes(["/x/"]))
    )

    sent = await call(gate, {**http_scope(path), "headers": headers})

    assert sent.status == 200
    assert behind.values(b"host") == []


async def test_elsewhere_a_request_of_1_1_needs_a_host(gate: Gate, behind: Behind) -> None:
    sent = await call(gate, {**http_scope(), "headers": [AUTHORIZATION]})

    assert sent.status == 400
    assert behind.scopes == []


async def test_a_backend_sees_a_request_without_host_as_one_to_localhost(behind: Behind) -> None:
    seen: list[str] = []

    def look(_credential: object) -> Accept:
        seen.append(flask.request.host)
        return Accept(Identity("alice", "first"))

    gate = make_gate(behind, make_decider(scripted("first", look)))

    sent = await call(gate, {**http_scope(), "headers": [AUTHORIZATION], "http_version": "1.0"})

    assert (sent.status, seen) == (200, ["localhost"])
