"""Checks for which the event loop waits: the same decisions, and no hang of a source reaches the event loop."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, cast

import pytest
from flask import Flask

from compat_auth.authn.chain import Chain
from compat_auth.authn.revocation_events import RevocationEvent, revocation_events_of
from compat_auth.backend import EVERY_KIND, CredentialKind
from compat_auth.concurrency import brief_work
from compat_auth.credentials import Absent, Basic, Bearer, Credential
from compat_auth.errors import BackendUnavailable
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.decision import Granted, Refused
from compat_auth.http.headers import take_in
from compat_auth.http.request import GateRequest, Presented
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Outcome, Reject
from compat_auth.telemetry import counts
from support.stand_ins import BASIC_ONLY, Issuing, Says, ScriptedBackend, basic, give_token, scripted

FAR_S = 10
GOOD = Accept(Identity("alice", "native"), reusable_s=60)


class NativeIssuer(Issuing):
    answers_without_flask: ClassVar[bool] = True


def native(says: Says, *, takes: frozenset[CredentialKind] = BASIC_ONLY, alike: bool = True) -> ScriptedBackend:
    members = {"kinds": takes, "depends_on_credential_only": alike, "answers_without_flask": True}
    return cast("ScriptedBackend", type("Native", (ScriptedBackend,), members)("native", says, ("Basic",)))


def decider_of(*backends: Any, **options: Any) -> Decider:
    return Decider(Chain(backends), Flask("test"), NativeIssuer(give_token), **options)


def presented(authorization: str = basic("alice", "secret"), client: str = "192.0.2.1") -> Presented:
    intake = take_in([(b"host", b"gateway.example"), (b"authorization", authorization.encode())])
    return GateRequest({"type": "http"}, intake, "GET", b"/api/x", b"", client).presented()


class Threads:
    """Answers, and notes on which thread it was asked."""

    def __init__(self, answer: Outcome = GOOD) -> None:
        self.names: list[str] = []
        self.answer = answer

    def __call__(self, _credential: Credential) -> Outcome:
        self.names.append(threading.current_thread().name.rstrip("0123456789_"))
        return self.answer


class Hanging(Threads):
    """Hangs from the moment at which the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.go.set()

    def __call__(self, credential: Credential) -> Outcome:
        answer = super().__call__(credential)
        assert self.go.wait(FAR_S)
        return answer


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    # A busy machine may take long for the shortest work, and one check tells too little there.
    monkeypatch.setattr(brief_work, "DEADLINE_S", FAR_S)
    monkeypatch.setattr(brief_work, "SHORT_S", 1.0)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    made = Hanging()
    yield made
    made.go.set()


async def warmed(decider: Decider) -> Decider:
    """Let the decider learn that checks are short."""
    for number in range(3):
        await decider.decide(presented(basic("alice", f"secret {number}")))
    return decider


@pytest.mark.usefixtures("patient")
async def test_a_short_check_leaves_the_pool_once_it_is_known_to_be_short() -> None:
    threads = Threads()
    decider = decider_of(native(threads))

    decisions = [await decider.decide(presented(basic("alice", f"secret {number}"))) for number in range(3)]

    assert all(isinstance(decision, Granted) for decision in decisions)
    assert threads.names == ["compat-auth-chain", "compat-auth-brief", "compat-auth-brief"]
    decider.close()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("alike", [True, False], ids=["shared", "for-one-request"])
async def test_it_grants_refuses_and_fails_as_a_thread_of_the_pool_does(alike: bool) -> None:
    backend = native(GOOD, alike=alike)
    decider = await warmed(decider_of(backend))

    granted = await decider.decide(presented())
    backend.says = Reject("wrong")
    refused = await decider.decide(presented(basic("alice", "wrong")))
    backend.says = BackendUnavailable("away")

    assert isinstance(granted, Granted)
    assert refused == Refused(401, ("Basic",))
    with pytest.raises(BackendUnavailable):
        await decider.decide(presented(basic("alice", "another")))
    decider.close()


