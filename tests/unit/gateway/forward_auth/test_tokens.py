"""The tokens that a front proxy gets: each is recorded, and a limited one lives for seconds."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from compat_auth.credentials import Basic, Credential
from compat_auth.errors import BackendUnavailable, NotAuthenticated
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.decision import Decision, Granted, Refused
from compat_auth.gateway.forward_auth.tokens import LIMITED_REUSE_S, LIMITED_TTL_S, ForwardAuthTokens
from compat_auth.http.headers import take_in
from compat_auth.http.request import GateRequest, Presented
from compat_auth.identity import Identity, Token
from compat_auth.scopes import parse_scopes
from compat_auth.tokens.issued import IssuedTokens
from support.stand_ins import GOOD, Clock

ALICE = Identity("alice", "first")
LIMITED = replace(ALICE, scopes=parse_scopes(("GET /a",)))
REQUEST = GateRequest(
    {}, take_in([(b"host", b"a"), (b"authorization", GOOD.encode())]), "GET", b"/api/x", b"", "192.0.2.1"
)


class Denied:
    """A denylist in memory."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()
        self.is_stale = False
        self.reads = 0
        self.is_down = False

    def is_revoked(self, token: str) -> bool:
        return token in self.revoked

    async def up_to_date(self) -> None:
        self.reads += 1
        if self.is_down:
            raise BackendUnavailable("store")


class Records:
    """Records tokens in a list."""

    def __init__(self) -> None:
        self.denylist = Denied()
        self.recorded: list[tuple[str, str]] = []
        self.issued: list[tuple[Identity, Credential, str]] = []

    def record(self, identity: Identity, token: str) -> None:
        self.recorded.append((identity.username, token))

    def issue(self, identity: Identity, credential: Credential, kind: str) -> Token:
        self.issued.append((identity, credential, kind))
        return Token(f"limited-{len(self.issued)}", identity.expires_at or 0)


class Lanes:
    """Works at once, for the client of the request."""

    def __init__(self) -> None:
        self.clients: list[str] = []

    async def run(self, client: str, work: Callable[[], Any]) -> Any:
        self.clients.append(client)
        await asyncio.sleep(0)
        return work()


class Deciding:
    """Decides as the test says."""

    def __init__(self) -> None:
        self.lanes = Lanes()
        self.renewed: Granted | None = None
        self.renewals = 0
        self.decision: Decision | None = None
        self.decided = 0

    async def renew(self, presented: Presented, refused: Granted) -> Granted | None:
        assert (presented.client, refused.identity.username) == ("192.0.2.1", "alice")
        self.renewals += 1
        return self.renewed

    async def decide(self, presented: Presented) -> Decision:
        assert presented.client == "192.0.2.1"
        self.decided += 1
        assert self.decision is not None
        return self.decision


class World:
    """Tokens for a front proxy, with what stands around them."""

    def __init__(self, **options: Any) -> None:
        self.records, self.decider, self.clock = Records(), Deciding(), Clock()
        self.tokens = ForwardAuthTokens(
            cast("IssuedTokens", self.records), cast("Decider", self.decider), now=self.clock, **options
        )

    async def bearer(self, identity: Identity = ALICE, bearer: bytes = b"Bearer t") -> bytes:
        return await self.tokens.bearer_for(REQUEST, Granted(identity, bearer))


async def test_a_token_is_recorded_before_the_front_proxy_gets_it_and_only_once() -> None:
    world = World()

    assert [await world.bearer(), await world.bearer()] == [b"Bearer t", b"Bearer t"]
    assert world.records.recorded == [("alice", "t")]
    assert world.decider.lanes.clients == ["192.0.2.1"]
    assert (world.records.issued, world.decider.renewals) == ([], 0)


async def test_many_who_wait_for_one_token_cost_one_record() -> None:
    world = World()

    bearers = await asyncio.gather(*(world.bearer() for _ in range(5)))

    assert set(bearers) == {b"Bearer t"}
    assert world.records.recorded == [("alice", "t")]


