"""The word that a user or a credential is no longer good, and who forgets what at it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from flask import Flask

from compat_auth.authn.revocation_events import (
    HEARD_S,
    UNHEARD_S,
    RevocationEvent,
    RevocationEvents,
    revocation_events_of,
)
from compat_auth.credentials import Credential, credential_key
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.decision import Granted
from compat_auth.http.request import Shown
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Outcome, Reject
from support.stand_ins import GOOD, Clock, make_decider, presented, scripted

ALICE = Identity("alice", "first", credential_id="pat:1")
EVERYTHING = None


class HeardEverything(RevocationEvents):
    """As if whatever another process announces were heard here."""

    @property
    def hears_all(self) -> bool:
        return True


class Check:
    """A backend's check that reads who is good when it begins, and answers when the test lets it."""

    def __init__(self) -> None:
        self.good = True
        self.go = threading.Event()
        self.started = threading.Event()
        self.count = 0

    def __call__(self, _credential: Credential) -> Outcome:
        self.count += 1
        answer = Accept(ALICE, reusable_s=60) if self.good else Reject("revoked")
        self.started.set()
        assert self.go.wait(5)
        return answer


@pytest.fixture
def app() -> Flask:
    app = Flask("test")
    app.extensions["compat_auth_revocations"] = HeardEverything()
    return app


@pytest.fixture
def check() -> Iterator[Check]:
    check = Check()
    yield check
    check.go.set()


async def granted_by(decider: Decider, authorization: str = GOOD) -> Granted:
    decision = await decider.decide(presented(authorization))
    assert isinstance(decision, Granted)
    return decision


def recalled(decider: Decider) -> Granted | None:
    return decider.recall(Shown(GOOD), presented)


async def announced(app: Flask, revocation: RevocationEvent) -> None:
    """Announce on a thread of its own, and return when the event loop has heard."""
    await asyncio.to_thread(revocation_events_of(app).announce, revocation)


@pytest.mark.parametrize(
    ("revocation", "identity", "concerned"),
    [
        pytest.param(RevocationEvent("alice"), ALICE, True, id="user"),
        pytest.param(RevocationEvent("ALICE"), ALICE, True, id="user-spelt-otherwise"),
        pytest.param(RevocationEvent("alic"), ALICE, False, id="another-user"),
        pytest.param(RevocationEvent(credential_id="pat:1"), ALICE, True, id="credential"),
        pytest.param(RevocationEvent(credential_id="pat:11"), ALICE, False, id="another-credential"),
        pytest.param(RevocationEvent("bob", "pat:1"), ALICE, True, id="credential-of-a-user-called-otherwise-here"),
        pytest.param(RevocationEvent("alice", "pat:2"), ALICE, True, id="user-and-another-credential"),
        pytest.param(RevocationEvent(), Identity("", "first"), False, id="nothing"),
        pytest.param(RevocationEvent(), Identity("alice", "first"), False, id="nothing-has-no-credential"),
    ],
)
def test_a_revocation_concerns_its_user_and_its_credential(
    revocation: RevocationEvent, identity: Identity, concerned: bool
) -> None:
    assert revocation.concerns(identity) is concerned


def test_everybody_who_listens_hears_what_is_announced() -> None:
    revocations = RevocationEvents()
    first: list[RevocationEvent | None] = []
    second: list[RevocationEvent | None] = []
    revocations.listen(first.append)
    revocations.listen(second.append)

    revocations.announce(RevocationEvent("alice"))

    assert first == second == [RevocationEvent("alice")]


def test_all_parts_of_an_app_share_its_revocations() -> None:
    app = Flask("test")

    assert revocation_events_of(app) is revocation_events_of(app)
    assert revocation_events_of(app) is not revocation_events_of(Flask("other"))


@pytest.mark.parametrize(
    "revocation", [RevocationEvent("alice"), RevocationEvent(credential_id="pat:1"), RevocationEvent("a", "pat:1")]
)
async def test_a_warm_grant_is_forgotten_at_once(app: Flask, revocation: RevocationEvent) -> None:
    decider = make_decider(scripted("first", Accept(ALICE, reusable_s=60)), app=app)
    await granted_by(decider)
    before = recalled(decider)

    await announced(app, revocation)

    assert before is not None
    assert recalled(decider) is None


async def test_the_grants_of_others_stay(app: Flask) -> None:
    decider = make_decider(scripted("first", Accept(ALICE, reusable_s=60)), app=app)
    await granted_by(decider)

    await announced(app, RevocationEvent("bob", "pat:2"))

    assert recalled(decider) is not None


async def test_where_something_may_have_been_missed_everything_is_forgotten(app: Flask) -> None:
    decider = make_decider(scripted("first", Accept(ALICE, reusable_s=60)), app=app)
    await granted_by(decider)

    await asyncio.to_thread(revocation_events_of(app)._notify, EVERYTHING)

    assert recalled(decider) is None


