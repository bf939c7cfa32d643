"""The answers of the pages that a front proxy asks."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from compat_auth.backend import CredentialKind
from compat_auth.composition.gate import GateParts, Place, forward_auth_of
from compat_auth.credentials import Absent, Basic
from compat_auth.errors import NoSuchPage
from compat_auth.gateway.authorization import Authorization, PathRequirement
from compat_auth.gateway.decision import Granted
from compat_auth.gateway.forward_auth import access
from compat_auth.gateway.forward_auth.access import Access
from compat_auth.gateway.forward_auth.lane import LANE_PAGE
from compat_auth.gateway.forward_auth.pages import FORWARD_AUTH_PAGES, not_here, nothing_else
from compat_auth.gateway.middleware import Gate, Page
from compat_auth.http.asgi import RawHeaders, Send
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.http.headers import take_in
from compat_auth.http.paths import AIRFLOW_RESTS, Prefixes
from compat_auth.http.request import GateRequest
from compat_auth.outcome import Accept, Outcome, Reject
from compat_auth.requirements import Requirements
from compat_auth.scopes import parse_scopes
from compat_auth.tokens.revoked import RevokedTokens
from support.stand_ins import ALICE, GOOD, Behind, Sent, call, http_scope, make_decider, make_gate, rules, scripted

AUTHORIZATION = (b"authorization", GOOD.encode())
COOKIES = (b"cookie", b"_token=t; ours=1; session=s; theme=dark")
BOTH: frozenset[CredentialKind] = frozenset((Absent, Basic))
COOKIE_HEADER = b"x-compat-auth-cookie"


def gate_of(
    outcome: Outcome | None = None, *, takes: frozenset[CredentialKind] = BOTH, root: str = "", **changed: Any
) -> Gate:
    backend = scripted("first", outcome or Accept(ALICE), takes=takes, invites=("Basic",))
    return make_gate(
        Behind(), make_decider(backend), gate_rules=replace(rules(), **changed), trusted=["10.0.0.0/8"], root=root
    )


async def ask(
    gate: Gate, *headers: tuple[bytes, bytes], uri: bytes = b"/api/x", method: bytes = b"GET", prefix: bytes = b""
) -> Sent:
    told = [(b"x-original-uri", uri), (b"x-original-method", method), *headers]
    return await call(gate, http_scope(prefix + b"/compat-auth/forward-auth/nginx", told, client="10.0.0.1"))


def test_there_is_a_page_for_each_dialect_and_the_lane() -> None:
    assert FORWARD_AUTH_PAGES == ("forward-auth/nginx", "forward-auth/traefik", "forward-auth/caddy", LANE_PAGE)
    assert {f"/compat-auth/{page}" for page in FORWARD_AUTH_PAGES} <= gate_of().paths


async def test_a_request_with_nothing_to_replace_gets_no_header_but_that_it_is_not_kept() -> None:
    sent = await ask(gate_of(), uri=b"/ui")

    assert (sent.status, sent.body) == (200, b"")
    assert (sent.values(b"authorization"), sent.values(COOKIE_HEADER)) == ([], [])
    assert sent.values(b"cache-control") == [b"no-store"]


@pytest.mark.parametrize("revoked", [False, True])
async def test_an_unprotected_path_keeps_the_upstreams_cookie_unless_it_is_revoked(revoked: bool) -> None:
    class Revoked(RevokedTokens):
        async def require_bearer(self, request: GateRequest) -> bool:
            return revoked and request.path == b"/ui"

    place = Place(Behind(), Authorization(rules()), TrustedProxies(["10.0.0.0/8"]))
    parts = GateParts.build(place, make_decider(scripted("first", Accept(ALICE))), Revoked(None, b""))
    gate = parts.gate(forward_auth_of(parts, Access(), _token).pages())

    sent = await ask(gate, COOKIES, uri=b"/ui")

    assert sent.values(COOKIE_HEADER) == [b"session=s; theme=dark" if revoked else b"_token=t; session=s; theme=dark"]


async def _token(_request: GateRequest, granted: Granted) -> bytes:
    return granted.bearer


async def test_an_unprotected_path_keeps_the_bearer_of_the_upstream() -> None:
    sent = await ask(gate_of(), (b"authorization", b"Bearer theirs"), uri=b"/ui")

    assert sent.values(b"authorization") == [b"Bearer theirs"]


async def test_a_public_path_is_forwarded_without_any_identity() -> None:
    gate = gate_of(public=frozenset((b"/api/health",)))

    with_cookies = await ask(gate, COOKIES, uri=b"/api/health")
    without = await ask(gate, uri=b"/api/health")

    assert (with_cookies.status, with_cookies.values(COOKIE_HEADER)) == (200, [b""])
    assert (without.status, without.values(COOKIE_HEADER)) == (200, [])
    assert with_cookies.values(b"authorization") == without.values(b"authorization") == []


async def test_a_public_path_with_a_credential_is_decided() -> None:
    gate = gate_of(Reject("wrong"), public=frozenset((b"/api/health",)))

    assert (await ask(gate, AUTHORIZATION, uri=b"/api/health")).status == 401


async def test_a_granted_request_keeps_no_cookie_of_an_identity() -> None:
    sent = await ask(gate_of(Accept(ALICE, (("X-Leg", "2"),))), AUTHORIZATION, COOKIES)

    assert sent.values(b"authorization") == [b"Bearer token-of-alice-0"]
    assert sent.values(COOKIE_HEADER) == [b"theme=dark"]
    assert sent.values(b"x-leg") == [b"2"]


async def test_the_token_is_made_for_the_original_request() -> None:
    asked: list[tuple[bytes, bytes]] = []

    async def bearer_for(request: GateRequest, granted: Granted) -> bytes:
        asked.append((request.path, granted.bearer))
        return b"Bearer recorded"

    place = Place(Behind(), Authorization(rules()), TrustedProxies(["10.0.0.0/8"]))
    parts = GateParts.build(place, make_decider(scripted("first", Accept(ALICE))), RevokedTokens(None, b""))
    gate = parts.gate(forward_auth_of(parts, Access(), bearer_for).pages())

    sent = await ask(gate, AUTHORIZATION, uri=b"/api/x")

    assert sent.values(b"authorization") == [b"Bearer recorded"]
    assert asked == [(b"/api/x", b"Bearer token-of-alice-0")]


async def test_the_task_api_gets_no_token_of_ours_and_no_credential() -> None:
    gate = gate_of(task_api=Prefixes(["/api/execution/"]))

    sent = await ask(gate, AUTHORIZATION, COOKIES, uri=b"/api/execution/x")

    assert sent.status == 200
    assert sent.values(b"authorization") == []
    assert sent.values(COOKIE_HEADER) == [b"theme=dark"]


async def test_the_upstreams_own_cookie_goes_on_without_ours() -> None:
    sent = await ask(gate_of(takes=frozenset((Basic,))), COOKIES)

    assert sent.status == 200
    assert sent.values(b"authorization") == []
    assert sent.values(COOKIE_HEADER) == [b"_token=t; session=s; theme=dark"]


async def test_a_scope_is_for_the_original_request() -> None:
    limited = replace(ALICE, scopes=parse_scopes(("GET /api/x",)))
    gate = gate_of(Accept(limited))

    assert (await ask(gate, AUTHORIZATION, uri=b"/api/x")).status == 200
    assert (await ask(gate, AUTHORIZATION, uri=b"/api/y")).status == 403
    assert (await ask(gate, AUTHORIZATION, uri=b"/api/x", method=b"POST")).status == 403


async def test_a_requirement_is_on_the_original_path() -> None:
    admins = PathRequirement(Prefixes(["/api/a"]), frozenset(), Requirements(("role:Admin",)))
    gate = gate_of(requirements=(admins,))

    assert (await ask(gate, AUTHORIZATION, uri=b"/api/b")).status == 200
    assert (await ask(gate, AUTHORIZATION, uri=b"/api/a")).status == 403


async def test_slashes_in_data_are_read_as_in_the_gate() -> None:
    gate = gate_of(rests=AIRFLOW_RESTS)

    assert (await ask(gate, AUTHORIZATION, uri=b"/api/v2/variables/a//b")).status == 200
    assert (await ask(gate_of(), AUTHORIZATION, uri=b"/api/v2/variables/a//b")).status == 400


async def test_the_root_of_the_site_is_no_part_of_the_original_path() -> None:
    gate = gate_of(Reject("wrong"), root="/air")

    assert (await ask(gate, AUTHORIZATION, uri=b"/air/api/x", prefix=b"/air")).status == 401
    assert (await ask(gate, AUTHORIZATION, uri=b"/air/ui", prefix=b"/air")).status == 200


async def test_a_user_who_is_named_in_the_query_is_refused_where_callers_may_act_for_others() -> None:
    assert (await ask(gate_of(do_as=True), AUTHORIZATION, uri=b"/api/x?doAs=bob")).status == 400
    assert (await ask(gate_of(do_as=True), AUTHORIZATION, uri=b"/api/x?a=bob")).status == 200
    assert (await ask(gate_of(), AUTHORIZATION, uri=b"/api/x?doAs=bob")).status == 200


class LoggingOut:
    """Treats browsers as one whose session has ended at the upstream's own logout."""

    def leading_in(self, request: GateRequest, send: Send) -> Send:
        del request
        return send

    async def visit(self, request: GateRequest, send: Send) -> Send | None:
        del request
        return send

    async def log_out(self, request: GateRequest) -> RawHeaders:
        return [(b"set-cookie", b"ours=; Max-Age=0")] if request.path == b"/ui/logout" else []


