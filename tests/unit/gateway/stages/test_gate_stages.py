"""Stages at a gate: requests, forward-auth, the lane, and tokens that a staged login has made."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, cast

import pytest
from flask import Flask

from compat_auth.authn.upstream_tokens import set_upstream_tokens
from compat_auth.errors import BackendUnavailable
from compat_auth.gateway.middleware import Gate
from compat_auth.http.asgi import ASGIApp, RawHeaders
from compat_auth.identity import Identity
from compat_auth.outcome import Accept
from compat_auth.stages.of_app import stages_of
from compat_auth.stages.rules import StageRule, Window
from compat_auth.tokens.issued import IssuedTokens, TokenOrigin
from support.staged import NOON, PAGE, FixedMemory, Moment, brownout, rule, staged_app
from support.stand_ins import (
    GOOD,
    Behind,
    Sent,
    call,
    http_scope,
    make_airflow,
    make_decider,
    make_gate,
    rules,
    scripted,
)

BASIC = (b"authorization", GOOD.encode())
BEARER = (b"authorization", b"Bearer made-by-a-password")
FRONT = "10.0.0.1"
PAGE_LINK = f'<{PAGE}>; rel="sunset", <{PAGE}>; rel="deprecation"'.encode()


class Issued(IssuedTokens):
    """Knows where the test's tokens came from."""

    def __init__(self, **origins: TokenOrigin) -> None:
        object.__setattr__(self, "origins", origins)
        object.__setattr__(self, "asked", [])

    def origin_of(self, token: str) -> TokenOrigin | None:
        found = cast("Any", self)
        found.asked.append(token)
        if isinstance(found.origins.get("away"), TokenOrigin):
            raise BackendUnavailable("away")
        return cast("TokenOrigin | None", found.origins.get(token.replace("-", "_")))

    __slots__ = ("asked", "origins")


def backend(identity: Identity | None = None) -> Any:
    return scripted(
        "basic_auth", Accept(identity or Identity("alice", "basic_auth"), reusable_s=60), invites=("Basic",)
    )


def app_of(*staged: StageRule, now: Moment | None = None, issued: Issued | None = None) -> Flask:
    app = staged_app(
        *staged,
        now=now,
        backends=(backend(), scripted("personal_token", Accept(Identity("a", "b")), invites=("Bearer",))),
    )
    set_upstream_tokens(app, issued or Issued())
    return app


def gate_of(
    *staged: StageRule,
    now: Moment | None = None,
    issued: Issued | None = None,
    identity: Identity | None = None,
    behind: ASGIApp | None = None,
    app: Flask | None = None,
) -> Gate:
    decider = make_decider(backend(identity), app=app or app_of(*staged, now=now, issued=issued))
    return make_gate(behind or Behind(), decider, trusted=["10.0.0.0/8"])


async def send(
    gate: ASGIApp, *headers: tuple[bytes, bytes], path: bytes = b"/api/v2/dags", method: str = "GET"
) -> Sent:
    return await call(gate, http_scope(path, list(headers or [BASIC]), method=method, client=FRONT))


async def ask(gate: Gate, *headers: tuple[bytes, bytes], page: bytes = b"nginx", uri: bytes = b"/api/v2/dags") -> Sent:
    prefix = b"x-original" if page == b"nginx" else b"x-forwarded"
    told: RawHeaders = [(prefix + b"-uri", uri), (prefix + b"-method", b"GET"), *(headers or [BASIC])]
    return await call(gate, http_scope(b"/compat-auth/forward-auth/" + page, told, client=FRONT))


async def ask_lane(gate: Gate, *headers: tuple[bytes, bytes]) -> Sent:
    return await call(gate, http_scope(b"/compat-auth/forward-auth/lane", list(headers or [BASIC]), client=FRONT))


