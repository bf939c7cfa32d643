"""The decider beside its main way: cookies, callers who act for others, bodies, and answers from memory."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from flask import Flask

from compat_auth.authn.users.acting import Acting
from compat_auth.backend import EVERY_KIND, CredentialKind
from compat_auth.credentials import ANY_SPELLING, Absent, Basic, Bearer, Credential, Unrecognised
from compat_auth.errors import (
    BackendUnavailable,
    BodyTooLarge,
    CompatAuthError,
    MalformedCredentials,
    NoSuchUser,
    NotPermitted,
)
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.decision import Granted, Refused, Unclaimed
from compat_auth.http.request import Presented, Shown
from compat_auth.identity import Identity, Token
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from support.stand_ins import (
    ALICE,
    BASIC_ONLY,
    GOOD,
    Clock,
    Says,
    ScriptedBackend,
    accepting,
    basic,
    make_decider,
    presented,
    scripted,
    token_for,
)

COOKIES: frozenset[CredentialKind] = frozenset((Absent,))
SEEN = (b"http", b"session=s")
REMEMBERED = Accept(ALICE, reusable_s=60)


def flagged(says: Says, **flags: Any) -> ScriptedBackend:
    """Return a backend of a class of its own: some flags count only there."""
    kind = type("Flagged", (ScriptedBackend,), {"kinds": BASIC_ONLY, **flags})
    return cast("ScriptedBackend", kind("first", says, ("Basic",)))


def session(says: Says = REMEMBERED) -> ScriptedBackend:
    return flagged(says, kinds=COOKIES, needs_cookies=True, depends_on_cookies_only=True)


def with_cookies() -> Presented:
    return presented(None, cookie="session=s")


def acting_for(name: str, authorization: str | None = GOOD) -> Presented:
    return replace(presented(authorization), shown=Shown(authorization, acts_for=name))


async def landed(decider: Decider) -> None:
    while decider._flights:
        await asyncio.wait(list(decider._flights.values()))
        await asyncio.sleep(0)


async def test_a_session_is_remembered_by_scheme_and_cookies_for_less_than_a_second() -> None:
    clock, backend = Clock(), session()
    decider = make_decider(backend, monotonic=clock)

    decision = await decider.decide(with_cookies(), SEEN)
    recalled = [
        decider.recall_cookies(cookies, with_cookies) for cookies in (SEEN, (b"https", SEEN[1]), (SEEN[0], b"x=s"))
    ]
    clock.time += 1.0

    assert isinstance(decision, Granted)
    assert decision.digest
    assert recalled == [decision, None, None]
    assert decider.recall_cookies(SEEN, with_cookies) is None
    assert len(backend.asked) == 1


async def test_a_session_whose_method_may_change_something_is_checked_each_time() -> None:
    backend = session()
    decider = make_decider(backend)

    decisions = [await decider.decide(with_cookies()) for _ in range(2)]

    assert [cast("Granted", decision).digest for decision in decisions] == [b"", b""]
    assert len(backend.asked) == 2
    assert decider.recall_cookies((), with_cookies) is None


async def test_a_session_and_a_credential_of_the_same_bytes_are_two_things_to_remember() -> None:
    decider = make_decider(flagged(REMEMBERED, kinds=EVERY_KIND, depends_on_cookies_only=True))
    await decider.decide(with_cookies(), (b"bearer t",))

    assert decider.recall(Shown("Bearer t"), lambda: presented("Bearer t")) is None


async def test_a_backend_that_needs_no_cookie_is_asked_about_a_request_without_any() -> None:
    cookie, peer = session(Skip()), flagged(Reject("nobody"), kinds=COOKIES)

    assert await make_decider(cookie, peer).decide(presented(None)) == Refused(401, ("Basic",))
    assert await make_decider(cookie).decide(presented(None)) == Unclaimed(Absent(), ("Basic",))


class BecomesBob:
    """Lets alice act for bob."""

    def become(self, caller: Identity, name: str, client: str) -> Identity:
        assert (caller.username, client) == ("alice", "192.0.2.1")
        if name != "bob":
            raise NoSuchUser(name)
        return Identity("bob", caller.backend, actor="alice")


def may_act(*backends: ScriptedBackend, obtain: Callable[..., Token] | None = None) -> Decider:
    options: dict[str, Any] = {} if obtain is None else {"obtain": obtain}
    return make_decider(*backends, acting=cast("Acting", BecomesBob()), **options)


async def test_a_caller_who_acts_for_a_user_is_that_user_and_is_not_remembered() -> None:
    yielded: list[Token | None] = []

    def obtain(identity: Identity, _credential: Credential, token: Token | None, _fresh: bool) -> Token:
        yielded.append(token)
        return token_for(identity)

    backend = scripted("first", Accept(ALICE, reusable_s=60, token=Token("alices", 2_000_000_000)))
    decider = may_act(backend, obtain=obtain)

    decisions = [await decider.decide(acting_for("bob")) for _ in range(2)]

    for decision in decisions:
        assert isinstance(decision, Granted)
        assert (decision.identity.username, decision.identity.actor, decision.digest) == ("bob", "alice", b"")
        assert decision.bearer == b"Bearer token-of-bob-0"
    assert len(backend.asked) == 2
    # The login's own token is the caller's.
    assert yielded == [None, None]


async def test_the_pages_know_the_user_for_whom_the_caller_acts() -> None:
    decision = await may_act(accepting()).identify(acting_for("bob"))

    assert isinstance(decision, Granted)
    assert (decision.identity.username, decision.bearer, decision.digest) == ("bob", b"", b"")


@pytest.mark.parametrize("way", ["decide", "identify"])
@pytest.mark.parametrize(
    "backend", [accepting(takes=frozenset((Bearer,))), scripted("first", Skip())], ids=["another-kind", "skips"]
)
async def test_who_acts_for_a_user_needs_a_credential_that_a_backend_takes(way: str, backend: ScriptedBackend) -> None:
    with pytest.raises(NotPermitted, match="X-Do-As: needs a credential"):
        await getattr(may_act(backend), way)(acting_for("bob"))


async def test_where_nobody_may_act_for_others_nobody_does() -> None:
    with pytest.raises(NotPermitted):
        await make_decider(accepting()).decide(acting_for("bob"))


async def test_a_wrong_credential_is_refused_before_a_user_is_looked_up() -> None:
    assert await may_act(scripted("first", Reject("wrong"))).decide(acting_for("nobody")) == Refused(401, ())
    with pytest.raises(NoSuchUser):
        await may_act(accepting()).decide(acting_for("nobody"))


async def test_identifying_a_caller_asks_for_no_token_and_is_remembered_for_itself() -> None:
    def no_token(*_: object) -> Token:
        raise AssertionError

    backend = accepting()
    decider = make_decider(backend, obtain=no_token)

    decisions = [await decider.identify(presented()) for _ in range(2)]

    assert [(cast("Granted", one).identity, cast("Granted", one).bearer) for one in decisions] == [(ALICE, b"")] * 2
    assert len(backend.asked) == 1
    assert decider.recall(Shown(GOOD), presented) is None


async def test_a_caller_who_was_granted_a_moment_ago_is_identified_from_memory() -> None:
    clock, backend = Clock(), accepting()
    decider = make_decider(backend, monotonic=clock)
    granted = await decider.decide(presented())

    soon = await decider.identify(presented())
    clock.time += 50
    later = await decider.identify(presented())

    assert soon == granted
    assert isinstance(later, Granted)
    assert later.bearer == b""
    assert len(backend.asked) == 2


async def test_identifying_by_a_cookie_is_not_remembered() -> None:
    backend = session()
    decider = make_decider(backend)

    decisions = [await decider.identify(with_cookies()) for _ in range(2)]

    assert [cast("Granted", one).bearer for one in decisions] == [b"", b""]
    assert len(backend.asked) == 2


async def test_a_credential_that_no_backend_takes_is_not_identified() -> None:
    decision = await make_decider(scripted("first", REMEMBERED, invites=("Basic",))).identify(presented("Bearer t"))

    assert decision == Unclaimed(Bearer("t"), ("Basic",))


@pytest.mark.parametrize("alike", [True, False])
async def test_many_who_are_identified_at_once_are_one_check_if_only_the_credential_counts(alike: bool) -> None:
    backend = accepting() if alike else scripted("first", REMEMBERED, alike=False)
    decider = make_decider(backend)

    await asyncio.gather(*(decider.identify(presented()) for _ in range(3)))

    assert len(backend.asked) == (1 if alike else 3)


async def test_a_grant_tells_for_how_long_it_holds_and_starts_no_check() -> None:
    clock, backend = Clock(), accepting(reusable_s=60)
    decider = make_decider(backend, monotonic=clock)
    cold = decider.glance(Shown(GOOD))
    granted = await decider.decide(presented())

    clock.time += 10
    warm = decider.glance(Shown(GOOD))
    clock.time += 45
    due = decider.glance(Shown(GOOD))

    assert cold is None
    assert warm == (granted, 50)
    assert due is None
    assert decider.recall_settled(Shown(GOOD)) is None
    assert len(backend.asked) == 1


async def test_what_is_settled_is_what_needs_no_check() -> None:
    decider = make_decider(accepting())
    granted = await decider.decide(presented())

    assert decider.recall_settled(Shown(GOOD)) == granted
    assert decider.recall_settled(Shown(basic("bob", "x"))) is None
    assert decider.recall_settled(Shown("Basic !!!")) is None


async def test_a_token_that_the_upstream_has_refused_is_in_no_memory() -> None:
    decider = make_decider(accepting())
    granted = cast("Granted", await decider.decide(presented()))

    decider.forget_token(granted)

    assert decider.glance(Shown(GOOD)) is None
    assert decider.recall(Shown(GOOD), presented) is None


@pytest.mark.parametrize(
    ("authorization", "leaves"),
    [("Bearer theirs", True), ("Bearer cat_pat_x", False), (GOOD, False), ("Other x", False)],
)
def test_only_a_bearer_that_is_not_ours_is_left_to_the_upstream(authorization: str, leaves: bool) -> None:
    assert make_decider(accepting()).leaves_to_upstream(Shown(authorization)) is leaves


def test_a_bearer_that_a_backend_may_claim_is_not_left_to_the_upstream() -> None:
    claiming = flagged(
        REMEMBERED, kinds=frozenset((Bearer,)), may_claim=lambda _self, credential: credential.token == "own"
    )

    assert make_decider(claiming).leaves_to_upstream(Shown("Bearer theirs"))
    assert not make_decider(claiming).leaves_to_upstream(Shown("Bearer own"))
    with pytest.raises(MalformedCredentials):
        make_decider(claiming).leaves_to_upstream(Shown("Bearer"))


class Body:
    """A body that arrives when it is asked for."""

    def __init__(self, error: CompatAuthError | None = None) -> None:
        self.error = error
        self.held = 0

    async def hold(self) -> None:
        if self.error is not None:
            raise self.error
        self.held += 1

    def presented(self, authorization: str = GOOD) -> Presented:
        return replace(presented(authorization), body_at_hand=lambda: self.held > 0, hold_body=self.hold)


async def test_a_body_is_read_once_and_only_for_a_backend_that_looks_at_it() -> None:
    before, reading, body = (
        flagged(Skip()),
        flagged(REMEMBERED, reads_body=True, depends_on_credential_only=False),
        Body(),
    )
    decider = make_decider(before, reading)

    decision = await decider.decide(body.presented())

    assert isinstance(decision, Granted)
    assert decision.bearer == b"Bearer token-of-alice-0"
    assert (body.held, len(before.asked), len(reading.asked)) == (1, 1, 1)


async def test_a_body_is_not_read_where_a_backend_before_has_decided() -> None:
    reading, body = flagged(Skip(), reads_body=True), Body()

    await make_decider(flagged(REMEMBERED, depends_on_credential_only=False), reading).decide(body.presented())

    assert (body.held, reading.asked) == (0, [])


async def test_a_body_that_does_not_come_here_is_a_refusal_and_the_log_says_what_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reading = flagged(REMEMBERED, reads_body=True, depends_on_credential_only=False)
    elsewhere = replace(presented(), body_at_hand=lambda: False)

    with caplog.at_level(logging.WARNING), pytest.raises(NotPermitted, match="has to see the body"):
        await make_decider(reading).decide(elsewhere)

    assert "backend first may look at the body" in caplog.text
    assert reading.asked == []


@pytest.mark.parametrize("way", ["decide", "identify"])
@pytest.mark.parametrize("acts_for", ["", "bob"])
async def test_a_body_that_is_refused_is_in_the_audit_log(
    way: str, acts_for: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "compat_auth.audit")
    reading = flagged(REMEMBERED, reads_body=True, depends_on_credential_only=False)
    shown = replace(Body(BodyTooLarge("too large")).presented(), shown=Shown(GOOD, acts_for=acts_for))

    with pytest.raises(BodyTooLarge):
        await getattr(may_act(reading), way)(shown)

    event = json.loads(caplog.messages[-1])
    assert (event["result"], event["username"]) == ("reject", "alice")


async def test_a_token_is_made_anew_only_where_the_upstream_has_refused_one() -> None:
    asked: list[tuple[Credential, bool]] = []

    def obtain(identity: Identity, credential: Credential, _yielded: Token | None, fresh: bool) -> Token:
        asked.append((credential, fresh))
        return token_for(identity, int(fresh))

    reading = flagged(Accept(ALICE), reads_body=True, depends_on_credential_only=False)
    decider = make_decider(reading, obtain=obtain)
    granted = cast("Granted", await decider.decide(Body().presented()))
    decider.forget_token(granted)

    again = cast("Granted", await decider.decide(Body().presented()))

    alice = Basic("alice", "pässwörd")
    assert (granted.bearer, again.bearer) == (b"Bearer token-of-alice-0", b"Bearer token-of-alice-1")
    assert asked == [(alice, False), (alice, False), (alice, True)]


async def test_a_check_that_could_not_ask_is_made_again_by_the_next_request() -> None:
    clock = Clock()
    answers: list[Outcome | Exception] = [REMEMBERED, BackendUnavailable("down"), REMEMBERED]

    def says(_credential: Credential) -> Outcome:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    decider = make_decider(scripted("first", says), monotonic=clock)
    await decider.decide(presented())
    clock.time += 55

    for left in (1, 0):
        assert decider.recall(Shown(GOOD), presented) is not None
        await landed(decider)
        assert len(answers) == left


async def test_a_refused_token_is_not_renewed_where_the_body_has_gone_on() -> None:
    bodies = iter((True, False))
    reading = flagged(REMEMBERED, reads_body=True)
    decider = make_decider(reading)
    shown = replace(presented(), body_at_hand=lambda: next(bodies))
    granted = cast("Granted", await decider.decide(shown))

    assert granted.digest
    assert await decider.renew(shown, granted) is None


async def test_a_token_of_one_request_alone_is_renewed_for_its_client() -> None:
    asked: list[bool] = []

    def obtain(identity: Identity, _credential: Credential, _yielded: Token | None, fresh: bool) -> Token:
        asked.append(fresh)
        return token_for(identity, len(asked))

    decider = make_decider(scripted("first", Accept(ALICE)), obtain=obtain)
    granted = cast("Granted", await decider.decide(presented()))

    renewed = await decider.renew(presented(), granted)

    assert granted.digest == b""
    assert renewed == replace(granted, bearer=b"Bearer token-of-alice-2")
    assert asked == [False, True]


async def test_where_a_module_may_read_any_spelling_it_gets_what_cannot_be_parsed() -> None:
    app = Flask("test")
    app.extensions[ANY_SPELLING] = True
    module = flagged(REMEMBERED, kinds=EVERY_KIND)

    decision = await make_decider(module, app=app).decide(presented("Basic !!!"))

    assert isinstance(decision, Granted)
    assert module.asked == [Unrecognised("Basic")]


async def test_what_no_module_can_read_is_refused_once_in_the_audit_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "compat_auth.audit")
    app = Flask("test")
    app.extensions[ANY_SPELLING] = True

    with pytest.raises(MalformedCredentials):
        await make_decider(accepting(), app=app).decide(presented("Basic"))

    (line,) = caplog.messages
    assert json.loads(line)["result"] == "reject"


class Waiting:
    """Answers when the test says so, and counts those who wait."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.waiting = 0

    def __call__(self, _credential: Credential) -> Outcome:
        self.waiting += 1
        assert self.go.wait(5)
        return REMEMBERED