@pytest.mark.parametrize(("uri", "cookies"), [(b"/ui/logout", [b"ours=; Max-Age=0"]), (b"/ui", []), (b"/api/x", [])])
async def test_a_browser_loses_our_cookie_at_the_upstreams_logout(uri: bytes, cookies: list[bytes]) -> None:
    place = Place(Behind(), Authorization(rules()), TrustedProxies(["10.0.0.0/8"]))
    decider = make_decider(scripted("first", Accept(ALICE)))
    parts = GateParts.build(place, decider, RevokedTokens(None, b""), browsers=LoggingOut())
    gate = parts.gate(forward_auth_of(parts, Access(), _token).pages())

    sent = await ask(gate, AUTHORIZATION, uri=uri)

    assert (sent.status, sent.values(b"set-cookie")) == (200, cookies)


async def test_several_cookie_headers_become_one() -> None:
    sent = await ask(gate_of(), AUTHORIZATION, (b"cookie", b"a=1; ours=2"), (b"cookie", b"b=3"))

    assert sent.values(COOKIE_HEADER) == [b"a=1; b=3"]


async def test_a_script_in_a_page_gets_no_challenge_that_opens_a_dialog() -> None:
    sent = await ask(gate_of(Reject("wrong")), AUTHORIZATION, (b"x-requested-with", b"XMLHttpRequest"))

    assert (sent.status, sent.values(b"www-authenticate")) == (401, [b"Bearer"])


