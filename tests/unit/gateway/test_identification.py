"""Who sent a request: what is asked, in which order, and what is remembered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from compat_auth.credentials import Absent, Bearer
from compat_auth.errors import NotAuthenticated, NotPermitted, TokenEnded
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.decision import Decision, Granted, Refused, Unclaimed
from compat_auth.gateway.identification import Identification
from compat_auth.gateway.origins import UpstreamOrigins
from compat_auth.http.headers import take_in
from compat_auth.http.request import GateRequest
from compat_auth.peer import Peer
from compat_auth.tokens.revoked import RevokedTokens
from support.stand_ins import ALICE, GOOD

AUTHORIZATION = (b"authorization", GOOD.encode())
UPSTREAM_COOKIE = (b"cookie", b"_token=t")
SESSION = (b"cookie", b"session=s")
GRANTED = Granted(ALICE, b"Bearer t")
REMEMBERED = Granted(ALICE, b"Bearer remembered")
SPEAKING = Peer("10.0.0.1", (("X-User", "alice"),))


class Deciding:
    """Decides as the test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.chain = self
        self.known_as: Decision | None = None
        self.decision: Decision = GRANTED
        self.asked: list[tuple[str, Any]] = []

    def challenges(self) -> tuple[str, ...]:
        return ("Basic",)

    def known(self, shown: Any, presented: Any) -> Decision | None:
        self.asked.append(("known", shown.authorization))
        assert presented().path == "/api/x"
        return self.known_as

    def recall_cookies(self, cookies: tuple[bytes, ...], presented: Any) -> Decision | None:
        self.asked.append(("recall", cookies))
        assert presented().path == "/api/x"
        return self.known_as

    async def decide(self, presented: Any, cookies: tuple[bytes, ...] = ()) -> Decision:
        assert presented.path == "/api/x"
        self.asked.append(("decide", cookies))
        return self.decision

    async def identify(self, presented: Any) -> Decision:
        assert presented.path == "/api/x"
        self.asked.append(("identify", ()))
        return self.decision


class World:
    """An identification with what it asks."""

    def __init__(self, *, revoked: bool | Exception = False, cookie: bytes = b"_token") -> None:
        self.revoked = revoked
        self.decider = Deciding()
        self.own: list[Decision] = []
        self.judged = 0
        self.identification = Identification(
            cast("Decider", self.decider), cast("RevokedTokens", self), cast("UpstreamOrigins", self), cookie
        )

    async def require_bearer(self, asked: GateRequest) -> bool:
        assert asked.path == b"/api/x"
        self.judged += 1
        if isinstance(self.revoked, Exception):
            raise self.revoked
        return self.revoked

    async def require_own(self, decision: Decision, asked: GateRequest) -> None:
        assert asked.path == b"/api/x"
        self.own.append(decision)
        if asked.intake.host == b"other.example":
            raise NotPermitted


def request(*headers: tuple[bytes, bytes], method: str = "GET", host: bytes = b"a", **changed: Any) -> GateRequest:
    return GateRequest({}, take_in([(b"host", host), *headers]), method, b"/api/x", b"", "192.0.2.1", **changed)


async def test_a_remembered_credential_is_not_decided_again() -> None:
    world = World()
    world.decider.known_as = REMEMBERED

    assert await world.identification.decide(request(AUTHORIZATION)) is REMEMBERED
    assert world.decider.asked == [("known", GOOD)]
    assert (world.judged, world.own) == (1, [])


async def test_any_other_credential_is_decided() -> None:
    world = World()

    assert await world.identification.decide(request(AUTHORIZATION, UPSTREAM_COOKIE)) is GRANTED
    assert world.decider.asked == [("known", GOOD), ("decide", ())]


async def test_a_credential_that_is_not_ascii_is_refused_where_it_is_decided() -> None:
    world = World()

    assert world.identification.recall(request((b"authorization", b"Basic \xff"))) is None
    assert world.decider.asked == []


async def test_a_revoked_bearer_is_not_even_decided() -> None:
    world = World(revoked=TokenEnded("revoked"))

    for way in (world.identification.decide, world.identification.identify):
        with pytest.raises(TokenEnded):
            await way(request(AUTHORIZATION))
    assert world.decider.asked == []


async def test_the_upstreams_cookie_is_the_upstreams_to_judge() -> None:
    world = World()

    assert await world.identification.decide(request(UPSTREAM_COOKIE)) == Unclaimed(Absent(), ("Basic",))
    assert world.decider.asked == []