class Announcing:
    """Answers with an announcement of its own."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        told = [(b"deprecation", b"@1"), (b"link", b'</api/v2/dags>; rel="successor-version"'), (b"x-own", b"yes")]
        await send({"type": "http.response.start", "status": 200, "headers": told})
        await send({"type": "http.response.body", "body": b""})


async def test_a_warned_login_goes_on_with_an_announcement() -> None:
    gate = gate_of(rule("warn", "basic_auth", deprecated=NOON, sunset=NOON + 86400))

    sent = await send(gate)

    assert sent.status == 200
    assert sent.values(b"deprecation") == [b"@1800000000"]
    assert sent.values(b"sunset") == [b"Sat, 16 Jan 2027 08:00:00 GMT"]
    assert sent.values(b"link") == [PAGE_LINK]


async def test_an_announcement_replaces_the_one_of_the_operation() -> None:
    gate = gate_of(rule("warn", "basic_auth", deprecated=NOON), behind=Announcing())

    sent = await send(gate)

    assert sent.values(b"deprecation") == [b"@1800000000"]
    assert sent.values(b"link") == [b'</api/v2/dags>; rel="successor-version"', PAGE_LINK]
    assert sent.values(b"x-own") == [b"yes"]


async def test_a_login_that_is_on_is_answered_as_before() -> None:
    sent = await send(gate_of(rule("warn", "kerberos"), behind=Announcing()))

    assert sent.values(b"deprecation") == [b"@1"]


@pytest.mark.parametrize("status", [410, 401])
async def test_a_brownout_is_a_problem_with_its_end(status: int) -> None:
    now = Moment(NOON + 15)
    gate = gate_of(brownout(NOON, 60, "basic_auth", status=status), now=now)

    refused = await send(gate)
    now.second = NOON + 60
    again = await send(gate)

    problem = json.loads(refused.body)
    assert (refused.status, again.status) == (status, 200)
    assert refused.values(b"content-type") == [b"application/problem+json"]
    assert refused.values(b"retry-after") == [b"45"]
    assert refused.values(b"link") == [PAGE_LINK]
    assert refused.values(b"cache-control") == [b"no-store"]
    assert (problem["status"], "2027-01-15T08:01:00Z" in problem["detail"]) == (status, True)
    assert bool(refused.values(b"www-authenticate")) == (status == 401)


async def test_a_remembered_credential_is_refused_with_the_second_in_which_the_window_begins() -> None:
    now = Moment(NOON - 0.001)
    gate = gate_of(brownout(NOON, 60, "basic_auth"), now=now)

    before = await send(gate)
    now.second = NOON
    after = await send(gate)

    assert (before.status, after.status) == (200, 410)


async def test_off_names_the_logins_that_still_work() -> None:
    sent = await send(gate_of(rule("off", "basic_auth")))

    assert sent.status == 401
    assert [value.partition(b" ")[0] for value in sent.values(b"www-authenticate")] == [b"Bearer"]
    assert b"switched off" in sent.body


async def test_nobody_learns_of_a_stage_without_a_right_credential() -> None:
    plain = make_gate(Behind(), make_decider(backend()), trusted=["10.0.0.0/8"])
    staged = gate_of(rule("off", "basic_auth"))

    answers = [
        (sent.status, sorted(header for header in sent.headers if header[0] != b"x-request-id"), sent.body)
        for gate in (plain, staged)
        for sent in [await send(gate, (b"authorization", b"Negotiate YIIabc"))]
    ]

    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("path", "method", "headers"),
    [
        pytest.param(b"/api/v2/dags", "HEAD", (), id="head-for-get"),
        pytest.param(b"/api/v2/%64ags", "GET", (), id="encoded-letter"),
        pytest.param(b"/api/v2/dags/", "GET", (), id="last-slash"),
        pytest.param(b"/api/v2/dags", "POST", ((b"x-http-method-override", b"get"),), id="override"),
    ],
)
async def test_no_spelling_of_an_operation_escapes(
    path: bytes, method: str, headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    gate = gate_of(rule("off", operation="GET /api/v2/dags"))

    sent = await send(gate, BASIC, *headers, path=path, method=method)

    assert sent.status == 401


async def test_a_caller_who_acts_for_another_user_uses_a_login_of_its_own() -> None:
    acting = Identity("alice", "basic_auth", actor="robot")

    assert (await send(gate_of(rule("off", principal="robot"), identity=acting))).status == 401
    assert (await send(gate_of(rule("off", principal="alice"), identity=acting))).status == 200


async def test_a_session_that_a_staged_login_began_is_staged() -> None:
    session = Identity("alice", "session", login="basic_auth")

    assert (await send(gate_of(rule("off", "basic_auth"), identity=session))).status == 401


@pytest.mark.parametrize(
    "credential",
    [pytest.param(BEARER, id="bearer"), pytest.param((b"cookie", b"_token=made-by-a-password"), id="cookie")],
)
async def test_a_token_that_a_staged_login_has_made_is_staged(credential: tuple[bytes, bytes]) -> None:
    issued = Issued(made_by_a_password=TokenOrigin("alice", ("basic_auth",)))
    now = Moment(NOON - 1)
    gate = gate_of(brownout(NOON, 60, "basic_auth", deprecated=NOON), now=now, issued=issued)

    before = await send(gate, credential)
    now.second = NOON
    refused = await send(gate, credential)
    elsewhere = await send(gate, credential, path=b"/ui/dags")

    assert (before.status, before.values(b"deprecation")) == (200, [b"@1800000000"])
    assert (refused.status, elsewhere.status) == (410, 410)
    assert cast("Any", issued).asked == ["made-by-a-password"]


@pytest.mark.parametrize("path", [b"/api/v2/dags", b"/ui/dags"], ids=["guarded", "unguarded"])
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(rb'"made\055by-a-password"', id="octal-escapes"),
        pytest.param(b'"made-by-a-password"', id="quoted"),
        pytest.param(b"made by-a-password", id="blank"),
        pytest.param(b"\xa0made-by-a-password", id="outside-ascii"),
    ],
)
async def test_a_cookie_that_parsers_read_in_several_ways_is_refused_while_anything_is_staged(
    value: bytes, path: bytes
) -> None:
    cookie = (b"cookie", b"_token=" + value)

    staged = await send(gate_of(rule("off", "basic_auth")), cookie, path=path)
    excepted = await send(gate_of(rule("on", "basic_auth")), cookie, path=path)

    assert (staged.status, excepted.status) == (401, 200)


@pytest.mark.parametrize("value", [b"", b'""'], ids=["empty", "quoted"])
async def test_an_empty_cookie_is_no_login(value: bytes) -> None:
    gate = gate_of(rule("off", "basic_auth"))

    assert (await send(gate, (b"cookie", b"_token=" + value), path=b"/ui/dags")).status == 200


@pytest.mark.parametrize(
    "authorization",
    [
        pytest.param(b"Basic !", id="malformed-basic"),
        pytest.param(b"Bearer !", id="malformed-bearer"),
        pytest.param(b"Bearer \xff", id="outside-ascii"),
        pytest.param(b"Negotiate YII!", id="malformed-negotiate"),
    ],
)
async def test_a_malformed_header_hides_no_cookie(authorization: bytes) -> None:
    issued = Issued(made_by_a_password=TokenOrigin("alice", ("basic_auth",)))
    gate = gate_of(rule("off", "basic_auth"), issued=issued)
    cookie = (b"cookie", b"_token=made-by-a-password")

    sent = await send(gate, (b"authorization", authorization), cookie, path=b"/ui/dags")

    assert sent.status == 401


@pytest.mark.parametrize("spelling", ["made-by-a-password!", "made-by-a-password =", "\xa0made-by-a-password\xa0"])
async def test_a_malformed_bearer_is_judged_as_the_upstream_may_read_it(spelling: str) -> None:
    issued = Issued(**{spelling.strip().replace("-", "_"): TokenOrigin("alice", ("basic_auth",))})
    gate = gate_of(rule("off", "basic_auth"), issued=issued)
    bearer = (b"authorization", b"Bearer " + spelling.encode("latin-1"))

    assert (await send(gate, bearer, path=b"/ui/dags")).status == 401


async def test_a_throttle_counts_a_request_with_two_tokens_of_one_login_once() -> None:
    alice = TokenOrigin("alice", ("basic_auth",))
    issued = Issued(made_by_a_password=alice, in_the_cookie=alice)
    gate = gate_of(rule("throttle", "basic_auth", per_minute=2), issued=issued)
    cookie = (b"cookie", b"_token=in-the-cookie")

    answers = [(await send(gate, BEARER, cookie)).status for _ in range(3)]

    assert answers == [200, 200, 429]


async def test_a_browser_may_still_log_out() -> None:
    issued = Issued(made_by_a_password=TokenOrigin("alice", ("basic_auth",)))
    decider = make_decider(backend(), app=app_of(rule("off", "basic_auth"), issued=issued))
    gate = make_gate(Behind(), decider, gate_rules=replace(rules(), logouts=frozenset((b"/auth/logout",))))

    sent = await send(gate, (b"cookie", b"_token=made-by-a-password"), path=b"/auth/logout")

    assert sent.status == 200


async def test_another_token_of_the_upstream_is_not_staged() -> None:
    gate = gate_of(rule("off", "basic_auth"))

    assert (await send(gate, BEARER)).status == 200


async def test_an_operation_can_be_staged_for_every_caller() -> None:
    gate = gate_of(rule("off", operation="v1"))

    assert (await send(gate, BEARER, path=b"/api/v1/dags")).status == 401
    assert (await send(gate, BEARER)).status == 200


async def test_a_token_whose_origin_cannot_be_found_is_not_forwarded() -> None:
    gate = gate_of(rule("off", "basic_auth"), issued=Issued(away=TokenOrigin("", ())))

    assert (await send(gate, BEARER)).status == 503


async def test_rules_that_were_never_read_let_nobody_in() -> None:
    class Unread(FixedMemory):
        def current(self) -> Any:
            raise BackendUnavailable("database_url: cannot be asked")

    app = app_of()
    stages = stages_of(app)
    unread = Unread()
    unread.rules = None
    cast("Any", stages).memory = unread

    assert (await send(gate_of(app=app))).status == 503
    assert (await ask_lane(gate_of(app=app))).status == 401


@pytest.mark.parametrize(("page", "status"), [(b"nginx", 401), (b"traefik", 410), (b"caddy", 410)])
async def test_forward_auth_refuses_in_a_way_that_the_front_proxy_passes_on(page: bytes, status: int) -> None:
    now = Moment(NOON + 15)
    gate = gate_of(brownout(NOON, 60, "basic_auth"), now=now)

    refused = await ask(gate, page=page)
    now.second = NOON + 60
    again = await ask(gate, page=page)

    assert (refused.status, refused.values(b"retry-after"), again.status) == (status, [b"45"], 200)


async def test_forward_auth_sends_the_announcement_with_its_yes() -> None:
    sent = await ask(gate_of(rule("warn", "basic_auth", deprecated=NOON)))

    assert (sent.status, sent.values(b"deprecation")) == (200, [b"@1800000000"])


async def test_forward_auth_judges_the_method_that_overrides() -> None:
    gate = gate_of(rule("off", operation="DELETE /api/v2/dags"))

    assert (await ask(gate, BASIC, (b"x-http-method-override", b"DELETE"))).status == 401
    assert (await ask(gate)).status == 200


@pytest.mark.parametrize(
    "staged",
    [
        pytest.param(rule("warn", "basic_auth"), id="warn"),
        pytest.param(brownout(NOON + 86400, 60, "basic_auth"), id="brownout-tomorrow"),
        pytest.param(rule("throttle", "basic_auth", per_minute=1000), id="throttle"),
        pytest.param(rule("off", operation="v1"), id="one-operation"),
        pytest.param(rule("warn", principal="ALICE"), id="one-user"),
        pytest.param(
            rule("brownout", windows=(Window(NOON + 1, 5),), principal="alice"), id="brownout-within-a-second"
        ),
    ],
)
async def test_the_lane_leaves_a_credential_that_a_stage_could_concern_to_the_gateway(staged: StageRule) -> None:
    gate = gate_of(staged)
    assert (await send(gate)).status == 200

    sent = await ask_lane(gate)

    assert (sent.status, sent.body, sent.values(b"www-authenticate")) == (401, b"", [])


@pytest.mark.parametrize(
    "staged",
    [
        pytest.param((), id="no-rule"),
        pytest.param((rule("off", "kerberos"),), id="another-backend"),
        pytest.param((rule("off", principal="bob"),), id="another-user"),
        pytest.param((rule("warn", "basic_auth", until=NOON),), id="a-rule-that-has-ended"),
    ],
)
async def test_the_lane_answers_for_every_other_credential(staged: tuple[StageRule, ...]) -> None:
    gate = gate_of(*staged)
    assert (await send(gate)).status == 200

    assert (await ask_lane(gate)).status == 200


async def test_the_lane_answers_for_a_token_once_its_origin_is_known() -> None:
    issued = Issued(
        theirs=TokenOrigin("bob", ("personal_token",)), made_by_a_password=TokenOrigin("alice", ("basic_auth",))
    )
    gate = gate_of(rule("off", "basic_auth", until=NOON + 60), issued=issued)
    theirs = (b"authorization", b"Bearer theirs")

    unknown = await ask_lane(gate, theirs)
    passed = await send(gate, theirs)
    refused = await send(gate, BEARER)

    assert (unknown.status, passed.status, refused.status) == (401, 200, 401)
    assert (await ask_lane(gate, theirs)).status == 200
    assert (await ask_lane(gate, BEARER)).status == 401


async def test_the_plugin_stages_what_airflow_itself_would_believe() -> None:
    issued = Issued(made_by_a_password=TokenOrigin("alice", ("basic_auth",)))
    decider = make_decider(backend(), app=app_of(rule("off", "basic_auth"), issued=issued))
    plugin = make_airflow(Behind(), decider, rules(), ["/api/", "/compat-auth/"])

    assert (await send(plugin)).status == 401
    assert (await send(plugin, BEARER)).status == 401
    assert (await send(plugin, BEARER, path=b"/ui/dags")).status == 401
    assert (await send(plugin, BEARER, path=b"/execution/x")).status == 200
    assert (await send(plugin, (b"authorization", b"Bearer another"))).status == 200


async def test_the_plugin_announces_the_end_of_a_token() -> None:
    issued = Issued(made_by_a_password=TokenOrigin("alice", ("basic_auth",)))
    decider = make_decider(backend(), app=app_of(rule("warn", "basic_auth", deprecated=NOON), issued=issued))
    plugin = make_airflow(Behind(), decider, rules(), ["/api/", "/compat-auth/"])

    sent = [await send(plugin), await send(plugin, BEARER)]

    assert [one.values(b"deprecation") for one in sent] == [[b"@1800000000"]] * 2