async def at_least(says: Waiting, count: int) -> None:
    for _ in range(10_000):
        if says.waiting >= count:
            return
        await asyncio.sleep(0)
    raise AssertionError


@pytest.mark.parametrize(("threads", "at_once"), [(4, 2), (3, 1), (1, 1)])
async def test_a_backend_that_checks_one_at_a_time_takes_half_of_the_threads_at_most(
    threads: int, at_once: int
) -> None:
    says = Waiting()
    decider = make_decider(flagged(says, one_at_a_time=True), threads=threads)
    checks = [asyncio.ensure_future(decider.decide(presented(basic("alice", f"{number}")))) for number in range(4)]

    await at_least(says, at_once)
    for _ in range(100):
        await asyncio.sleep(0)
    waiting = says.waiting
    says.go.set()
    await asyncio.gather(*checks)

    assert waiting == at_once


@pytest.mark.parametrize(
    ("error", "result"), [(BackendUnavailable("down"), "unavailable"), (NotPermitted("no"), "reject")]
)
async def test_the_audit_log_names_the_user_that_a_failed_check_was_about(
    error: Exception, result: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "compat_auth.audit")

    await asyncio.gather(make_decider(scripted("first", error)).decide(presented()), return_exceptions=True)

    event = json.loads(caplog.messages[-1])
    assert (event["result"], event["username"], event["method"], event["path"]) == (result, "alice", "GET", "/api/x")