@pytest.mark.parametrize("revocation", [RevocationEvent("alice"), RevocationEvent(credential_id="pat:1"), EVERYTHING])
async def test_a_check_that_began_before_the_revocation_is_not_remembered(
    app: Flask, check: Check, revocation: RevocationEvent | None
) -> None:
    decider = make_decider(scripted("first", check), app=app)
    waiting = asyncio.ensure_future(granted_by(decider))
    await asyncio.to_thread(check.started.wait, 5)

    await asyncio.to_thread(revocation_events_of(app)._notify, revocation)
    check.go.set()
    await waiting

    assert recalled(decider) is None


async def test_who_comes_after_the_revocation_does_not_share_a_check_that_began_before(
    app: Flask, check: Check
) -> None:
    decider = make_decider(scripted("first", check), app=app)
    before = asyncio.ensure_future(decider.decide(presented()))
    await asyncio.to_thread(check.started.wait, 5)
    check.good = False
    await announced(app, RevocationEvent("alice"))

    after = asyncio.ensure_future(decider.decide(presented()))
    check.go.set()

    assert not isinstance(await after, Granted)
    assert isinstance(await before, Granted)
    assert recalled(decider) is None


async def test_an_old_check_that_lands_late_does_not_take_away_the_one_that_is_under_way(
    app: Flask, check: Check
) -> None:
    decider = make_decider(scripted("first", check), app=app)
    before = asyncio.ensure_future(decider.decide(presented()))
    await asyncio.to_thread(check.started.wait, 5)
    await announced(app, RevocationEvent("bob"))
    after = [asyncio.ensure_future(decider.decide(presented())) for _ in range(10)]
    check.go.set()

    await asyncio.gather(before, *after)

    assert check.count == 2


async def test_a_grant_of_another_user_is_remembered_whatever_is_revoked_meanwhile(app: Flask, check: Check) -> None:
    decider = make_decider(scripted("first", check), app=app)
    waiting = asyncio.ensure_future(granted_by(decider))
    await asyncio.to_thread(check.started.wait, 5)

    await announced(app, RevocationEvent("bob", "pat:2"))
    check.go.set()
    await waiting

    assert recalled(decider) is not None


async def test_what_can_be_revoked_elsewhere_is_believed_for_a_second_where_that_is_not_heard() -> None:
    clock = Clock()
    decider = make_decider(scripted("first", Accept(ALICE, reusable_s=60)), monotonic=clock)
    await granted_by(decider)

    clock.time += UNHEARD_S - 0.01
    just_before = decider._verified.find(decider._verified.digest(credential_key(GOOD)))
    clock.time += 0.01

    assert just_before is not None
    assert recalled(decider) is None


async def test_where_revocations_are_heard_it_is_believed_for_a_minute(app: Flask) -> None:
    clock = Clock()
    decider = make_decider(scripted("first", Accept(ALICE, reusable_s=300)), app=app, monotonic=clock)
    await granted_by(decider)

    clock.time += HEARD_S - 0.01
    just_before = decider._verified.find(decider._verified.digest(credential_key(GOOD)))
    clock.time += 0.01

    assert just_before is not None
    assert recalled(decider) is None


async def test_where_something_may_have_been_missed_what_nobody_revokes_stays(app: Flask) -> None:
    decider = make_decider(scripted("first", Accept(Identity("alice", "first"), reusable_s=60)), app=app)
    await granted_by(decider)

    await asyncio.to_thread(revocation_events_of(app)._notify, EVERYTHING)

    assert recalled(decider) is not None


async def test_that_second_is_counted_from_when_the_check_began(check: Check) -> None:
    clock = Clock()
    decider = make_decider(scripted("first", check), monotonic=clock)
    waiting = asyncio.ensure_future(granted_by(decider))
    await asyncio.to_thread(check.started.wait, 5)

    clock.time += UNHEARD_S
    check.go.set()
    await waiting

    assert recalled(decider) is None


async def test_a_credential_that_nobody_revokes_is_believed_as_long_as_its_backend_says() -> None:
    clock = Clock()
    decider = make_decider(scripted("first", Accept(Identity("alice", "first"), reusable_s=60)), monotonic=clock)
    await granted_by(decider)

    clock.time += 40

    assert recalled(decider) is not None


def test_an_announcement_before_the_first_check_and_after_the_loop_has_ended_harms_nobody(app: Flask) -> None:
    decider = make_decider(scripted("first", Accept(ALICE, reusable_s=60)), app=app)
    revocation_events_of(app).announce(RevocationEvent("alice"))
    asyncio.run(granted_by(decider))

    revocation_events_of(app).announce(RevocationEvent("alice"))

    assert decider._verified.under_way == set()


async def test_announcements_of_many_threads_while_checks_land_leave_nothing_remembered(app: Flask) -> None:
    decider = make_decider(scripted("first", Accept(ALICE, reusable_s=60)), app=app)
    ended = threading.Event()

    def announce() -> None:
        while not ended.wait(0.0005):
            revocation_events_of(app).announce(RevocationEvent("alice"))

    threads = [threading.Thread(target=announce) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        await granted_by(decider)
    ended.set()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await announced(app, RevocationEvent("alice"))

    assert recalled(decider) is None
    assert decider._verified.under_way == set()
