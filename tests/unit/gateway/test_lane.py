"""The lane: what a front proxy may do by itself for the rest of a second, answered from memory alone."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import pytest

from compat_auth.backend import CredentialKind
from compat_auth.credentials import Absent, Basic, Bearer, Negotiate
from compat_auth.gateway.authorization import GateRules, PathRequirement
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.decision import Granted
from compat_auth.gateway.forward_auth.access import Access
from compat_auth.gateway.forward_auth.lane import Lane
from compat_auth.gateway.middleware import Gate
from compat_auth.http.asgi import RawHeaders
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.http.headers import take_in
from compat_auth.http.paths import Prefixes
from compat_auth.http.request import GateRequest
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Outcome, Reject
from compat_auth.peer import Peer
from compat_auth.requirements import Requirements
from compat_auth.scopes import parse_scopes
from compat_auth.tokens.revoked import RevokedTokens
from support.stand_ins import (
    ALICE,
    GOOD,
    Behind,
    Clock,
    ScriptedBackend,
    Sent,
    basic,
    call,
    http_scope,
    make_decider,
    make_gate,
    rules,
    scripted,
)

AUTHORIZATION = (b"authorization", GOOD.encode())
FRONT = "10.0.0.1"
ANY: frozenset[CredentialKind] = frozenset((Absent, Basic, Bearer, Negotiate))


def accepting(outcome: Outcome | None = None, **options: Any) -> ScriptedBackend:
    accept = outcome or Accept(ALICE, reusable_s=60)
    return scripted("first", lambda c: accept if "alice" in repr(c) else Reject("wrong"), invites=("Basic",), **options)


def gate_of(backend: ScriptedBackend, *, gate_rules: GateRules | None = None, **options: Any) -> Gate:
    decider = make_decider(backend, **options)
    return make_gate(Behind(), decider, trusted=["10.0.0.0/8"], gate_rules=gate_rules)


async def ask(gate: Gate, *headers: tuple[bytes, bytes], peer: str = FRONT) -> Sent:
    return await call(gate, http_scope(b"/compat-auth/forward-auth/lane", list(headers), client=peer))


async def warm(gate: Gate, *headers: tuple[bytes, bytes]) -> None:
    sent = await call(gate, http_scope(b"/api/v2/x", list(headers or (AUTHORIZATION,)), client=FRONT))
    assert sent.status == 200


def is_empty_no(sent: Sent) -> bool:
    return (sent.status, sent.body, sent.values(b"authorization"), sent.values(b"www-authenticate")) == (
        401,
        b"",
        [],
        [],
    )


async def test_a_warm_credential_gets_the_headers_that_replace_it() -> None:
    gate = gate_of(accepting())
    await warm(gate)

    sent = await ask(gate, AUTHORIZATION, (b"cookie", b"_token=t; ours=1; theme=dark"))

    assert sent.status == 200
    assert sent.values(b"authorization") == [b"Bearer token-of-alice-0"]
    assert sent.values(b"x-compat-auth-cookie") == [b"theme=dark"]
    assert sent.values(b"cache-control") == [b"no-store"]


async def test_a_cold_credential_is_no_and_no_backend_is_asked() -> None:
    backend = accepting()

    sent = await ask(gate_of(backend), AUTHORIZATION)

    assert is_empty_no(sent)
    assert backend.asked == []


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="none"),
        pytest.param([(b"authorization", basic("bob", "x").encode())], id="another"),
        pytest.param([(b"authorization", b"Basic ???")], id="malformed"),
        pytest.param([(b"authorization", b"\xff")], id="not-ascii"),
        pytest.param([(b"authorization", b"Negotiate YIIabc")], id="ticket"),
        pytest.param([(b"authorization", b"Bearer alice")], id="bearer"),
        pytest.param([(b"cookie", b"_token=alice")], id="cookie"),
    ],
)
async def test_everything_but_a_warm_credential_is_an_empty_no(headers: RawHeaders) -> None:
    backend = accepting(takes=ANY)
    gate = gate_of(backend)
    await warm(gate)
    asked = len(backend.asked)

    sent = await ask(gate, *headers)

    assert is_empty_no(sent)
    assert len(backend.asked) == asked


@pytest.mark.parametrize("peer", ["192.0.2.1", ""])
async def test_a_stranger_gets_no_answer(peer: str) -> None:
    gate = gate_of(accepting())
    await warm(gate)

    sent = await ask(gate, AUTHORIZATION, peer=peer)

    assert (sent.status, sent.values(b"authorization")) == (403, [])


async def test_a_question_with_a_hop_beyond_the_client_gets_no_answer() -> None:
    gate = gate_of(accepting())
    await warm(gate)

    sent = await ask(gate, AUTHORIZATION, (b"x-forwarded-for", b"203.0.113.9, 198.51.100.7"))

    assert (sent.status, sent.values(b"authorization")) == (403, [])


@pytest.mark.parametrize(
    ("scopes", "status"),
    [(None, 200), (("all",), 200), (("GET /api/v2/x",), 401), (("GET /",), 401), ((), 401)],
    ids=["none", "all", "one", "many", "empty"],
)
async def test_only_a_credential_without_limits_passes(scopes: tuple[str, ...] | None, status: int) -> None:
    limited = replace(ALICE, scopes=None if scopes is None else parse_scopes(scopes) if scopes else ())
    gate = gate_of(accepting(Accept(limited, reusable_s=60)))
    await call(gate, http_scope(b"/api/v2/x", [AUTHORIZATION], client=FRONT))

    sent = await ask(gate, AUTHORIZATION)

    assert sent.status == status


async def test_a_success_with_headers_of_its_own_goes_the_whole_way() -> None:
    gate = gate_of(accepting(Accept(ALICE, (("WWW-Authenticate", "Negotiate oRQw"),), reusable_s=60)))
    await warm(gate)

    assert is_empty_no(await ask(gate, AUTHORIZATION))


@pytest.mark.parametrize(
    "closed",
    [
        {"requirements": (PathRequirement(Prefixes(["/api/v2/y"]), frozenset(), Requirements(("role:Admin",), ())),)},
        {"do_as": True},
    ],
    ids=["require", "do-as"],
)
async def test_a_site_whose_rules_depend_on_the_request_has_no_lane(closed: dict[str, Any]) -> None:
    gate = gate_of(accepting(), gate_rules=replace(rules(), **closed))
    await warm(gate)

    assert is_empty_no(await ask(gate, AUTHORIZATION))


async def test_a_grant_that_is_not_remembered_is_no() -> None:
    gate = gate_of(accepting(Accept(ALICE)))
    await warm(gate)

    assert is_empty_no(await ask(gate, AUTHORIZATION))


async def test_an_answer_lasts_no_longer_than_the_grant() -> None:
    clock = Clock()
    gate = gate_of(accepting(Accept(ALICE, reusable_s=0.8)), monotonic=clock)
    await warm(gate)
    clock.time += 0.3

    sent = await ask(gate, AUTHORIZATION)

    assert int(sent.values(b"x-compat-auth-lasts-ms")[0]) <= 500


async def test_an_answer_lasts_less_than_a_second() -> None:
    gate = gate_of(accepting())
    await warm(gate)

    sent = await ask(gate, AUTHORIZATION)

    assert 0 < int(sent.values(b"x-compat-auth-lasts-ms")[0]) < 1000
    assert sent.values(b"x-accel-expires")[0].startswith(b"@")


async def test_where_a_check_is_due_the_request_itself_starts_it() -> None:
    clock = Clock()
    backend = accepting(Accept(ALICE, reusable_s=10))
    gate = gate_of(backend, monotonic=clock)
    await warm(gate)
    clock.time += 9

    sent = await ask(gate, AUTHORIZATION)

    assert is_empty_no(sent)
    assert len(backend.asked) == 1


async def test_a_bearer_that_only_the_upstream_judges_passes_as_it_is() -> None:
    gate = gate_of(accepting())

    sent = await ask(gate, (b"authorization", b"Bearer theirs"), (b"cookie", b"theme=dark"))

    assert sent.status == 200
    assert sent.values(b"authorization") == [b"Bearer theirs"]
    assert sent.values(b"x-compat-auth-cookie") == [b"theme=dark"]


@pytest.mark.parametrize("cookie", [b"_token=t", b"theme=dark; ours=1", b"a=1 _token=t"])
async def test_the_upstreams_bearer_beside_a_cookie_of_another_login_goes_the_whole_way(cookie: bytes) -> None:
    gate = gate_of(accepting())

    assert is_empty_no(await ask(gate, (b"authorization", b"Bearer theirs"), (b"cookie", cookie)))


@pytest.mark.parametrize("token", [b"cat_pat_x", b"cat_pat_"])
async def test_a_personal_token_is_never_the_upstreams(token: bytes) -> None:
    gate = gate_of(accepting())

    assert is_empty_no(await ask(gate, (b"authorization", b"Bearer " + token)))


async def test_a_use_is_counted() -> None:
    uses: list[int] = []
    gate = gate_of(accepting(Accept(Identity("alice", "first"), reusable_s=60, used=lambda: uses.append(1))))
    await warm(gate)
    before = len(uses)

    await ask(gate, AUTHORIZATION)

    assert len(uses) == before + 1


async def test_an_answer_never_rests_on_what_a_proxy_says_about_one_caller() -> None:
    said = (b"x-ssl-client-cert", b"of-alice")
    seen = replace(rules(), sees_certificates=True, identity_headers=frozenset((said[0],)))
    gate = gate_of(accepting(), gate_rules=seen)
    await warm(gate, AUTHORIZATION, said)

    assert is_empty_no(await ask(gate, AUTHORIZATION, said))
    assert is_empty_no(await ask(gate, AUTHORIZATION))


class Revocations:
    """Tokens at the upstream: for how many seconds it is known that one is good."""

    def __init__(self, good_s: float) -> None:
        self.good = good_s

    def good_s(self, authorization: bytes) -> float:
        assert authorization in (GOOD.encode(), b"Bearer theirs")
        return self.good


class Remembering:
    """A decider that has checked a credential a moment ago."""

    def __init__(self, glance: tuple[Granted, float] | None, *, leaves: bool = True) -> None:
        self._glance = glance
        self._leaves = leaves

    def glance(self, _shown: object) -> tuple[Granted, float] | None:
        return self._glance

    def leaves_to_upstream(self, _shown: object) -> bool:
        return self._leaves


async def lane_answer(
    decider: Remembering,
    *,
    authorization: bytes | None = GOOD.encode(),
    good_s: float = math.inf,
    now: float = 1000.5,
    cookies: tuple[bytes, ...] = (),
    **changed: Any,
) -> Sent:
    revoked = cast("RevokedTokens", Revocations(good_s))
    lane = Lane(
        Access(), cast("Decider", decider), rules(), revoked, trusted=TrustedProxies(["10.0.0.0/8"]), now=lambda: now
    )
    headers = [(b"host", b"a"), *((b"cookie", value) for value in cookies)]
    if authorization is not None:
        headers.append((b"authorization", authorization))
    scope = {"client": (FRONT, 5), "headers": headers}
    intake = replace(take_in(headers), **{name: changed.pop(name) for name in ("acts_for",) if name in changed})
    request = GateRequest(scope, intake, "GET", b"/compat-auth/forward-auth/lane", b"", "192.0.2.1", **changed)
    sent = Sent()

    async def send(message: Any) -> None:
        sent.messages.append(message)

    async def receive() -> Any:
        raise AssertionError

    await lane.answer(request, receive, send)
    return sent


GRANTED = Granted(ALICE, b"Bearer t")


@pytest.mark.parametrize(
    ("holds_s", "good_s", "lasts_ms", "nginx"),
    [
        pytest.param(60.0, math.inf, b"900", b"@1000", id="long"),
        pytest.param(0.5, math.inf, b"500", b"@1000", id="to-the-end-of-the-second"),
        pytest.param(0.8125, math.inf, b"812", b"@1000", id="beyond-the-second"),
        pytest.param(0.4375, math.inf, b"437", b"0", id="less-than-the-second"),
        pytest.param(60.0, 0.25, b"250", b"0", id="the-denylist-is-known-for-less"),
        pytest.param(0.25, 60.0, b"250", b"0", id="the-denylist-is-known-for-longer"),
    ],
)
async def test_an_answer_says_for_how_long_it_may_be_used(
    holds_s: float, good_s: float, lasts_ms: bytes, nginx: bytes
) -> None:
    sent = await lane_answer(Remembering((GRANTED, holds_s)), good_s=good_s)

    assert sent.values(b"x-compat-auth-lasts-ms") == [lasts_ms]
    assert sent.values(b"x-accel-expires") == [nginx]
    assert sent.values(b"authorization") == [b"Bearer t"]
    assert sent.values(b"x-compat-auth-cookie") == []


@pytest.mark.parametrize("good_s", [0.0, -1.0])
async def test_where_only_the_store_could_tell_that_a_token_is_good_the_answer_is_no(good_s: float) -> None:
    sent = await lane_answer(Remembering((GRANTED, 60)), good_s=good_s)

    assert is_empty_no(sent)
    assert sent.values(b"cache-control") == [b"no-store"]


@pytest.mark.parametrize(
    "changed",
    [{"acts_for": "bob"}, {"peer": Peer(FRONT, (("X-User", "bob"),))}, {"authorization": None}],
    ids=["acting", "a-proxy-names-the-caller", "no-credential"],
)
async def test_what_depends_on_more_than_the_credential_goes_the_whole_way(changed: dict[str, Any]) -> None:
    assert is_empty_no(await lane_answer(Remembering((GRANTED, 60)), **changed))


async def test_a_caller_who_is_known_by_a_certificate_goes_the_whole_way() -> None:
    granted = replace(GRANTED, identity=replace(ALICE, certificate="ab" * 32))

    assert is_empty_no(await lane_answer(Remembering((granted, 60))))


async def test_several_cookie_headers_become_one() -> None:
    sent = await lane_answer(Remembering((GRANTED, 60)), cookies=(b"a=1; ours=2", b"b=3"))

    assert sent.values(b"x-compat-auth-cookie") == [b"a=1; b=3"]


@pytest.mark.parametrize(
    ("authorization", "leaves", "passes"),
    [(b"Bearer theirs", True, True), (b"Bearer theirs", False, False), (GOOD.encode(), True, False)],
    ids=["the-upstreams", "a-backends", "a-password"],
)
async def test_only_a_bearer_that_no_backend_claims_passes_as_it_is(
    authorization: bytes, leaves: bool, passes: bool
) -> None:
    sent = await lane_answer(Remembering(None, leaves=leaves), authorization=authorization, good_s=0.125)

    assert is_empty_no(sent) is not passes
    assert sent.values(b"x-compat-auth-lasts-ms") == ([b"125"] if passes else [])