async def test_the_audit_log_names_the_user_and_who_acts_for_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "compat_auth.audit")

    await may_act(accepting()).decide(acting_for("bob"))

    event = json.loads(caplog.messages[-1])
    assert (event["result"], event["username"], event["actor"], event["backend"]) == ("accept", "bob", "alice", "first")


async def test_a_check_in_flight_is_shared_and_gone_when_it_has_landed() -> None:
    says = Waiting()
    decider = make_decider(scripted("first", says))
    checks = [asyncio.ensure_future(decider.decide(presented())) for _ in range(2)]
    await at_least(says, 1)

    says.go.set()
    await asyncio.gather(*checks)
    await landed(decider)

    assert says.waiting == 1
    assert decider._flights == {}


async def test_every_kind_of_credential_that_a_chain_takes_is_known_from_the_start() -> None:
    decider = make_decider(flagged(REMEMBERED, kinds=EVERY_KIND))

    decisions = [
        await decider.decide(presented(value)) for value in (None, GOOD, "Bearer t", "Negotiate YII=", "Other x")
    ]

    assert all(isinstance(decision, Granted) for decision in decisions)
    assert isinstance(
        await make_decider(flagged(REMEMBERED, kinds=frozenset((Basic,)))).decide(presented("Other x")), Unclaimed
    )