@pytest.mark.usefixtures("patient")
async def test_it_is_counted_and_timed_as_any_other() -> None:
    decider = await warmed(decider_of(native(GOOD)))
    before = counts.GRANT_MISSES.value

    await decider.decide(presented())

    assert counts.GRANT_MISSES.value == before + 1
    decider.close()


@pytest.mark.usefixtures("patient")
async def test_its_grant_is_remembered() -> None:
    backend = native(GOOD)
    decider = await warmed(decider_of(backend))

    await decider.decide(presented())
    asked = len(backend.asked)
    known = decider.recall(presented().shown, presented)

    assert known is not None
    assert len(backend.asked) == asked
    decider.close()


@pytest.mark.usefixtures("patient")
async def test_a_refusal_ends_what_was_remembered() -> None:
    backend = native(GOOD)
    decider = await warmed(decider_of(backend))
    granted = await decider.decide(presented())

    assert isinstance(granted, Granted)
    decider.forget_token(granted)
    backend.says = Reject("changed")
    await decider.decide(presented())

    assert decider.recall_settled(presented().shown) is None
    assert decider._verified.find(granted.digest) is None
    decider.close()


@pytest.mark.usefixtures("patient")
async def test_a_revocation_during_the_check_ends_its_grant() -> None:
    app = Flask("test")
    revocations = revocation_events_of(app)

    def revoked_meanwhile(credential: Credential) -> Outcome:
        if isinstance(credential, Basic) and credential.password == "secret":  # of a test
            revocations.announce(RevocationEvent(credential_id="token 1"))
        return Accept(Identity("alice", "native", credential_id="token 1"), reusable_s=1)

    decider = Decider(Chain((native(revoked_meanwhile),)), app, NativeIssuer(give_token))
    decider.open()
    await warmed(decider)

    await decider.decide(presented())
    await asyncio.sleep(0)

    assert decider.recall(presented().shown, presented) is None
    assert decider._verified.under_way == set()
    decider.close()


async def test_a_source_that_hangs_does_not_hold_the_event_loop(hanging: Hanging) -> None:
    decider = decider_of(native(hanging, alike=False))
    pace = decider._briefs._paces[Basic]
    pace.typical_s = brief_work.SHORT_S / 10
    hanging.go.clear()

    began = time.monotonic()
    first = asyncio.ensure_future(decider.decide(presented()))
    await asyncio.sleep(0)
    stood_s = time.monotonic() - began
    pace.typical_s = brief_work.SHORT_S / 10
    others = [asyncio.ensure_future(decider.decide(presented(client=f"192.0.2.{number}"))) for number in range(3)]
    await asyncio.sleep(0.05)
    names = list(hanging.names)
    hanging.go.set()

    assert stood_s < 1
    assert all(isinstance(decision, Granted) for decision in await asyncio.gather(first, *others))
    assert names.count("compat-auth-brief") == 1
    decider.close()


async def test_who_shows_the_same_credential_waits_for_the_check_that_hangs(hanging: Hanging) -> None:
    decider = decider_of(native(hanging))
    decider._briefs._paces[Basic].typical_s = brief_work.SHORT_S / 10
    hanging.go.clear()

    waiting = [asyncio.ensure_future(decider.decide(presented())) for _ in range(4)]
    await asyncio.sleep(0.05)
    hanging.go.set()
    decisions = await asyncio.gather(*waiting)

    assert len(hanging.names) == 1
    assert len({id(decision) for decision in decisions}) == 1
    assert decider.recall(presented().shown, presented) is not None
    decider.close()