@pytest.mark.parametrize(
    ("options", "changed"),
    [({"revoked": True}, {}), ({"cookie": b""}, {}), ({"cookie": b"other"}, {}), ({}, {"peer": SPEAKING})],
    ids=["revoked", "no-such-cookie", "another-cookie", "a-proxy-names-the-caller"],
)
async def test_a_cookie_that_does_not_count_alone_is_decided(options: dict[str, Any], changed: dict[str, Any]) -> None:
    world = World(**options)

    assert await world.identification.decide(request(UPSTREAM_COOKIE, **changed)) is GRANTED
    assert world.decider.asked[-1][0] == "decide"


async def test_a_session_is_remembered_by_scheme_and_cookies() -> None:
    world = World()
    seen = (b"https", b"session=s", b"a=1")
    asked = request(SESSION, (b"cookie", b"a=1"), scheme="https")

    first = await world.identification.decide(asked)
    world.decider.known_as = REMEMBERED
    again = await world.identification.decide(asked)

    assert (first, again) == (GRANTED, REMEMBERED)
    assert world.decider.asked == [("recall", seen), ("decide", seen), ("recall", seen)]


@pytest.mark.parametrize(
    ("headers", "changed"),
    [([SESSION], {"method": "POST"}), ([SESSION], {"peer": SPEAKING}), ([], {})],
    ids=["changes-something", "a-proxy-names-the-caller", "no-cookie"],
)
async def test_what_depends_on_more_than_cookies_is_remembered_by_nothing(
    headers: list[tuple[bytes, bytes]], changed: dict[str, Any]
) -> None:
    world = World()

    await world.identification.decide(request(*headers, **changed))

    assert world.decider.asked == [("decide", ())]


async def test_who_acts_for_a_user_is_remembered_by_no_cookie() -> None:
    world = World()
    asked = request(SESSION)
    asked.intake.acts_for = "bob"

    await world.identification.decide(asked)

    assert world.decider.asked == [("decide", ())]


async def test_a_revoked_cookie_beside_what_the_upstream_would_judge_is_refused() -> None:
    world = World(revoked=True)
    world.decider.decision = Unclaimed(Bearer("theirs"), ())

    with pytest.raises(NotAuthenticated, match="the token in the cookie is no longer good"):
        await world.identification.decide(request((b"authorization", b"Bearer theirs"), UPSTREAM_COOKIE))


@pytest.mark.parametrize("decision", [GRANTED, Refused(401, ())], ids=["granted", "refused"])
async def test_a_revoked_cookie_beside_a_credential_of_ours_does_not_count(decision: Decision) -> None:
    world = World(revoked=True)
    world.decider.decision = decision

    assert await world.identification.decide(request(AUTHORIZATION, UPSTREAM_COOKIE)) is decision


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PURGE"])
async def test_a_request_that_may_change_something_comes_from_an_own_page(method: str) -> None:
    world = World()

    await world.identification.decide(request(SESSION, method=method))

    assert world.own == [GRANTED]
    with pytest.raises(NotPermitted):
        await world.identification.decide(request(SESSION, method=method, host=b"other.example"))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_a_request_that_only_reads_may_come_from_anywhere(method: str) -> None:
    world = World()

    await world.identification.decide(request(SESSION, method=method, host=b"other.example"))

    assert world.own == []


@pytest.mark.parametrize(("only_asked_about", "uses"), [(False, 1), (True, 0)])
async def test_a_use_is_counted_unless_a_credential_is_only_asked_about(only_asked_about: bool, uses: int) -> None:
    world, counted = World(), list[int]()
    world.decider.decision = replace(GRANTED, used=lambda: counted.append(1))

    await world.identification.decide(request(AUTHORIZATION, only_asked_about=only_asked_about))

    assert len(counted) == uses


async def test_at_our_pages_a_session_counts_beside_the_upstreams_cookie() -> None:
    world = World()

    assert await world.identification.decide_here(request(UPSTREAM_COOKIE)) is GRANTED
    assert world.decider.asked == [("decide", ())]
    assert await world.identification.decide_here(request(AUTHORIZATION)) is GRANTED
    assert world.decider.asked[1:] == [("known", GOOD), ("decide", ())]


async def test_a_page_that_needs_no_token_identifies_the_caller() -> None:
    world = World()

    assert await world.identification.identify(request(AUTHORIZATION)) is GRANTED
    assert (world.judged, world.decider.asked) == (1, [("identify", ())])


@pytest.mark.parametrize(
    ("known", "recalled"), [(REMEMBERED, REMEMBERED), (Unclaimed(Bearer("x"), ()), None), (None, None)]
)
def test_only_a_grant_is_recalled(known: Decision | None, recalled: Granted | None) -> None:
    world = World()
    world.decider.known_as = known

    assert world.identification.recall(request(AUTHORIZATION)) is recalled
