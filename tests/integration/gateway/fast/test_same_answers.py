"""With the fast paths and without them, client and upstream get the same bytes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from support.fast_world import ALICE, ELSEWHERE, SECRET, Answer, Call, World, get, post, say, worlds

SECRET_LINE = b"X-Compat-Auth-Proxy-Secret: " + SECRET
# The token of each gateway is its own.
_TOKEN = re.compile(rb"Bearer [A-Za-z0-9._-]+")


def without_token(call: Call) -> bytes:
    return _TOKEN.sub(b"Bearer TOKEN", call.head) + call.body


def shown(answer: Answer) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    return answer.status, [(name, _TOKEN.sub(b"Bearer TOKEN", value)) for name, value in answer.headers], answer.body


async def compare(world: World, raw: bytes) -> tuple[Answer, list[bytes]]:
    """Return the answer to a request and what the upstream got, which are the same at both gateways."""
    fast = await world.fast.ask(raw)
    at_fast = [without_token(call) for call in world.upstream.take()]
    ordinary = await world.ordinary.ask(raw)
    at_ordinary = [without_token(call) for call in world.upstream.take()]
    assert shown(fast) == shown(ordinary)
    assert at_fast == at_ordinary
    return fast, at_fast


THEIRS = b"Authorization: Bearer aaa.bbb.ccc"
FAST = {
    "get": get(),
    "upstreams-token": get(authorization=THEIRS),
    "post-with-the-upstreams-token": get(b"/api/v2/x", b"Content-Length: 2", method=b"POST", authorization=THEIRS)
    + b"hi",
    "query": get(b"/api/v2/x?a=1&b=%41|\"'"),
    "empty-query": get(b"/api/v2/x?"),
    "escapes": get(b"/api/v2/dags/a/dagRuns/manual__2024-01-01T00%3a00%3A00%2B00%3A00"),
    "letters-in-escapes": get(b"/api/v2/%41%62"),
    "head": get(method=b"HEAD"),
    "own-headers": get(
        b"/api/v2/x", b"X-One: 1", b"x-two:  2  ", b"X-One: 3", b"Accept: */*", b"X-Bytes: \xff\xc3\xa9"
    ),
    "kept-and-said-so": get(b"/api/v2/x", b"Connection: Keep-Alive", b"Keep-Alive: timeout=5"),
    "proxy-connection": get(b"/api/v2/x", b"Proxy-Connection: keep-alive", b"Proxy-Authorization: Basic YTpi"),
    "foreign-cookies": get(b"/api/v2/x", b"Cookie: theme=dark; lang=de", b"Cookie: more=1"),
    "identity-headers": get(
        b"/api/v2/x", b"Remote-User: root", b"X-Forwarded-User: root", b"X-Auth-Request-Email: a@b"
    ),
    "ours": get(b"/api/v2/x", b"X-Compat-Auth-Cookie: a", b"X-Compat-Auth-User: root"),
    "forwarded": get(
        b"/api/v2/x", b"X-Forwarded-For: 203.0.113.9", b"X-Forwarded-Proto: https", b"X-Forwarded-Host: o.example"
    ),
    "request-id": get(b"/api/v2/x", b"X-Request-Id: an-id"),
    "request-id-in-other-spellings": get(b"/api/v2/x", b"X_Request_Id: a", b"x.request.id: b"),
    "malformed-request-id": get(b"/api/v2/x", b'X-Request-Id: a"b'),
    "two-request-ids": get(b"/api/v2/x", b"X-Request-Id: a", b"X-Request-Id: b"),
    "forwarded-twice": get(b"/api/v2/x", b"X-Forwarded-For: 203.0.113.9", b"X-Forwarded-For: 10.0.0.1, 10.0.0.2"),
    "origin": get(b"/api/v2/x", b"Origin: https://elsewhere.example", b"Sec-Fetch-Site: cross-site"),
    "override": get(b"/api/v2/x", b"X-HTTP-Method-Override: DELETE"),
    "length-zero": get(b"/api/v2/x", b"Content-Length: 0"),
    "post": post(b'{"a": 1}', b"Content-Type: application/json"),
    "empty-post": post(b""),
    "post-without-length": get(method=b"POST"),
    "patch": post(b"x" * 60000, method=b"PATCH"),
    "delete": get(method=b"DELETE"),
    "largest-held-body": post(b"x" * 65536),
    "any-spelling-of-the-scheme": get(authorization=ALICE.replace(b"Basic ", b"bAsIc  ")),
}


@pytest.mark.parametrize("raw", FAST.values(), ids=FAST)
async def test_a_common_request_is_the_same_to_client_and_upstream(world: World, raw: bytes) -> None:
    answer, arrived = await compare(world, raw)

    assert (answer.status, len(arrived)) == (200, 1)
    assert (world.fast.asked, world.ordinary.asked) == (0, 1)


@pytest.mark.parametrize("status", [b"401 Unauthorized", b"403 Forbidden", b"500 Oops"])
async def test_what_the_upstream_says_about_its_own_token_is_asked_once_and_passed_on(
    world: World, status: bytes
) -> None:
    said = b'{"detail": "Invalid JWT token"}'
    world.upstream.script = say(
        b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nWWW-Authenticate: Bearer\r\nContent-Length: %d\r\n\r\n%b"
        % (status, len(said), said)
    )

    answer, arrived = await compare(world, get(authorization=THEIRS))

    assert (answer.status, answer.body, len(arrived)) == (int(status[:3]), said, 1)
    assert world.fast.asked == 0


@pytest.mark.parametrize("name", ["forwarded", "forwarded-twice", "get"])
async def test_what_an_unknown_proxy_says_goes_no_further(distrusting: World, name: str) -> None:
    answer, (arrived,) = await compare(distrusting, FAST[name])

    assert answer.status == 200
    assert b"\r\nX-Forwarded-For: 127.0.0.1\r\n" in arrived
    assert distrusting.fast.asked == 0


ORDINARY = {
    "http-1.0": get().replace(b"HTTP/1.1", b"HTTP/1.0"),
    "close": get(b"/api/v2/x", b"Connection: close"),
    "upgrade": get(b"/api/v2/x", b"Connection: Upgrade", b"Upgrade: h2c"),
    "websocket": get(b"/api/v2/x", b"Connection: Upgrade", b"Upgrade: websocket"),
    "nominated": get(b"/api/v2/x", b"Connection: keep-alive, x-one", b"X-One: 1"),
    "te": get(b"/api/v2/x", b"TE: trailers"),
    "trailer": get(b"/api/v2/x", b"Trailer: x"),
    "chunked": get(b"/api/v2/x", b"Transfer-Encoding: chunked", method=b"POST") + b"2\r\nhi\r\n0\r\n\r\n",
    "get-with-body": get(b"/api/v2/x", b"Content-Length: 2") + b"hi",
    "large-body": post(b"x" * 65537),
    "length-with-zeros": get(b"/api/v2/x", b"Content-Length: 02", method=b"POST") + b"hi",
    "put": post(b"x", method=b"PUT"),
    "options": get(method=b"OPTIONS"),
    "trace": get(method=b"TRACE"),
    "no-credential": get(authorization=b"X-A: b"),
    "wrong-credential": get(authorization=ALICE[:-4] + b"AAA="),
    "two-credentials": get(b"/api/v2/x", ALICE),
    "no-host": get().replace(b"Host: gateway\r\n", b""),
    "two-hosts": get(b"/api/v2/x", b"Host: other"),
    "bad-host": get().replace(b"Host: gateway", b"Host: a/b"),
    "alias": get(b"/api/v2/x", b"X_Remote_User: root"),
    "control-character": get(b"/api/v2/x", b"X-A: a\x01b"),
    "identity-cookie": get(b"/api/v2/x", b"Cookie: a=b; session=evil"),
    "identity-cookie-hidden": get(b"/api/v2/x", b'Cookie: a="b session=evil"'),
    "dot-segment": get(b"/api/v2/../x"),
    "encoded-dots": get(b"/api/v2/%2e%2e/x"),
    "double-slash": get(b"/api//v2/x"),
    "leading-double-slash": get(b"//api/v2/x"),
    "encoded-twice": get(b"/api/v2/%2541"),
    "bad-escape": get(b"/api/v2/%zz"),
    "fragment": get(b"/api/v2/x#y"),
    "absolute-form": get(b"http://gateway/api/v2/x"),
    "unprotected": get(b"/static/x"),
    "own-page": get(b"/compat-auth/live"),
    "no-own-page": get(b"/compat-auth/nothing"),
    "long-target": get(b"/api/v2/" + b"x" * 20000),
    "long-query": get(b"/api/v2/x?" + b"x" * 33000),
    "large-headers": get(b"/api/v2/x", b"X-A: " + b"a" * 62000),
    "forged-post": post(b"x", b"Origin: https://elsewhere.example"),
    "own-post-of-a-browser": post(b"x", b"Origin: http://gateway", b"Sec-Fetch-Site: same-origin"),
}


@pytest.mark.parametrize("raw", ORDINARY.values(), ids=ORDINARY)
async def test_an_unusual_request_takes_the_ordinary_way(world: World, raw: bytes) -> None:
    await compare(world, raw)

    assert world.fast.asked == world.ordinary.asked or b"#" in raw


async def test_the_path_of_the_upstream_s_url_stands_before_the_target(tmp_path: Path) -> None:
    async with worlds(tmp_path, url_path="/below/here/") as world:
        _, (arrived,) = await compare(world, get(b"/api/v2/x?y"))

    assert arrived.startswith(b"GET /below/here/api/v2/x?y HTTP/1.1\r\n")


@pytest.mark.parametrize("path", ["/api/v2/x", "/api/v2/only/x"])
async def test_a_path_with_requirements_takes_the_ordinary_way(tmp_path: Path, path: str) -> None:
    rule = f'{ELSEWHERE}\n[[require]]\npath = "/api/v2/only"\nany_of = ["role:Nobody"]'
    async with worlds(tmp_path, rule) as world:
        answer, arrived = await compare(world, get(path.encode()))

    assert (answer.status, len(arrived)) == ((403, 0) if "only" in path else (200, 1))


async def test_where_a_proxy_names_callers_a_request_with_identity_headers_takes_the_ordinary_way(
    tmp_path: Path,
) -> None:
    settings = 'trusted_proxies = ["127.0.0.1/32"]\nremote_user = { proxies = ["127.0.0.1/32"] }'
    async with worlds(tmp_path, settings, backends='["remote_user", "basic_auth"]') as world:
        await compare(world, get())
        asked_without = world.fast.asked
        await compare(world, get(b"/api/v2/x", b"X-Forwarded-User: user1"))

    assert (asked_without, world.fast.asked) == (0, 1)


@pytest.mark.parametrize("query", [b"", b"?doAs=bob", b"?a=b"])
async def test_a_user_named_in_the_query_is_refused_where_callers_may_act_for_others(
    tmp_path: Path, query: bytes
) -> None:
    rule = 'trusted_proxies = ["127.0.0.1/32"]\nlookup = { directories = ["htpasswd"] }\n[[do_as]]\ncallers = ["alice"]\nusers = ["user1"]'
    async with worlds(tmp_path, rule) as world:
        for gateway in (world.fast, world.ordinary):
            await gateway.ask(asked_by_proxy())
        world.fast.asked = 0
        forwarded, _ = await compare(world, get(b"/api/v2/x" + query))
        asked, _ = await compare(world, asked_by_proxy(b"X-Original-URI: /api/v2/x" + query, b"X-Original-Method: GET"))
        acting, _ = await compare(world, get(b"/api/v2/x", b"X-Do-As: user1"))

    assert (forwarded.status, asked.status) == ((400, 400) if b"doAs" in query else (200, 200))
    assert (acting.status, world.fast.asked) == (200, 3 if b"doAs" in query else 1)


def asked_by_proxy(
    *lines: bytes, secret: bytes = SECRET_LINE, page: bytes = b"nginx", authorization: bytes = ALICE
) -> bytes:
    about = lines or (b"X-Original-URI: /api/v2/x?y=1", b"X-Original-Method: GET")
    return get(b"/compat-auth/forward-auth/" + page, secret, *about, authorization=authorization)


YES = {
    "nginx": asked_by_proxy(),
    "caddy": asked_by_proxy(b"X-Forwarded-Uri: /api/v2/x", b"X-Forwarded-Method: POST", page=b"caddy"),
    "traefik": asked_by_proxy(
        b"X-Forwarded-Uri: /api/v2/x", b"X-Forwarded-Method: GET", b"X-Forwarded-Host: o.example", page=b"traefik"
    ),
    "client-named": asked_by_proxy(
        b"X-Original-URI: /api/v2/x", b"X-Original-Method: GET", b"X-Forwarded-For: 203.0.113.9"
    ),
    "foreign-cookie": asked_by_proxy(b"X-Original-URI: /api/v2/x", b"X-Original-Method: GET", b"Cookie: a=b; c=d"),
    "escapes": asked_by_proxy(b"X-Original-URI: /api/v2/%3a", b"X-Original-Method: DELETE"),
}


@pytest.mark.parametrize("raw", YES.values(), ids=YES)
async def test_a_front_proxy_gets_the_same_yes(world: World, raw: bytes) -> None:
    for gateway in (world.fast, world.ordinary):
        # The first answer writes the token down.
        await gateway.ask(asked_by_proxy())
    world.fast.asked = 0

    answer, arrived = await compare(world, raw)

    assert (answer.status, arrived, world.fast.asked) == (200, [], 0)
    assert dict(answer.headers)[b"authorization"].startswith(b"Bearer ey")


ABOUT = (b"X-Original-URI: /api/v2/x", b"X-Original-Method: GET")
UPSTREAMS = {
    "get": asked_by_proxy(authorization=THEIRS),
    "post": asked_by_proxy(ABOUT[0], b"X-Original-Method: POST", authorization=THEIRS),
    "foreign-cookie": asked_by_proxy(*ABOUT, b"Cookie: a=b", authorization=THEIRS),
    "lower-case": asked_by_proxy(authorization=THEIRS.replace(b"Bearer", b"bearer")),
}


@pytest.mark.parametrize("raw", UPSTREAMS.values(), ids=UPSTREAMS)
async def test_a_token_that_only_the_upstream_checks_passes_a_front_proxy_the_same_way(
    world: World, raw: bytes
) -> None:
    answer, arrived = await compare(world, raw)

    assert (answer.status, arrived, world.fast.asked) == (200, [], 0)
    assert dict(answer.headers)[b"authorization"].lower() == b"bearer aaa.bbb.ccc"


NOT_UPSTREAMS = {
    "personal-token": asked_by_proxy(authorization=b"Authorization: Bearer cat_pat_x"),
    "personal-token-inside": asked_by_proxy(authorization=b"Authorization: Bearer x-cat_pat_x"),
    "cookie-of-another-login": asked_by_proxy(*ABOUT, b"Cookie: session=evil", authorization=THEIRS),
    "another-sites-form": asked_by_proxy(
        ABOUT[0], b"X-Original-Method: POST", b"Origin: https://evil.example", authorization=THEIRS
    ),
    "two-blanks": asked_by_proxy(authorization=THEIRS.replace(b"Bearer ", b"Bearer  ")),
    "not-ascii": asked_by_proxy(authorization=THEIRS + b"\xe4"),
    "empty": asked_by_proxy(authorization=b"Authorization: Bearer "),
    "unprotected": asked_by_proxy(b"X-Original-URI: /static/x", ABOUT[1], authorization=THEIRS),
}


@pytest.mark.parametrize("raw", NOT_UPSTREAMS.values(), ids=NOT_UPSTREAMS)
async def test_a_token_of_another_kind_gets_the_same_answer_at_a_front_proxy(world: World, raw: bytes) -> None:
    await compare(world, raw)


async def test_a_revoked_token_of_the_upstreams_gets_the_same_refusal_at_a_front_proxy(world: World) -> None:
    before, after = [], []
    for gateway in (world.fast, world.ordinary):
        made = await gateway.ask(get(b"/auth/token", b"Content-Length: 0", method=b"POST"))
        token = json.loads(made.body)["access_token"].encode()
        asked = asked_by_proxy(authorization=b"Authorization: Bearer " + token)
        before.append((await gateway.ask(asked)).status)
        body = b"token=" + token
        form = (b"Content-Type: application/x-www-form-urlencoded", b"Content-Length: %d" % len(body))
        revoked = get(b"/compat-auth/revoke", *form, method=b"POST", authorization=b"X-A: b") + body
        assert (await gateway.ask(revoked)).status == 200
        after.append((await gateway.ask(asked)).status)

    assert (before, after) == ([200, 200], [401, 401])


NO = {
    "no-secret": asked_by_proxy(secret=b"X-A: b"),
    "wrong-secret": asked_by_proxy(secret=SECRET_LINE[:-1] + b"x"),
    "secret-twice": asked_by_proxy(SECRET_LINE, b"X-Original-URI: /api/v2/x", b"X-Original-Method: GET"),
    "hop-beyond-the-client": asked_by_proxy(
        b"X-Original-URI: /api/v2/x", b"X-Original-Method: GET", b"X-Forwarded-For: 10.0.0.1, 203.0.113.9"
    ),
    "no-target": asked_by_proxy(b"X-Original-Method: GET"),
    "two-targets": asked_by_proxy(b"X-Original-URI: /a", b"X-Original-URI: /api/v2/x", b"X-Original-Method: GET"),
    "headers-of-another-dialect": asked_by_proxy(page=b"caddy"),
    "override": asked_by_proxy(
        b"X-Original-URI: /api/v2/x", b"X-Original-Method: GET", b"X-HTTP-Method-Override: DELETE"
    ),
    "dot-segment": asked_by_proxy(b"X-Original-URI: /api/../x", b"X-Original-Method: GET"),
    "double-slash": asked_by_proxy(b"X-Original-URI: /api//v2/x", b"X-Original-Method: GET"),
    "trace": asked_by_proxy(b"X-Original-URI: /api/v2/x", b"X-Original-Method: TRACE"),
    "lower-case-method": asked_by_proxy(b"X-Original-URI: /api/v2/x", b"X-Original-Method: get"),
    "unprotected": asked_by_proxy(b"X-Original-URI: /static/x", b"X-Original-Method: GET"),
    "identity-cookie": asked_by_proxy(
        b"X-Original-URI: /api/v2/x", b"X-Original-Method: GET", b"Cookie: session=evil; a=b"
    ),
    "wrong-password": asked_by_proxy(authorization=ALICE[:-4] + b"AAA="),
    "no-credential": asked_by_proxy(authorization=b"X-A: b"),
    "another-spelling-of-the-page": asked_by_proxy().replace(b"forward-auth", b"%66orward-auth"),
    "query-at-the-page": asked_by_proxy().replace(b"/nginx ", b"/nginx?a ", 1),
    "two-hosts-of-the-client": asked_by_proxy(
        b"X-Forwarded-Uri: /api/v2/x", b"X-Forwarded-Method: GET", b"X-Forwarded-Host: a", b"X-Forwarded-Host: b",
        page=b"caddy",
    ),
}  # fmt: skip


@pytest.mark.parametrize("raw", NO.values(), ids=NO)
async def test_every_other_answer_to_a_front_proxy_is_the_application_s(world: World, raw: bytes) -> None:
    for gateway in (world.fast, world.ordinary):
        await gateway.ask(asked_by_proxy())
    world.fast.asked = world.ordinary.asked = 0

    await compare(world, raw)

    assert world.fast.asked == world.ordinary.asked == 1


def asked_about(*lines: bytes, secret: bytes = SECRET_LINE, authorization: bytes = ALICE) -> bytes:
    return get(b"/compat-auth/forward-auth/lane", secret, *lines, authorization=authorization)


def without_times(answer: Answer) -> Answer:
    """Return an answer of the lane without the times in it: the two are given one after the other."""
    times = (b"x-accel-expires", b"x-compat-auth-lasts-ms")
    return replace(answer, headers=[(name, b"" if name in times else value) for name, value in answer.headers])


async def compare_lane(world: World, raw: bytes) -> Answer:
    """Return the answer of the lane, which is the same at both gateways and never asks the upstream."""
    answers = [await gateway.ask(raw) for gateway in (world.fast, world.ordinary)]
    assert shown(without_times(answers[0])) == shown(without_times(answers[1]))
    assert world.upstream.take() == []
    return answers[0]


LANE = {
    "warm": (200, asked_about()),
    "client-named": (200, asked_about(b"X-Forwarded-For: 203.0.113.9")),
    "cookie": (200, asked_about(b"Cookie: a=b; c=d")),
    "identity-cookie": (200, asked_about(b"Cookie: session=evil; a=b")),
    "two-cookie-headers": (200, asked_about(b"Cookie: a=b", b"Cookie: c=d")),
    "kept": (200, asked_about(b"Connection: keep-alive", b"Content-Length: 0")),
    "another-spelling": (200, asked_about(authorization=ALICE.replace(b"Basic ", b"bASIC "))),
    "upstreams-token": (200, asked_about(authorization=b"Authorization: Bearer aaa.bbb.ccc")),
    "upstreams-token-and-cookie": (
        401,
        asked_about(b"Cookie: session=x", authorization=b"Authorization: Bearer a.b.c"),
    ),
    "personal-token": (401, asked_about(authorization=b"Authorization: Bearer cat_pat_x")),
    "wrong-password": (401, asked_about(authorization=ALICE[:-4] + b"AAA=")),
    "ticket": (401, asked_about(authorization=b"Authorization: Negotiate YIIabc")),
    "malformed": (401, asked_about(authorization=b"Authorization: Basic ???")),
    "unknown-scheme": (401, asked_about(authorization=b"Authorization: Digest a=b")),
}


@pytest.mark.parametrize(("status", "raw"), LANE.values(), ids=LANE)
async def test_a_front_proxy_that_asks_about_a_credential_gets_the_same_answer(
    world: World, status: int, raw: bytes
) -> None:
    await world.fast.ask(get())
    await world.ordinary.ask(get())
    world.upstream.take()
    world.fast.asked = 0

    answer = await compare_lane(world, raw)

    assert (answer.status, world.fast.asked) == (status, 0)
    assert (b"authorization" in dict(answer.headers)) is (status == 200)


ORDINARY_LANE = {
    "no-secret": asked_about(secret=b"Connection: keep-alive"),
    "wrong-secret": asked_about(secret=SECRET_LINE[:-1] + b"x"),
    "secret-twice": asked_about(SECRET_LINE),
    "hop-beyond-the-client": asked_about(b"X-Forwarded-For: 10.0.0.1, 203.0.113.9"),
    "no-credential": asked_about(authorization=b"Connection: keep-alive"),
    "two-credentials": asked_about(ALICE),
    "not-ascii": asked_about(authorization=b"Authorization: Basic \xff"),
    "browser": asked_about(b"Accept: text/html", b"Sec-Fetch-Mode: navigate"),
    "another-origin": asked_about(b"Origin: https://evil.example"),
    "acts-for": asked_about(b"X-Do-As: bob"),
    "api-key": asked_about(b"X-API-Key: cat_pat_x"),
    "post": asked_about(b"Content-Length: 0").replace(b"GET ", b"POST ", 1),
    "head": asked_about().replace(b"GET ", b"HEAD ", 1),
    "body": asked_about(b"Content-Length: 1") + b"x",
    "query": asked_about().replace(b"/lane ", b"/lane?a ", 1),
    "another-spelling-of-the-page": asked_about().replace(b"/lane ", b"/l%61ne ", 1),
    "a-page-below": asked_about().replace(b"/lane ", b"/lane/ ", 1),
    "two-hosts": asked_about(b"Host: other"),
}


@pytest.mark.parametrize("raw", ORDINARY_LANE.values(), ids=ORDINARY_LANE)
async def test_every_other_question_about_a_credential_is_the_application_s(world: World, raw: bytes) -> None:
    await world.fast.ask(get())
    await world.ordinary.ask(get())
    world.upstream.take()
    world.fast.asked = world.ordinary.asked = 0

    await compare_lane(world, raw)

    assert world.fast.asked == world.ordinary.asked


async def test_a_client_of_an_unknown_proxy_learns_nothing_of_a_credential(distrusting: World) -> None:
    answer = await compare_lane(distrusting, asked_about())

    assert (answer.status, distrusting.fast.asked) == (403, 1)


async def test_what_is_asked_in_one_packet_is_answered_in_order(world: World) -> None:
    wrong = asked_about(authorization=ALICE[:-4] + b"AAA=")

    async with world.fast.connected() as client:
        await client.send(asked_about() + wrong + asked_about())
        answers = [await client.answer() for _ in range(3)]

    assert [answer.status for answer in answers] == [200, 401, 200]


async def test_a_client_of_an_unknown_proxy_gets_no_yes(distrusting: World) -> None:
    answer, _ = await compare(distrusting, asked_by_proxy())

    assert (answer.status, distrusting.fast.asked) == (403, 1)


async def test_an_upstream_that_is_away_is_told_alike(world: World) -> None:
    async def leave(call: Call) -> None:
        call.writer.transport.abort()

    world.upstream.script = leave

    fast, ordinary = await world.fast.ask(get()), await world.ordinary.ask(get())

    assert shown(fast) == shown(ordinary)
    assert fast.status == 502


async def test_a_setting_of_the_client_s_connection_is_not_the_upstream_s(world: World) -> None:
    world.upstream.script = say(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", then_close=True)

    async with world.fast.connected() as client:
        answers = [await client.ask(get()) for _ in range(3)]

    assert [(answer.status, answer.body) for answer in answers] == [(200, b"ok")] * 3
    assert all(name != b"connection" for answer in answers for name, _ in answer.headers)