async def test_two_tokens_are_two_records() -> None:
    world = World()

    await world.bearer(bearer=b"Bearer t")
    await world.bearer(bearer=b"Bearer u")

    assert world.records.recorded == [("alice", "t"), ("alice", "u")]


async def test_a_front_proxy_that_leaves_does_not_end_the_record_of_the_others() -> None:
    world = World()
    leaves, stays = (asyncio.ensure_future(world.bearer()) for _ in range(2))
    await asyncio.sleep(0)

    leaves.cancel()

    assert await stays == b"Bearer t"
    assert world.records.recorded == [("alice", "t")]


async def test_a_record_that_fails_is_tried_again() -> None:
    world = World()
    failing = [BackendUnavailable("store")]

    def record(identity: Identity, token: str) -> None:
        if failing:
            raise failing.pop()
        world.records.recorded.append((identity.username, token))

    world.records.record = record  # type: ignore[method-assign]

    with pytest.raises(BackendUnavailable):
        await world.bearer()
    assert await world.bearer() == b"Bearer t"
    assert world.records.recorded == [("alice", "t")]


async def test_a_token_that_was_revoked_is_renewed() -> None:
    world = World()
    world.records.denylist.revoked.add("t")
    world.decider.renewed = Granted(ALICE, b"Bearer new")

    assert await world.bearer() == b"Bearer new"
    assert world.records.recorded == [("alice", "new")]


async def test_a_revoked_token_that_cannot_be_renewed_stays_the_upstreams_to_refuse() -> None:
    world = World()
    world.records.denylist.revoked.add("t")

    assert await world.bearer() == b"Bearer t"
    assert world.decider.renewals == 1


@pytest.mark.parametrize(
    "identity",
    [
        LIMITED,
        replace(ALICE, scopes=()),
        replace(ALICE, actor="bob"),
        replace(ALICE, actor="bob", scopes=parse_scopes(("all",))),
    ],
    ids=["scope", "no-scope", "actor", "unlimited-actor"],
)
async def test_a_limited_caller_gets_a_token_for_seconds(identity: Identity) -> None:
    world = World()
    now = int(world.clock.time)

    assert await world.bearer(identity) == b"Bearer limited-1"
    [(issued_for, credential, kind)] = world.records.issued
    assert issued_for == replace(identity, expires_at=now + LIMITED_TTL_S)
    assert (credential, kind) == (Basic("alice", "pässwörd"), "token")
    assert world.records.recorded == []
    assert world.decider.lanes.clients == ["192.0.2.1"]


async def test_a_credential_with_the_scope_that_limits_nothing_is_not_limited() -> None:
    world = World()

    assert await world.bearer(replace(ALICE, scopes=parse_scopes(("GET /a", "all")))) == b"Bearer t"
    assert world.records.issued == []


async def test_a_limited_token_is_used_again_for_half_of_its_life() -> None:
    world = World()
    first = await world.bearer(LIMITED)
    world.clock.time += LIMITED_REUSE_S - 0.1

    again = await world.bearer(LIMITED)
    world.clock.time += 0.1
    later = await world.bearer(LIMITED)

    assert (first, again, later) == (b"Bearer limited-1", b"Bearer limited-1", b"Bearer limited-2")
    assert (LIMITED_TTL_S, LIMITED_REUSE_S) == (10, 5)


async def test_a_limited_token_lives_no_longer_than_its_credential() -> None:
    world = World()
    ends = int(world.clock.time) + 3
    limited = replace(LIMITED, expires_at=ends)

    await world.bearer(limited)
    world.clock.time += 3
    await world.bearer(limited)

    assert [identity.expires_at for identity, _, _ in world.records.issued] == [ends, ends]


async def test_a_limited_token_that_was_revoked_is_not_used_again() -> None:
    world = World()
    await world.bearer(LIMITED)
    world.records.denylist.revoked.add("limited-1")

    assert await world.bearer(LIMITED) == b"Bearer limited-2"


async def test_two_limited_callers_share_no_token() -> None:
    world = World()

    assert await world.bearer(LIMITED) == b"Bearer limited-1"
    assert await world.bearer(replace(LIMITED, scopes=parse_scopes(("GET /b",)))) == b"Bearer limited-2"