async def test_a_redirect_for_a_merged_path_keeps_the_query() -> None:
    told = [(b"x-forwarded-uri", b"//api/x?a=1?b"), (b"x-forwarded-method", b"GET")]

    sent = await call(gate_of(), http_scope(b"/compat-auth/forward-auth/caddy", told, client="10.0.0.1"))

    assert (sent.status, sent.values(b"location")) == (308, [b"/api/x?a=1?b"])


def asked(path: bytes) -> GateRequest:
    return GateRequest({}, take_in([(b"host", b"a")]), "GET", path, b"", "192.0.2.1")


async def _never(*_: object) -> Any:
    raise AssertionError


@pytest.mark.parametrize(
    ("page", "says"),
    [
        (not_here, r"^/compat-auth/forward-auth/nginx: no such page$"),
        (nothing_else, r"^/compat-auth/forward-auth/nginx: no such page on the listener of forward-auth$"),
    ],
)
async def test_where_forward_auth_is_off_or_alone_every_other_page_is_404(page: Page, says: str) -> None:
    with pytest.raises(NoSuchPage, match=says):
        await page(asked(b"/compat-auth/forward-auth/nginx"), _never, _never)


async def test_the_log_says_how_forward_auth_is_turned_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "_HINTED", {})

    with caplog.at_level(logging.WARNING), pytest.raises(NoSuchPage):
        await not_here(asked(b"/x"), _never, _never)

    assert "set [forward_auth] bind" in caplog.text