async def test_a_caller_waits_for_a_hanging_check_no_longer_than_for_any_other(hanging: Hanging) -> None:
    decider = decider_of(native(hanging, alike=False), timeout_s=0.05)
    decider._briefs._paces[Basic].typical_s = brief_work.SHORT_S / 10
    hanging.go.clear()

    with pytest.raises(BackendUnavailable, match=r"within 0\.05 s"):
        await decider.decide(presented())

    hanging.go.set()
    decider.close()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda says: (scripted("theirs", says),), id="needs-flask"),
        pytest.param(lambda says: (scripted("module", says, takes=EVERY_KIND), native(says)), id="behind-a-module"),
    ],
)
async def test_a_backend_that_needs_flask_has_the_pool(make: Callable[[Says], tuple[Any, ...]]) -> None:
    threads = Threads()
    decider = await warmed(decider_of(*make(threads)))

    await decider.decide(presented())

    assert set(threads.names) == {"compat-auth-chain"}
    decider.close()


@pytest.mark.usefixtures("patient")
@pytest.mark.usefixtures("patient")
async def test_a_module_that_is_never_reached_changes_nothing() -> None:
    threads = Threads()
    decider = await warmed(decider_of(native(threads), scripted("module", GOOD, takes=EVERY_KIND)))

    await decider.decide(presented())

    assert threads.names[-1] == "compat-auth-brief"
    decider.close()


@pytest.mark.parametrize("flag", ["reads_body", "one_at_a_time"])
def test_a_backend_that_wants_the_body_or_a_turn_is_not_short(flag: str) -> None:
    backend = native(GOOD)
    before = Chain((backend,)).answers_without_flask(Basic)

    setattr(backend, flag, True)
    after = Chain((backend,)).answers_without_flask(Basic)

    assert (before, after) == (True, False)


def test_kinds_that_several_backends_share_are_short_only_if_all_are() -> None:
    ours = native(GOOD, takes=frozenset({Bearer, Basic}))
    theirs = scripted("theirs", GOOD, takes=frozenset({Bearer, Absent}))
    chain = Chain((ours, theirs))

    found = {kind.__name__: chain.answers_without_flask(kind) for kind in (Basic, Bearer, Absent)}

    assert found == {"Basic": True, "Bearer": False, "Absent": False}


class Late:
    """Waits until the test lets it go, and fails."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.started, self.go = threading.Event(), threading.Event()

    def __call__(self, _credential: Credential) -> Outcome:
        self.started.set()
        assert self.go.wait(FAR_S)
        raise self.error


@pytest.mark.parametrize("is_brief", [True, False], ids=["the-event-loop-waited", "on-the-pool"])
@pytest.mark.parametrize("alike", [True, False], ids=["shared", "for-one-request"])
@pytest.mark.parametrize("leaves", [True, False], ids=["the-caller-leaves", "it-takes-too-long"])
async def test_a_check_that_fails_after_its_caller_has_gone_reaches_no_log(
    is_brief: bool, alike: bool, leaves: bool, caplog: pytest.LogCaptureFixture
) -> None:
    late, backend = Late(ValueError("password hunter2")), native(GOOD, alike=alike)
    decider = decider_of(backend, timeout_s=FAR_S if leaves else 0.05)
    if is_brief:
        for pace in decider._briefs._paces.values():
            pace.note(0.0)
    backend.says = late
    asking = asyncio.ensure_future(decider.decide(presented()))
    assert await asyncio.to_thread(late.started.wait, FAR_S)

    if leaves:
        asking.cancel()
    with pytest.raises((BackendUnavailable, asyncio.CancelledError)):
        await asking
    late.go.set()
    while decider._verified.under_way:  # noqa: ASYNC110  # it has no event
        await asyncio.sleep(0.001)
    # asyncio tells of an error that nobody took when its task is forgotten.
    await asyncio.sleep(0.01)
    gc.collect()

    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
    assert "hunter2" not in caplog.text
    decider.close()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt("of a module"), BackendUnavailable("of a module")], ids=["interrupt", "error"]
)
async def test_a_check_that_ends_in_any_error_is_not_under_way_any_more(error: BaseException) -> None:
    backend = native(GOOD)
    decider = await warmed(decider_of(backend))
    late = Late(error)
    late.go.set()
    backend.says = late

    with pytest.raises(type(error)):
        await decider.decide(presented())

    assert not decider._verified.under_way
    decider.close()