@pytest.mark.parametrize("identity", [ALICE, LIMITED], ids=["unlimited", "limited"])
@pytest.mark.parametrize(
    "decision",
    [Refused(401, ()), Granted(replace(ALICE, credential_id="other"), b"Bearer t")],
    ids=["refused", "another"],
)
async def test_a_credential_that_ended_while_its_token_was_recorded_gets_none(
    identity: Identity, decision: Decision
) -> None:
    world = World()
    world.decider.decision = decision

    for _ in range(2):
        with pytest.raises(NotAuthenticated, match="the credential has ended"):
            await world.bearer(replace(identity, credential_id="one"))
    assert world.decider.decided == 2


@pytest.mark.parametrize("identity", [ALICE, LIMITED], ids=["unlimited", "limited"])
async def test_a_credential_that_is_still_good_gets_its_token(identity: Identity) -> None:
    world = World()
    named = replace(identity, credential_id="one")
    world.decider.decision = Granted(named, b"Bearer t")

    assert (await world.bearer(named)).startswith(b"Bearer ")
    assert world.decider.decided == 1


async def test_a_credential_that_cannot_be_revoked_is_not_asked_about_again() -> None:
    world = World()

    await world.bearer()

    assert world.decider.decided == 0


async def test_only_a_recorded_token_of_an_unlimited_caller_is_at_hand() -> None:
    world = World()
    granted = Granted(ALICE, b"Bearer t")
    before = world.tokens.recorded_bearer(granted)
    await world.bearer()

    assert before is None
    assert world.tokens.recorded_bearer(granted) == b"Bearer t"
    assert world.tokens.recorded_bearer(replace(granted, identity=LIMITED)) is None
    assert world.tokens.recorded_bearer(replace(granted, identity=replace(ALICE, actor="bob"))) is None
    world.records.denylist.revoked.add("t")
    assert world.tokens.recorded_bearer(granted) is None


async def test_a_stale_denylist_is_read_in_the_background_once_at_a_time() -> None:
    world = World()
    denylist = world.records.denylist
    await world.bearer()
    denylist.is_stale = True

    for _ in range(3):
        world.tokens.recorded_bearer(Granted(ALICE, b"Bearer t"))
    await asyncio.sleep(0)
    assert denylist.reads == 1
    await asyncio.sleep(0)
    world.tokens.recorded_bearer(Granted(ALICE, b"Bearer t"))
    await asyncio.sleep(0)
    assert denylist.reads == 2


async def test_a_denylist_that_cannot_be_read_stops_nobody() -> None:
    world = World()
    denylist = world.records.denylist
    denylist.is_stale = denylist.is_down = True

    assert await world.bearer() == b"Bearer t"
    await asyncio.sleep(0)
    assert denylist.reads == 1


async def test_tokens_are_remembered_up_to_a_bound() -> None:
    world = World(entries=1)

    for bearer in (b"Bearer t", b"Bearer u", b"Bearer t"):
        await world.bearer(bearer=bearer)

    assert [token for _, token in world.records.recorded] == ["t", "u", "t"]


async def test_two_limited_callers_at_once_share_no_token() -> None:
    world = World()

    bearers = await asyncio.gather(
        world.bearer(LIMITED), world.bearer(replace(LIMITED, scopes=parse_scopes(("GET /b",)))), world.bearer(LIMITED)
    )

    assert [*bearers] == [b"Bearer limited-1", b"Bearer limited-2", b"Bearer limited-1"]


async def test_a_record_that_fails_when_nobody_waits_any_more_is_nobodys_error() -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    world = World()

    def record(identity: Identity, token: str) -> None:
        raise BackendUnavailable(identity.username + token)

    world.records.record = record  # type: ignore[method-assign]
    waiting = asyncio.ensure_future(world.bearer())
    await asyncio.sleep(0)
    waiting.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    gc.collect()

    assert world.tokens._flights == {}
    assert complaints == []
